"""The reference through transformers and PEFT, on tiny random models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import psutil
import pytest

from convert import verify
from convert.base import open_base
from convert.lora import write_lora
from convert.merge import merge
from convert.peft_adapter import read_peft
from convert.proof import prove
from convert.texts import CONVERSATIONS, PASSAGES, TRICKY
from convert.verify import facts_of_folder, reference_logits
from score_local.errors import MemoryLimit, ModelError

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
tiny = pytest.importorskip("tests.convert.tiny")

SEQUENCES = [[5, 6, 7, 8, 9, 10, 11, 12], [20, 21, 22]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tiny.tiny_model("qwen2", tmp_path_factory.mktemp("model") / "base")
    return folder


def logits(base: Path, adapter: Path | None = None) -> list[Any]:
    return list(reference_logits(base, adapter, SEQUENCES))


def test_logits_of_the_base_have_every_position(base: Path) -> None:
    vocabulary = json.loads((base / "config.json").read_text())["vocab_size"]
    found = logits(base)
    assert [array.shape for array in found] == [(8, vocabulary), (3, vocabulary)]
    assert {array.dtype for array in found} == {np.dtype("float32")}


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}, {"use_dora": True}])
def test_the_merge_is_what_peft_computes_without_merging(base: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = tiny.tiny_adapter(base, tmp_path / "adapter", **options)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.inference_mode():
        wanted = PeftModel.from_pretrained(model, str(adapter)).eval()(torch.tensor([SEQUENCES[0]])).logits[0].numpy()
    found = logits(base, adapter)[0]
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert np.abs(found - logits(base)[0]).max() > 1e-2, "and the adapter does something"


def test_an_activated_lora_begins_at_its_last_invocation(base: Path, tmp_path: Path) -> None:
    adapter = tiny.tiny_adapter(base, tmp_path / "adapter", alora_invocation_tokens=[8, 9])
    (found, untouched), (plain, other) = logits(base, adapter), logits(base)
    np.testing.assert_allclose(found[:3], plain[:3], atol=1e-5)
    assert (np.abs(found[3:] - plain[3:]).max(axis=1) > 1e-3).all()
    np.testing.assert_allclose(untouched, other, atol=1e-5)  # no invocation in it


def test_an_adapter_whose_weights_find_no_place_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = tiny.tiny_adapter(base, tmp_path / "adapter")
    path = adapter / "adapter_model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"layers.0.", b"layers.9."))
    with pytest.raises(ModelError, match=r"cannot load it: .*missing adapter keys"):
        logits(base, adapter)


def test_a_folder_that_transformers_cannot_load(tmp_path: Path, base: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes((base / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="transformers and PEFT cannot load it") as caught:
        logits(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_what_does_not_fit_is_refused_before_it_is_loaded(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(MemoryLimit, match="in float32 needs"):
        logits(base)


def test_packages_that_are_not_installed_are_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "find_spec", lambda name: None if name == "peft" else object())
    for ask in (logits, facts_of_folder):
        with pytest.raises(ModelError, match=r"^peft not installed\. Install them: pip install"):
            ask(base)


def test_nothing_heavy_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys, convert.proof; print({'torch', 'transformers', 'peft', 'tokenizers', 'rich'} & sys.modules.keys())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


# -- whole proofs ---------------------------------------------------------------------------------------------------


class Made(NamedTuple):
    """A tiny base, an adapter for it, and what the converter makes of them."""

    base: Path
    adapter: Path
    base_gguf: Path
    lora: Path

    def merged(self, type: str, name: str) -> Path:
        target = self.lora.with_name(name)
        merge(open_base(self.base), read_peft(self.adapter), target, type)
        return target


def make(base: Path, folder: Path, **options: Any) -> Made:
    adapter = tiny.tiny_adapter(base, folder / "adapter", **options)
    merge(open_base(base), None, folder / "base.gguf", "f32")
    write_lora(open_base(base), read_peft(adapter), folder / "lora.gguf")
    return Made(base, adapter, folder / "base.gguf", folder / "lora.gguf")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("".join(PASSAGES[:2]), encoding="utf-8")
    return tmp_path / "text.txt"


def test_a_conversion_is_proved_against_peft(base: Path, tmp_path: Path, text: Path) -> None:
    made = make(base, tmp_path)
    outputs = [made.merged("f16", "f16.gguf"), made.merged("bf16", "bf16.gguf"), made.lora]
    proof = prove(outputs=outputs, base=base, adapter=made.adapter, base_gguf=made.base_gguf, text=text)
    assert proof.reference == "transformers and PEFT in float32"
    assert proof.passed and {f.name for f in proof.findings if f.passed is None} <= {"held-back loss"}
    assert proof.comparisons["f16.gguf"].mean_kl < 1e-4 < proof.comparisons["base"].mean_kl
    assert {"base/model.safetensors", "base/tokenizer.json", "adapter/adapter_model.safetensors", "text.txt"} <= {
        record.name for record in proof.inputs
    }
    assert {"torch", "transformers", "peft"} <= proof.software.keys()


def test_a_file_without_its_adapter_is_found_out(base: Path, tmp_path: Path, text: Path) -> None:
    made = make(base, tmp_path)
    merge(open_base(base), None, tmp_path / "bare.gguf", "f16")
    proof = prove(outputs=[tmp_path / "bare.gguf"], base=base, adapter=made.adapter, text=text)
    failed = {f.name for f in proof.findings if f.passed is False}
    assert {"logits", "adapter kept"} <= failed <= {"logits", "adapter kept", "held-back loss"}


def test_an_activated_lora_is_proved_against_peft(base: Path, tmp_path: Path, text: Path) -> None:
    made = make(base, tmp_path, alora_invocation_tokens=[30, 31])
    proof = prove(outputs=[made.lora], base=base, adapter=made.adapter, base_gguf=made.base_gguf, text=text)
    assert proof.passed and proof.comparisons["lora.gguf"].mean_kl < 1e-4
    assert proof.comparisons["base"].mean_kl > 1e-2, "it was switched on"
    plain = make(base, tmp_path / "plain").lora
    proof = prove(outputs=[plain], base=base, adapter=made.adapter, base_gguf=made.base_gguf, text=text)
    assert not proof.passed, "without its invocation tokens it is another adapter"


def test_without_memory_for_float32_the_merged_file_takes_its_place(
    base: Path, tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(base, tmp_path)
    monkeypatch.setattr(verify, "_require_memory", lambda base: _no_memory())
    outputs = [made.merged("f32", "f32.gguf"), made.lora]
    proof = prove(outputs=outputs, base=base, adapter=made.adapter, base_gguf=made.base_gguf, text=text)
    assert proof.passed and proof.comparisons["lora.gguf"].mean_kl < 1e-4
    assert "f32.gguf in llama.cpp, which does not prove that the merge itself is right" in proof.reference
    assert proof.reference.endswith("too little memory")


def _no_memory() -> None:
    raise MemoryLimit("too little memory")


# -- texts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
def test_facts_of_every_architecture(tmp_path: Path, kind: str) -> None:
    found = facts_of_folder(tiny.tiny_model(kind, tmp_path / kind))
    ends = json.loads((tmp_path / kind / "generation_config.json").read_text())["eos_token_id"]
    assert found.end_tokens == (set(ends) if isinstance(ends, list) else {ends})
    assert len(found.tokens) == len(TRICKY)
    assert found.chats.keys() == CONVERSATIONS.keys() and found.chats["one turn"]


@pytest.mark.parametrize(("content", "what"), [(None, "has no tokenizer.json"), ("{}", "cannot load its tokenizer")])
def test_a_tokenizer_that_is_none(tmp_path: Path, content: str | None, what: str) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=what):
        facts_of_folder(tmp_path)
