"""`kill -9` at any moment, then `--resume`: the curve is, number for number, that of a training nobody disturbed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("peft")

import torch

from score_local.cli import main
from score_local.errors import RunError
from score_local.train import session
from score_local.train.base import open_base
from score_local.train.checkpoint import MANIFEST, METRICS, STATE, open_folder
from score_local.train.data import read_data
from score_local.train.recipe import Memory, Recipe
from tests.train.examples import examples, write_examples

QUICK = (
    "optimiser.batch=4",
    "optimiser.epochs=3",
    "evaluation.every=2",
    "evaluation.patience=99",
    'memory.precision="float32"',
    "memory.micro_batch=2",
    "adapter.rank=4",
    "context=4096",
    "save_every=1",
)


def arguments(role: str, data: Path, base: Path, out: Path, *more: str, quick: Sequence[str] = QUICK) -> list[str]:
    settings = [text for setting in quick for text in ("--set", setting)]
    return ["train", role, str(data), "--base", str(base), "--out", str(out), "--threads", "1", *settings, *more]


def curve(out: Path) -> list[tuple[object, ...]]:
    """What was told of each step and evaluation, without what depends on the machine's speed."""
    kept = ("event", "step", "loss", "learning_rate", "gradient_norm", "metric", "best")
    rows = [json.loads(line) for line in (out / METRICS).read_text().splitlines()]
    return [tuple(row.get(key) for key in kept) for row in rows if row["event"] != "start"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_examples(tmp_path_factory.mktemp("data") / "verifier.jsonl", examples("verifier", 10, 4))


def killed(command: list[str], out: Path, lines: int) -> None:
    """Runs a training in a process of its own, and kills it as soon as `lines` lines were told."""
    process = subprocess.Popen(
        [sys.executable, "-m", "score_local", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    while process.poll() is None:
        if (out / METRICS).exists() and len((out / METRICS).read_bytes().splitlines()) >= lines:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return
        time.sleep(0.005)
    raise AssertionError(f"the training ended by itself, with code {process.returncode}")


@pytest.mark.parametrize("lines", [1, 4, 9])
def test_a_killed_training_goes_on_as_if_nothing_had_happened(
    base: Path, data: Path, tmp_path: Path, lines: int
) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    assert main(arguments("verifier", data, base, undisturbed)) == 0

    killed(arguments("verifier", data, base, disturbed), disturbed, lines)
    assert not (disturbed / "adapter.toml").exists()
    assert main(arguments("verifier", data, base, disturbed, "--resume")) == 0

    assert curve(disturbed) == curve(undisturbed)
    weights = "adapter_model.safetensors"
    assert (disturbed / weights).read_bytes() == (undisturbed / weights).read_bytes()
    assert (disturbed / "adapter.toml").read_text() == (undisturbed / "adapter.toml").read_text()


def test_an_evaluation_that_was_told_but_not_saved_is_told_once(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(arguments("verifier", data, base, out)) == 0
    whole = curve(out)
    late = tmp_path / "late"
    killed(arguments("verifier", data, base, late), late, 5)
    extra = b'{"event":"evaluation","step":4,"metric":0.1,"loss":9.0,"n":4,"best":true,"seconds":0.1}\n{"half'
    (late / METRICS).write_bytes((late / METRICS).read_bytes() + extra)
    assert main(arguments("verifier", data, base, late, "--resume")) == 0
    assert curve(late) == whole


def test_a_changed_training_is_not_resumed(
    base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    killed(arguments("verifier", data, base, out), out, 2)
    assert main(arguments("verifier", data, base, out, "--resume", "--seed", "7")) == 2
    assert "another recipe" in capsys.readouterr().err


def test_a_folder_with_a_training_is_not_written_over(
    base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(arguments("verifier", data, base, out)) == 0
    assert main(arguments("verifier", data, base, out)) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(arguments("verifier", data, base, out, "--resume")) == 0
    assert "was trained already" in capsys.readouterr().err
    assert main(arguments("verifier", data, base, out, "--resume", "--seed", "7")) == 2, "nor taken for another"
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + bytes(4))
    assert main(arguments("verifier", data, base, out, "--resume")) == 2
    assert "another base_sha256" in capsys.readouterr().err


def test_a_damaged_state_is_told(base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    killed(arguments("verifier", data, base, out), out, 3)
    (out / STATE).write_bytes(b"half of it")
    assert main(arguments("verifier", data, base, out, "--resume")) == 2
    assert f"{STATE}: cannot be read" in capsys.readouterr().err
    shutil.rmtree(out)


CPU, GPU = "float32 on a CPU", "nf4 on a GPU"
OPEN, EXACT = Memory(), Memory(precision="float32")
# (what the manifest tells, its memory settings, whether a GPU is there, what is told of it)
ELSEWHERE = [
    (GPU, OPEN, False, f"begun in {GPU}, and here it would go on in auto on a CPU"),
    (None, OPEN, False, f"begun in {GPU}, and here it would go on in auto on a CPU"),  # a manifest of before
    (CPU, EXACT, True, f"begun in {CPU}, and here it would go on in {GPU}"),
    ("bfloat16 on a GPU", OPEN, True, f"begun in bfloat16 on a GPU, and here it would go on in {GPU}"),
]


@pytest.mark.parametrize(("computing", "memory", "gpu", "told"), ELSEWHERE)
def test_a_training_does_not_go_on_in_other_numbers(  # noqa: PLR0917 (fixtures)
    base: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    computing: str | None,
    memory: Memory,
    gpu: bool,
    told: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    job = session.prepare("verifier", read_data([data], "verifier"), open_base(str(base)), Recipe(memory=memory))
    with open_folder(tmp_path / "out", resume=False) as folder:
        folder.begin(msgspec.structs.replace(job.manifest(), computing=computing))
        with pytest.raises(RunError, match=told):
            session.train(job, folder, lambda event, steps: None, lambda: False)


def test_the_manifest_tells_what_computes(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(arguments("verifier", data, base, out, "--set", "optimiser.epochs=1")) == 0
    assert json.loads((out / MANIFEST).read_text())["computing"] == (GPU if torch.cuda.is_available() else CPU)
