"""Which module gets which change, and with what scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.merged_rows import load_change
from convert.peft_adapter import read_peft, scale_of
from score_local.errors import ModelError
from tests.convert.files import write_adapter

Q = "model.layers.0.self_attn.q_proj"
A, B = np.ones((2, 4), np.float32), np.full((6, 2), 2.0, np.float32)
PAIR = {f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": B}

SCALES: list[tuple[dict[str, Any], float, str]] = [
    ({"lora_alpha": 16}, 4.0, "alpha / rank"),
    ({"lora_alpha": 16, "use_rslora": True}, 8.0, "alpha / sqrt(rank)"),
    ({"lora_alpha": 16, "alpha_pattern": {"q_proj": 4}}, 1.0, "a pattern fits the end of the name"),
    ({"lora_alpha": 16, "alpha_pattern": {"k_proj": 4}}, 4.0, "another module's pattern"),
    ({"lora_alpha": 16, "alpha_pattern": {r"layers\.\d+\.self_attn\.q_proj": 8}}, 2.0, "a pattern is a regex"),
    ({"lora_alpha": 16, "alpha_pattern": {"proj": 4}}, 4.0, "part of a name is no module"),
    ({"lora_alpha": 16, "alpha_pattern": {"q_proj": 4, Q: 8}}, 1.0, "the first that fits counts"),
    ({"lora_alpha": 16, "use_rslora": True, "alpha_pattern": {"q_proj": 4}}, 2.0, "both"),
]


@pytest.mark.parametrize(("config", "scale", "why"), SCALES)
def test_scale(config: dict[str, Any], scale: float, why: str) -> None:
    assert scale_of(config, Q, 4) == pytest.approx(scale), why


def test_the_rank_is_that_of_the_tensor(tmp_path: Path) -> None:
    adapter = read_peft(write_adapter(tmp_path, PAIR, r=8, rank_pattern={"q_proj": 2}, lora_alpha=3))
    assert adapter.changes[f"{Q}.weight"].scale == 1.5


def test_a_change_is_scale_times_b_times_a(tmp_path: Path) -> None:
    change = read_peft(write_adapter(tmp_path, PAIR, lora_alpha=4)).changes[f"{Q}.weight"]
    base = np.arange(24, dtype=np.float32).reshape(6, 4)
    assert load_change(change).apply(base[2:4], slice(2, 4)).tolist() == (base + 2 * B @ A)[2:4].tolist()


def test_dora_gives_rows_their_magnitude(tmp_path: Path) -> None:
    magnitude = np.arange(1, 7, dtype=np.float32)
    tensors = {**PAIR, f"{Q}.lora_magnitude_vector": magnitude}
    adapter = read_peft(write_adapter(tmp_path, tensors, use_dora=True))
    rows = np.array([5, 0])
    merged = load_change(adapter.changes[f"{Q}.weight"]).apply(np.ones((2, 4), np.float32), rows)
    assert adapter.dora and np.linalg.norm(merged, axis=1).tolist() == pytest.approx([6.0, 1.0])


def test_an_embedding_changes_by_the_transpose(tmp_path: Path) -> None:
    tensors = {"model.embed_tokens.lora_embedding_A": A, "model.embed_tokens.lora_embedding_B": B}
    change = read_peft(write_adapter(tmp_path, tensors)).changes["model.embed_tokens.weight"]
    assert change.shape == (4, 6)
    merged = load_change(change).apply(np.zeros((4, 6), np.float32), slice(0, 4))
    assert merged.tolist() == (2 * (B @ A).T).tolist()


def test_whole_tensors_take_the_place_of_the_bases(tmp_path: Path) -> None:
    tensors = {
        **PAIR,
        "lm_head.weight": A,
        "model.embed_tokens.modules_to_save.weight": A,
        "model.layers.0.mlp.up_proj.base_layer.bias": B[:, 0],
    }
    replaced = read_peft(write_adapter(tmp_path, tensors)).replaced
    assert replaced.keys() == {"lm_head.weight", "model.embed_tokens.weight", "model.layers.0.mlp.up_proj.bias"}


@pytest.mark.parametrize("name", [f"{Q}.lora_B.bias", "model.embed_tokens.token_adapter.trainable_tokens_delta"])
def test_what_is_not_known_is_kept_as_strange(tmp_path: Path, name: str) -> None:
    adapter = read_peft(write_adapter(tmp_path, {**PAIR, name: A}))
    assert adapter.strange == (f"base_model.model.{name}",) and adapter.changes.keys() == {f"{Q}.weight"}


@pytest.mark.parametrize(
    ("tensors", "config", "told"),
    [
        ({f"{Q}.lora_A.weight": A}, {}, "has no matching pair"),
        ({f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": np.ones((6, 3), np.float32)}, {}, "has no matching pair"),
        (PAIR, {"peft_type": "IA3"}, "peft_type IA3 is not supported"),
        (PAIR, {"lora_alpha": 0}, "lora_alpha is 0, no positive number"),
        (PAIR, {"lora_alpha": None}, "lora_alpha is None, no positive number"),
        ({f"{Q}.lora_A.weight": A.astype(np.int8)}, {}, "holds INT8, no 16 or 32-bit floats"),
    ],
)
def test_what_is_no_lora_is_refused(tmp_path: Path, tensors: Any, config: Any, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        read_peft(write_adapter(tmp_path, tensors, **config))


def test_a_folder_without_settings_is_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"it has no adapter_config\.json"):
        read_peft(tmp_path)
