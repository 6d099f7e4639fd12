"""Merged files against PEFT: what llama.cpp computes from ours is what transformers computes from its own merge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader, GGUFValueType, GGUFWriter

from convert.base import open_base
from convert.lora import write_lora
from convert.merge import merge, merged_sources, to_bfloat16
from convert.peft_adapter import read_peft
from score_local.errors import ModelError
from score_local.gguf_file import read_header
from tests import gguf_files
from tests.convert.conftest import TinyBase

pytest.importorskip("torch")
pytest.importorskip("peft")

from convert.comparison import compare
from convert.logits import llama_logits
from convert.verify import reference_logits
from tests.convert.tiny import ARCHITECTURES, tiny_adapter

TOKENS = [[int(t) for t in np.random.default_rng(seed).integers(3, 250, size=40)] for seed in (1, 2)]
EVERYWHERE = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]


ABOUT_TIES = pytest.mark.filterwarnings("ignore::UserWarning:peft")  # of tied embeddings: that is what is tested


def targets(kind: str) -> list[str]:
    return FUSED if kind == "phi3" else EVERYWHERE


def kl(base: Path, adapter: Path | None, model: Path, lora: Path | None = None) -> float:
    """Mean KL divergence of llama.cpp's logits from those of transformers and PEFT, in nats a token."""
    reference = reference_logits(base, adapter, TOKENS)
    measured = compare(TOKENS, reference, llama_logits(model, TOKENS, lora=lora))
    return measured.summary().mean_kl


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture(kind: str, tiny_base: TinyBase, tmp_path: Path) -> None:
    base = tiny_base(kind)
    adapter = tiny_adapter(base, tmp_path / "adapter", target_modules=targets(kind))
    merge(open_base(base), read_peft(adapter), tmp_path / "merged.gguf", "f32")
    merge(open_base(base), None, tmp_path / "base.gguf", "f32")
    assert kl(base, adapter, tmp_path / "merged.gguf") < 1e-5
    assert kl(base, adapter, tmp_path / "base.gguf") > 1e-3, "the adapter must do something, or nothing is shown"
    write_lora(open_base(base), read_peft(adapter), tmp_path / "lora.gguf", "f32")
    assert kl(base, adapter, tmp_path / "base.gguf", tmp_path / "lora.gguf") < 1e-5


def test_a_llama_with_biases_everywhere(tiny_base: TinyBase, tmp_path: Path) -> None:
    base = tiny_base("granite-code")
    merge(open_base(base), None, tmp_path / "base.gguf", "f32")
    assert kl(base, None, tmp_path / "base.gguf") < 1e-5


TIED_ONCE: list[dict[str, Any]] = [
    {"modules_to_save": ["embed_tokens"]},
    {"modules_to_save": ["lm_head"]},
    {"target_modules": ["embed_tokens", "q_proj"]},
    {"target_modules": ["lm_head", "q_proj"]},
]


@ABOUT_TIES
@pytest.mark.parametrize("config", TIED_ONCE, ids=str)
def test_ends_that_stayed_one_in_training_stay_one(config: dict[str, Any], tiny_base: TinyBase, tmp_path: Path) -> None:
    base = tiny_base("smollm2")
    adapter = tiny_adapter(
        base, tmp_path / "adapter", **{"target_modules": EVERYWHERE, **config}, ensure_weight_tying=True
    )
    merge(open_base(base), read_peft(adapter), tmp_path / "merged.gguf", "f32")
    assert "output.weight" not in read_header(tmp_path / "merged.gguf").tensors
    assert kl(base, adapter, tmp_path / "merged.gguf") < 1e-5


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("rsLoRA", {"use_rslora": True}),
    ("patterns", {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 30, "q_proj": 3}}),
    ("rsLoRA and patterns", {"use_rslora": True, "rank_pattern": {"k_proj": 8}, "alpha_pattern": {"k_proj": 5}}),
    ("an embedding", {"target_modules": ["embed_tokens", "q_proj"]}),
]
MERGE_ONLY: list[tuple[str, dict[str, Any]]] = [
    ("DoRA", {"use_dora": True}),
    ("DoRA and rsLoRA", {"use_dora": True, "use_rslora": True}),
    ("saved output", {"modules_to_save": ["lm_head"]}),
    ("saved embedding", {"modules_to_save": ["embed_tokens"]}),
    ("the output", {"target_modules": ["lm_head", "q_proj"]}),
    ("trained biases", {"bias": "all"}),
]


@ABOUT_TIES
@pytest.mark.parametrize("tie", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("case", VARIANTS + MERGE_ONLY, ids=lambda case: case[0])
def test_every_kind_of_adapter(
    kind: str, case: tuple[str, dict[str, Any]], tie: bool, tiny_base: TinyBase, tmp_path: Path
) -> None:
    base = tiny_base(kind, tie=tie)
    adapter = tiny_adapter(base, tmp_path / "adapter", **{"target_modules": EVERYWHERE, **case[1]})
    merge(open_base(base), read_peft(adapter), tmp_path / "merged.gguf", "f32")
    assert kl(base, adapter, tmp_path / "merged.gguf") < 1e-5
    if case in VARIANTS and not (tie and "embed_tokens" in case[1].get("target_modules", [])):
        merge(open_base(base), None, tmp_path / "base.gguf", "f32")
        write_lora(open_base(base), read_peft(adapter), tmp_path / "lora.gguf", "f32")
        assert kl(base, adapter, tmp_path / "base.gguf", tmp_path / "lora.gguf") < 1e-5


@ABOUT_TIES
@pytest.mark.parametrize("module", ["embed_tokens", "lm_head"])
def test_one_half_of_a_tie_is_not_changed_at_run_time(module: str, tiny_base: TinyBase, tmp_path: Path) -> None:
    base = tiny_base("llama", tie=True)
    adapter = read_peft(tiny_adapter(base, tmp_path / "adapter", target_modules=[module]))
    with pytest.raises(ModelError, match="embedding and output are one"):
        write_lora(open_base(base), adapter, tmp_path / "lora.gguf")


def test_a_gguf_is_a_base_too(tiny_base: TinyBase, tmp_path: Path) -> None:
    """Rows that llama.cpp keeps in another order are merged in that order."""
    base = tiny_base("llama")
    adapter = read_peft(tiny_adapter(base, tmp_path / "adapter", target_modules=EVERYWHERE, use_dora=True))
    merge(open_base(base), None, tmp_path / "base.gguf", "f32")
    merge(open_base(tmp_path / "base.gguf"), adapter, tmp_path / "from-gguf.gguf", "f32")
    merge(open_base(base), adapter, tmp_path / "from-folder.gguf", "f32")
    ours, theirs = tensors_of(tmp_path / "from-gguf.gguf"), tensors_of(tmp_path / "from-folder.gguf")
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert np.array_equal(ours[name], theirs[name]), name


def test_a_donor_gives_its_metadata_byte_for_byte(tiny_base: TinyBase, tmp_path: Path) -> None:
    base = tiny_base("qwen2")
    donor = tmp_path / "donor.gguf"
    merge(open_base(base), None, donor, "f32")
    merge(open_base(base, donor), None, tmp_path / "out.gguf", "f16")
    before, after = pairs_of(donor), pairs_of(tmp_path / "out.gguf")
    assert {key for key in before | after if before.get(key) != after.get(key)} == {"general.file_type"}


def test_a_donor_beside_a_gguf_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"brings its own metadata\. Leave the donor out"):
        open_base(gguf_files.write_model(tmp_path / "base.gguf"), tmp_path / "donor.gguf")


def test_one_of_several_shards_is_refused(tmp_path: Path) -> None:
    writer = GGUFWriter(str(tmp_path / "shard.gguf"), "llama")
    writer.add_key_value("split.count", 2, GGUFValueType.UINT16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ModelError, match=r"is one of 2 shards\. Join them"):
        open_base(tmp_path / "shard.gguf")


def test_a_donor_of_another_model_is_refused(tiny_base: TinyBase, tmp_path: Path) -> None:
    merge(open_base(tiny_base("qwen2", hidden=256)), None, tmp_path / "donor.gguf", "f32")
    with pytest.raises(ModelError, match=r"the donor's .* is .*, that of"):
        open_base(tiny_base("qwen2"), tmp_path / "donor.gguf")


def test_an_adapter_of_another_base_is_refused(tiny_base: TinyBase, tmp_path: Path) -> None:
    adapter = read_peft(tiny_adapter(tiny_base("qwen2", hidden=256), tmp_path / "adapter", target_modules=["q_proj"]))
    with pytest.raises(ModelError, match="Was it trained on another base model"):
        merge(open_base(tiny_base("qwen2")), adapter, tmp_path / "merged.gguf")
    assert not list(tmp_path.glob("merged*"))


def test_an_alora_is_not_merged(tiny_base: TinyBase, tmp_path: Path) -> None:
    config = {"target_modules": ["q_proj"], "alora_invocation_tokens": [5, 6]}
    adapter = read_peft(tiny_adapter(tiny_base("qwen2"), tmp_path / "adapter", **config))
    with pytest.raises(ModelError, match="score-convert lora"):
        merged_sources(open_base(tiny_base("qwen2")), adapter)
    write_lora(open_base(tiny_base("qwen2")), adapter, tmp_path / "lora.gguf")
    assert read_header(tmp_path / "lora.gguf").metadata["adapter.alora.invocation_tokens"] == [5, 6]


@pytest.mark.parametrize("type", ["f32", "f16", "bf16", "q8_0"])
def test_a_lora_in_every_type(type: str, tiny_base: TinyBase, tmp_path: Path) -> None:
    base = tiny_base("llama")
    adapter = tiny_adapter(base, tmp_path / "adapter", target_modules=EVERYWHERE)
    merge(open_base(base), None, tmp_path / "base.gguf", "f32")
    write_lora(open_base(base), read_peft(adapter), tmp_path / "lora.gguf", type)
    assert kl(base, adapter, tmp_path / "base.gguf", tmp_path / "lora.gguf") < 1e-3


@pytest.mark.parametrize("more", [{}, {"rank_pattern": {"q_proj": 2}, "use_rslora": True}], ids=["alike", "patterns"])
def test_a_rank_is_cut_to_the_nearest_change(more: dict[str, Any], tiny_base: TinyBase, tmp_path: Path) -> None:
    base = tiny_base("qwen2")
    adapter = read_peft(tiny_adapter(base, tmp_path / "adapter", target_modules=EVERYWHERE, r=8, **more))
    assert write_lora(open_base(base), adapter, tmp_path / "whole.gguf", "f32") == 1.0
    kept = write_lora(open_base(base), adapter, tmp_path / "cut.gguf", "f32", 3)
    whole, cut = (changes_of(tmp_path / name) for name in ("whole.gguf", "cut.gguf"))
    assert kept == pytest.approx(sum((cut[k] ** 2).sum() for k in cut) / sum((whole[k] ** 2).sum() for k in whole))
    assert 0.3 < kept < 0.99
    for name, change in whole.items():
        left, values, right = np.linalg.svd(change, full_matrices=False)
        nearest = (left[:, :3] * values[:3]) @ right[:3]
        np.testing.assert_allclose(cut[name], nearest, atol=1e-5, err_msg=name)
    assert (tmp_path / "cut.gguf").stat().st_size < (tmp_path / "whole.gguf").stat().st_size


def changes_of(path: Path) -> dict[str, Any]:
    """What llama.cpp adds to each weight: alpha / rank * B @ A."""
    alpha, tensors = read_header(path).metadata["adapter.lora.alpha"], tensors_of(path)
    pairs = {name: (tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]) for name in map(_module, tensors)}
    return {name: float(alpha) / len(a) * b @ a for name, (a, b) in pairs.items()}  # type: ignore[arg-type]


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def tensors_of(path: Path) -> dict[str, Any]:
    return {tensor.name: np.array(tensor.data) for tensor in GGUFReader(str(path)).tensors}


def pairs_of(path: Path) -> dict[str, bytes]:
    data, header = path.read_bytes(), read_header(path)
    return {key: data[start:stop] for key, (start, stop) in header.spans.items()}


def test_bfloat16_is_rounded_to_nearest_even() -> None:
    values = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0xBF807FFF], dtype=np.uint32).view(np.float32)
    assert to_bfloat16(values).tolist() == [0x3F80, 0x3F82, 0x3F81, 0xBF80]
