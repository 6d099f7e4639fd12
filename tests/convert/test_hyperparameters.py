"""config.json in llama.cpp's words; that they are the words of its own converter is shown in test_llama_cpp.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convert.hyperparameters import extra_tensors, hyperparameters, rope_of
from score_local.errors import ModelError

PLAIN: dict[str, Any] = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "hidden_size": 64,
    "intermediate_size": 128,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "vocab_size": 300,
}

ROPES = [
    ({"rope_theta": 5e5}, {"rope.freq_base": 5e5}, "transformers 4"),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, {"rope.freq_base": 5e5}, "transformers 5"),
    (
        {"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 4}},
        {"rope.freq_base": 1e4, "rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
        "positions divided, as old files say it",
    ),
    (
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 1e6,
                "factor": 4.0,
                "original_max_position_embeddings": 128,
                "beta_fast": 16,
            }
        },
        {
            "rope.freq_base": 1e6,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 128,
            "rope.scaling.yarn_beta_fast": 16.0,
        },
        "YaRN, with what of it is stated",
    ),
    ({}, {}, "nothing stated: llama.cpp's default is the same"),
]


@pytest.mark.parametrize(("config", "wanted", "why"), ROPES)
def test_rotary_embeddings(config: dict[str, Any], wanted: dict[str, Any], why: str) -> None:
    found = hyperparameters({**PLAIN, **config}, "qwen2", "base")
    rope = {key.removeprefix("qwen2."): value for key, value in found.items() if ".rope." in key}
    assert rope == wanted, why


def test_layers_of_two_kinds_have_two_rotary_embeddings() -> None:
    both = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}
    config = {**PLAIN, "rope_parameters": both, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 64}
    found = hyperparameters(config, "gemma3", "base")
    assert (found["gemma3.rope.freq_base"], found["gemma3.rope.freq_base_swa"]) == (1e6, 1e4)
    assert rope_of({"rope_theta": 1e6, "rope_local_base_freq": 1e4}, "sliding_attention") == {"rope_theta": 1e4}


LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "original_max_position_embeddings": 8192}


def test_llama3_divides_long_waves_only() -> None:
    """The definition of transformers' modeling_rope_utils, frequency by frequency."""
    config = {**PLAIN, "head_dim": 128, "rope_parameters": {**LLAMA3, "low_freq_factor": 1.0, "high_freq_factor": 4.0}}
    factors = extra_tensors(config, "llama")["rope_freqs.weight"]
    assert factors.shape == (64,) and factors[0] == 1.0 and factors[-1] == 8.0
    for i, factor in enumerate(factors):
        wave = 2 * np.pi * 5e5 ** (2 * i / 128)
        smooth = (8192 / wave - 1.0) / (4.0 - 1.0)
        wanted = 8.0 if wave > 8192 else 1.0 if wave < 2048 else 1 / ((1 - smooth) / 8.0 + smooth)
        assert factor == pytest.approx(wanted, rel=1e-5)


def test_phi3_brings_its_factors_along() -> None:
    rope = {"rope_type": "longrope", "long_factor": [2.0] * 8, "short_factor": [1.0] * 8}
    config = {**PLAIN, "original_max_position_embeddings": 128, "rope_parameters": rope}
    assert {name: tensor.tolist() for name, tensor in extra_tensors(config, "phi3").items()} == {
        "rope_factors_long.weight": [2.0] * 8,
        "rope_factors_short.weight": [1.0] * 8,
    }
    found = hyperparameters(config, "phi3", "base")
    assert found["phi3.rope.scaling.attn_factor"] == pytest.approx((1 + np.log(4) / np.log(128)) ** 0.5)
    assert found["phi3.rope.scaling.original_context_length"] == 128


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("smollm3", {"no_rope_layers": [1, 0, 1]}, "its layers without rotary embedding are not every fourth"),
    ("gemma2", {"query_pre_attn_scalar": 224, "head_dim": 16}, "its attention is scaled by another number"),
    ("gemma3", {"layer_types": ["full_attention"] * 3}, "its layers of full attention are not every sixth"),
    ("gemma3", {"use_bidirectional_attention": True}, "its attention looks ahead"),
    ("qwen2", {"rope_scaling": {"type": "dynamic", "factor": 2}}, "scaled by 'dynamic', which is not known here"),
    ("llama", {"rope_parameters": {"rope_type": "longrope"}}, "scaled by 'longrope', which is not known here"),
    ("qwen2", {"hidden_size": None, "num_attention_heads": 4}, "its config.json lacks"),
]


@pytest.mark.parametrize(("architecture", "config", "told"), REFUSED)
def test_what_llama_cpp_would_run_wrongly_is_refused(architecture: str, config: dict[str, Any], told: str) -> None:
    config = {**PLAIN, **config}
    with pytest.raises(ModelError) as caught:
        hyperparameters({k: v for k, v in config.items() if v is not None}, architecture, "base")
    assert told in str(caught.value) and str(caught.value).startswith("base: ")


def test_the_largest_gemma_shares_its_scale_evenly() -> None:
    config = {**PLAIN, "num_hidden_layers": 46, "query_pre_attn_scalar": 16, "head_dim": 32, "sliding_window": 8}
    config |= {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
    assert hyperparameters(config, "gemma2", "base")["gemma2.block_count"] == 46
