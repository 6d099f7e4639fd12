"""`score-convert` as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from convert import bench, commands, logit_findings, proof
from convert.cli import main
from convert.imatrix import ImportanceMatrix, write_imatrix
from score_local.catalog import load_catalog
from score_local.errors import ModelError
from score_local.gguf_file import read_header
from score_local.own_models import register
from tests.convert.conftest import TinyBase

pytest.importorskip("torch")
pytest.importorskip("peft")

from tests.convert.tiny import tiny_adapter

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def base(tiny_base: TinyBase) -> Path:
    return tiny_base("qwen2", hidden=256)


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    return tiny_adapter(base, tmp_path / "refiner", target_modules=ALL)


@pytest.fixture
def no_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "merge_into", lambda *_: pytest.fail("the merge was begun"))


def convert(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_a_whole_conversion(base: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = convert("all", adapter, "--base", base, "--to", "q8_0,f16", "--out", tmp_path / "out")
    out = capsys.readouterr().out
    assert code == 0, out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "refiner-f16.gguf",
        "refiner-f16.proof.json",
        "refiner-q8_0.gguf",
        "refiner-q8_0.proof.json",
    ]
    assert load_catalog().keys() >= {"refiner-q8_0", "refiner-f16"}
    assert load_catalog()["refiner-q8_0"].notes.endswith("see refiner-q8_0.proof.json beside it")
    assert json.loads((tmp_path / "out" / "refiner-q8_0.proof.json").read_text())["findings"]
    assert "0 FAILED" in out


@pytest.mark.parametrize("name", ["refiner-bf16", "refiner-f32"])
def test_an_adapter_that_is_named_like_a_type_keeps_its_name(
    name: str, base: Path, adapter: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "refiner-q8_0.gguf").write_text("precious")
    assert convert("all", adapter.rename(tmp_path / name), "--base", base, "--to", "q8_0", "--out", "out") == 0
    assert {path.name for path in Path("out").glob("*.gguf")} == {"refiner-q8_0.gguf", f"{name}-q8_0.gguf"}
    assert Path("out/refiner-q8_0.gguf").read_text() == "precious" and f"{name}-q8_0" in load_catalog()


def test_a_file_that_fails_is_kept_aside_and_not_registered(
    base: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logit_findings, "kl_bound", lambda type: 1e-3)  # which two bits a weight do not reach
    code = convert("all", adapter, "--base", base, "--to", "q2_k", "--out", tmp_path / "out")
    assert code == 1
    assert (tmp_path / "out" / "refiner-q2_k.failed.gguf").exists()
    assert not (tmp_path / "out" / "refiner-q2_k.gguf").exists()
    assert "refiner-q2_k" not in load_catalog()
    assert "refiner-q2_k.gguf failed, and is kept as refiner-q2_k.failed.gguf" in capsys.readouterr().err


def test_a_training_folders_own_manifest_is_no_trouble(
    base: Path, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (adapter / "manifest.json").write_text('{"kind": "a training"}')
    lora = adapter / "refiner.gguf"
    assert convert("lora", adapter, "--base", base, "--out", lora) == 0
    assert convert("verify", lora, "--base", base, "--adapter", adapter) == 0
    shown = capsys.readouterr().out
    assert "0 FAILED" in shown and shown.splitlines()[-1] == str(adapter / "refiner.proof.json")
    assert (adapter / "manifest.json").read_text() == '{"kind": "a training"}'


def test_where_the_proof_has_no_place_nothing_is_proved_or_renamed(
    base: Path, adapter: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert convert("lora", adapter, "--base", base, "--out", "lora.gguf") == 0
    Path("lora.proof.json").write_text("precious")
    monkeypatch.setattr(proof, "prove", lambda **_: pytest.fail("the proof was begun"))
    assert convert("verify", "lora.gguf", "--base", base) == 2
    assert "lora.proof.json: the proof cannot be written there" in capsys.readouterr().err
    assert Path("lora.gguf").exists() and Path("lora.proof.json").read_text() == "precious"


def test_two_conversions_into_one_folder_keep_both_proofs(base: Path, adapter: Path, tmp_path: Path) -> None:
    for type in ("q8_0", "q5_0"):
        assert convert("all", adapter, "--base", base, "--to", type, "--out", "out") == 0
    for type in ("q8_0", "q5_0"):
        kept = json.loads(Path(f"out/refiner-{type}.proof.json").read_text())
        assert f"refiner-{type}.gguf" in [record["name"] for record in kept["outputs"]]
    assert not list(Path("out").glob("*f16*"))


def test_step_by_step(base: Path, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("check", adapter, "--base", base) == 0
    assert convert("merge", adapter, "--base", base, "--out", "merged-f16.gguf") == 0
    assert convert("quantize", "merged-f16.gguf", "--to", "q8_0,q5_0") == 0
    assert convert("lora", adapter, "--base", base, "--out", "lora.gguf") == 0
    capsys.readouterr()
    code = convert("verify", "merged-q8_0.gguf", "--base", base, "--adapter", adapter, "--merged", "merged-f16.gguf")
    assert code == 0, capsys.readouterr().out
    assert read_header(Path("merged-q5_0.gguf")).quantisation == "Q5_0"


def test_merging_straight_into_a_small_type(base: Path, adapter: Path, tmp_path: Path) -> None:
    assert convert("merge", adapter, "--base", base, "--type", "q8_0", "--out", "new/small.gguf") == 0
    assert read_header(Path("new/small.gguf")).quantisation == "Q8_0"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["small.gguf"]


@pytest.mark.parametrize("way", ["merge", "lora"])
def test_tokens_added_in_training_are_refused(
    way: str, base: Path, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = json.loads((base / "tokenizer.json").read_text())
    table["added_tokens"].append({**table["added_tokens"][-1], "content": "<new>", "id": 10_000})
    (adapter / "tokenizer.json").write_text(json.dumps(table))
    assert convert(way, adapter, "--base", base) == 2
    assert "1 tokens were added in training, such as '<new>'. Resize and save the base" in capsys.readouterr().err
    assert not list(Path().glob("*.gguf*"))


@pytest.mark.usefixtures("no_merge")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["bench", "--dir", "nowhere"], "nowhere: no such folder"),
        (["merge", "nowhere", "--base", "BASE"], "nowhere: no adapter: it has no adapter_config.json"),
        (["merge", "ADAPTER", "--base", "nowhere"], "nowhere: no such base model"),
        (["merge", "ADAPTER", "--base", "BASE", "--type", "q9"], "no such type: q9"),
        (["merge", "ADAPTER", "--base", "BASE", "--donor", "none.gguf"], "none.gguf: cannot be read"),
        (["merge", "ADAPTER", "--base", "BASE", "--llama-cpp", "."], "has no convert_hf_to_gguf.py"),
        (["merge", "ADAPTER", "--base", "BASE", "--type", "iq2_xxs"], "Merge into f16, then quantize that with --imat"),
        (["merge", "ADAPTER", "--base", "BASE", "--type", "q8_0,q4_0"], "--type: a merge makes one file"),
        (["merge", "ADAPTER", "--base", "BASE", "--type", "q8_0", "--out", "closed/x.gguf"], "cannot be written"),
        (["all", "ADAPTER", "--base", "BASE", "--to", ","], "no such type: ,"),
        (["all", "ADAPTER", "--base", "BASE", "--to", "q8_0,iq2_xxs"], "iq2_xxs needs an importance matrix. Compute"),
        (["all", "ADAPTER", "--base", "BASE", "--imatrix", "none"], "none: cannot be read"),
        (["all", "ADAPTER", "--base", "BASE", "--imatrix", "OTHER"], "it is of another model"),
        (["all", "ADAPTER", "--base", "BASE", "--text", "none.txt"], "none.txt: not a text in UTF-8"),
        (["all", "ADAPTER", "--base", "BASE", "--text", "closed"], "closed: holds no text"),
        (["quantize", "none.gguf", "--to", "q8_0"], "none.gguf"),
        (["quantize", "none.gguf", "--to", "q8_0,iq2_xxs"], "iq2_xxs needs an importance matrix"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_merged(
    arguments: list[str], told: str, base: Path, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("closed").touch()  # no folder, and no text
    write_imatrix(ImportanceMatrix({}, 1, 512, ()), Path("other"), "qwen2")
    places = {"BASE": str(base), "ADAPTER": str(adapter), "OTHER": "other"}
    assert convert(*(places.get(argument, argument) for argument in arguments)) == 2
    error = capsys.readouterr().err.splitlines()
    assert told in error[-1] and error[-1].startswith("score-convert: ")
    assert not list(Path().glob("**/*.gguf*"))


@pytest.mark.usefixtures("no_merge")
@pytest.mark.parametrize("taken", ["refiner-q8_0", "Refiner-Q5_0"])
def test_a_name_that_is_taken_is_told_before_anything_is_merged(
    taken: str, base: Path, adapter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register(Path("elsewhere", f"{taken}.gguf"), title="Another", licence="mit")
    assert convert("all", adapter, "--base", base, "--to", "q8_0,q5_0", "--out", "out") == 2
    error = capsys.readouterr().err.splitlines()
    assert f"the name {taken.lower()} is taken by" in error[-1] and "Rename" in error[-1]
    assert not Path("out").exists()


@pytest.mark.parametrize("step", ["_quantize", "_prove", "_keep_proof"])
def test_what_fails_after_the_merge_blocks_no_second_try(
    step: str, base: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ModelError("something went wrong")

    command = ("all", adapter, "--base", base, "--to", "q8_0", "--out", "out", "--keep-f16")
    with monkeypatch.context() as patch:
        patch.setattr(commands, step, fail)
        assert convert(*command) == 2
    assert not list(Path("out").iterdir())
    assert convert(*command) == 0
    assert {path.name for path in Path("out").glob("*.gguf")} == {"refiner-q8_0.gguf", "refiner-f16.gguf"}


def test_what_exists_is_not_overwritten(base: Path, adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out.gguf").write_text("precious")
    assert convert("merge", adapter, "--base", base, "--out", "out.gguf") == 2
    assert Path("out.gguf").read_text() == "precious"


def test_it_is_reached_through_score_local_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "score_local", "convert", "--help"], capture_output=True, text=True, check=True
    )
    assert "score-local convert check" in done.stdout


def test_help_is_instant_and_converting_needs_no_torch() -> None:
    code = "import sys, convert.commands, convert.cli; print({'torch', 'transformers', 'peft'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_types_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("quantize", "--to", "list") == 0
    listed = capsys.readouterr().out
    assert "q4_k_m" in listed and "needs an importance matrix" in listed
    assert convert("quantize", "--to", "q8_0") == 2


def test_a_bench_without_room_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "write_model", lambda *_: pytest.fail("the model was written"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000_000))
    with pytest.raises(ModelError, match=r"needs [\d,]+ bytes, and 2,000,000,000 are free"):
        bench.run(tmp_path, layers=1)
    assert not list(tmp_path.iterdir())


def test_a_stderr_that_nobody_reads_changes_no_exit_code() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "import sys; from convert.cli import main; sys.exit(main())", "check", "nowhere"]
    done = subprocess.run([*command, "--base", "nowhere"], check=False, stderr=writing, stdout=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stdout) == (2, b"")
