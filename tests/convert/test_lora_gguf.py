"""An adapter that is there as a GGUF only: what is made of it is what is made of PEFT's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convert.base import open_base
from convert.cli import main
from convert.lora import write_lora
from convert.lora_gguf import open_adapter
from convert.merge import merge
from convert.peft_adapter import read_peft
from score_local.catalog import load_catalog
from score_local.errors import ModelError
from score_local.gguf_file import read_header
from tests import gguf_files
from tests.convert.conftest import TinyBase

pytest.importorskip("torch")
pytest.importorskip("peft")

from tests.convert.test_merge import ABOUT_TIES, EVERYWHERE, kl, targets
from tests.convert.tiny import ARCHITECTURES, tiny_adapter


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture(kind: str, tiny_base: TinyBase, tmp_path: Path) -> None:
    base = tiny_base(kind)
    adapter = tiny_adapter(base, tmp_path / "adapter", target_modules=targets(kind))
    write_lora(open_base(base), read_peft(adapter), tmp_path / "lora.gguf", "f32")
    merge(open_base(base), open_adapter(tmp_path / "lora.gguf"), tmp_path / "merged.gguf", "f32")
    assert kl(base, adapter, tmp_path / "merged.gguf") < 1e-5
    assert kl(base, None, tmp_path / "merged.gguf") > 1e-3, "the adapter must do something, or nothing is shown"


Case = tuple[str, str, dict[str, Any]]  # name, type of the factors, settings of PEFT
CASES: list[Case] = [
    ("ranks and scales that differ", "f32", {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 30}}),
    ("rsLoRA", "f32", {"use_rslora": True}),
    ("an embedding", "f32", {"target_modules": ["embed_tokens", "q_proj"]}),
    ("the output", "f32", {"target_modules": ["lm_head", "o_proj"]}),
    ("rounded factors", "q8_0", {}),
]


@ABOUT_TIES
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_every_kind_of_lora(kind: str, case: Case, tiny_base: TinyBase, tmp_path: Path) -> None:
    _, type, config = case
    base = tiny_base(kind, tie=False)
    adapter = tiny_adapter(base, tmp_path / "adapter", **{"target_modules": EVERYWHERE, **config})
    write_lora(open_base(base), read_peft(adapter), tmp_path / "lora.gguf", type)
    merge(open_base(base), open_adapter(tmp_path / "lora.gguf"), tmp_path / "merged.gguf", "f32")
    assert kl(base, adapter, tmp_path / "merged.gguf") < (1e-5 if type == "f32" else 1e-3)


@pytest.mark.parametrize("convert", [merge, write_lora])
def test_one_of_another_architecture_is_refused_though_every_shape_fits(
    convert: Callable[..., object], tiny_base: TinyBase, tmp_path: Path
) -> None:
    adapter = tiny_adapter(tiny_base("llama"), tmp_path / "adapter", target_modules=EVERYWHERE)
    write_lora(open_base(tiny_base("llama")), read_peft(adapter), tmp_path / "lora.gguf", "f32")
    with pytest.raises(ModelError, match=r"it is for architecture llama, and the base is qwen2\. "):
        convert(open_base(tiny_base("qwen2")), open_adapter(tmp_path / "lora.gguf"), tmp_path / "made.gguf")
    assert not (tmp_path / "made.gguf").exists()


def test_an_activated_one_is_cut_and_not_merged(tiny_base: TinyBase, tmp_path: Path) -> None:
    base = open_base(tiny_base("llama"))
    made = tiny_adapter(tiny_base("llama"), tmp_path / "adapter", r=4, alora_invocation_tokens=[5, 6])
    write_lora(base, read_peft(made), tmp_path / "lora.gguf")
    adapter = open_adapter(tmp_path / "lora.gguf")
    with pytest.raises(ModelError, match="cannot be merged"):
        merge(base, adapter, tmp_path / "merged.gguf")
    assert 0 < write_lora(base, adapter, tmp_path / "cut.gguf", rank=2) < 1
    assert read_header(tmp_path / "cut.gguf").metadata["adapter.alora.invocation_tokens"] == [5, 6]


def test_a_folder_with_a_card_is_converted_as_a_user_does(
    tiny_base: TinyBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path / "models"))
    base, folder = tiny_base("qwen2", hidden=256), tmp_path / "refiner-1.5"
    folder.mkdir()
    made = tiny_adapter(base, tmp_path / "adapter", target_modules=EVERYWHERE)
    write_lora(open_base(base), read_peft(made), folder / "lora.gguf", "f32")
    (folder / "adapter.toml").write_text('role = "refiner"\n')
    assert main(["check", str(folder), "--base", str(base)]) == 0
    code = main(["all", str(folder), "--base", str(base), "--to", "q8_0", "--out", str(tmp_path / "out")])
    shown = capsys.readouterr()
    assert code == 0, shown.out
    assert "0 FAILED" in shown.out
    assert "PEFT cannot read an adapter that is a GGUF" in shown.out
    assert "refiner-1.5-q8_0" in load_catalog()


FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("half of a pair", {"half": True}, "no matching pair of lora_a and lora_b"),
    ("two ranks", {"rank": 4, "rank_b": 2}, "factors of two ranks, 4 and 2"),
    ("a model", {"general": "model"}, "not a LoRA adapter"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[0])
def test_what_is_no_adapter_is_refused(fault: tuple[str, dict[str, Any], str], tmp_path: Path) -> None:
    path = gguf_files.write_adapter(tmp_path / "lora.gguf", **fault[1])
    with pytest.raises(ModelError, match=fault[2]):
        open_adapter(path)


def test_an_adapter_of_another_base_is_refused(tiny_base: TinyBase, tmp_path: Path) -> None:
    adapter = open_adapter(gguf_files.write_adapter(tmp_path / "lora.gguf"))
    with pytest.raises(ModelError, match="Was it trained on another base model"):
        merge(open_base(tiny_base("llama")), adapter, tmp_path / "merged.gguf")
    assert not list(tmp_path.glob("merged*"))
