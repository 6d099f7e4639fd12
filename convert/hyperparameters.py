"""A Hugging Face config.json in llama.cpp's words: the metadata that a GGUF needs to be run.

Keys follow the `gguf` package's constants; values are those that llama.cpp's own converter writes (a test compares).
Where llama.cpp has built something into an architecture and the configuration says otherwise, that is refused: it would
run, and wrongly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Union

import numpy as np
from gguf import GGML_QUANT_VERSION
from numpy.typing import NDArray

from score_local.errors import ModelError

Value = Union[bool, int, float, str, list[int]]
Config = Mapping[str, Any]
DONOR = "Give a GGUF of the same base with --donor"
LLAMA3, LONG_ROPE = "llama3", ("longrope", "su")
SMOLLM3_STEP = 4  # every fourth layer has no rotary embedding
GEMMA3_STEP = 6  # every sixth layer attends to everything


def hyperparameters(config: Config, architecture: str, where: str) -> dict[str, Value]:
    """GGUF keys and values. Raises ModelError naming what llama.cpp's `architecture` does not have."""
    try:
        refuse_unsupported(config, architecture, where)
        found = {f"{architecture}.{key}": value for key, value in _pairs(config, architecture) if value is not None}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"its config.json lacks {error}", where, DONOR) from error
    return {**found, "general.quantization_version": GGML_QUANT_VERSION}


def extra_tensors(config: Config, architecture: str) -> dict[str, NDArray[np.float32]]:
    """Tensors that are in no checkpoint: the factors of stretched rotary embeddings."""
    rope = rope_of(config)
    if rope.get("rope_type") == LLAMA3:
        return {"rope_freqs.weight": _llama3_factors(rope, _head(config))}
    if architecture == "phi3" and rope.get("long_factor"):
        return {
            f"rope_factors_{length}.weight": np.array(rope[f"{length}_factor"], dtype=np.float32)
            for length in ("long", "short")
        }
    return {}


def rope_of(config: Config, layers: str = "full_attention") -> dict[str, Any]:
    """The rotary embedding of a kind of layer: transformers 5 writes `rope_parameters`, 4 `rope_theta` and
    `rope_scaling`."""
    stored = config.get("rope_parameters")
    if stored is not None:
        return dict(stored.get(layers, {} if layers != "full_attention" else stored))
    if layers == "sliding_attention":
        theta = config.get("rope_local_base_freq")
        return {"rope_theta": theta} if theta is not None else {}
    scaling = dict(config.get("rope_scaling") or {})
    scaling["rope_type"] = scaling.get("rope_type") or scaling.pop("type", None) or "default"
    for key in ("rope_theta", "original_max_position_embeddings", "partial_rotary_factor"):
        if config.get(key) is not None:
            scaling.setdefault(key, config[key])
    return scaling


def refuse_unsupported(config: Config, architecture: str, where: str) -> None:
    """Raises ModelError."""
    for unsupported, what in UNSUPPORTED.get(architecture, []):
        if unsupported(config):
            raise ModelError(what, where, "llama.cpp cannot run it")
    kind = rope_of(config).get("rope_type", "default")
    known = {"default", "linear", "yarn", LLAMA3, *(LONG_ROPE if architecture == "phi3" else ())}
    if kind not in known:
        raise ModelError(f"its rotary embedding is scaled by {kind!r}, which is not known here", where, DONOR)


def _pairs(config: Config, architecture: str) -> Iterator[tuple[str, Value | None]]:
    heads = config["num_attention_heads"]
    yield "block_count", config["num_hidden_layers"]
    yield "context_length", config.get("max_position_embeddings")
    yield "embedding_length", config["hidden_size"]
    yield "feed_forward_length", config["intermediate_size"]
    yield "attention.head_count", heads
    yield "attention.head_count_kv", config.get("num_key_value_heads") or heads
    yield "attention.layer_norm_rms_epsilon", float(config.get("rms_norm_eps", 1e-6))
    if config.get("head_dim") is not None and architecture != "phi3":
        yield "attention.key_length", config["head_dim"]
        yield "attention.value_length", config["head_dim"]
    yield from _rotary(config, architecture)
    yield from OWN[architecture](config) if architecture in OWN else ()


def _rotary(config: Config, architecture: str) -> Iterator[tuple[str, Value | None]]:
    rope = rope_of(config)
    if architecture != "gemma2":  # llama.cpp's converter leaves it out; the default is the same
        yield "rope.freq_base", _float(rope.get("rope_theta"))
    yield "rope.freq_base_swa", _float(rope_of(config, "sliding_attention").get("rope_theta"))
    kind = rope.get("rope_type", "default")
    if kind in ("linear", "yarn"):
        yield "rope.scaling.type", kind
        yield "rope.scaling.factor", float(rope["factor"])
    if kind == "yarn":
        yield "rope.scaling.original_context_length", int(rope["original_max_position_embeddings"])
        yield "rope.scaling.yarn_ext_factor", _float(rope.get("extrapolation_factor"))
        yield "rope.scaling.yarn_attn_factor", _float(rope.get("attention_factor", rope.get("attn_factor")))
        yield "rope.scaling.yarn_beta_fast", _float(rope.get("beta_fast"))
        yield "rope.scaling.yarn_beta_slow", _float(rope.get("beta_slow"))


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _head(config: Config) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


# -- what one architecture has beyond the others --------------------------------------------------------------------


def _llama(config: Config) -> Iterator[tuple[str, Value | None]]:
    yield "vocab_size", config["vocab_size"]
    yield "rope.dimension_count", _head(config)


def _gemma2(config: Config) -> Iterator[tuple[str, Value | None]]:
    yield "attn_logit_softcapping", float(config["attn_logit_softcapping"])
    yield "final_logit_softcapping", float(config["final_logit_softcapping"])
    yield "attention.sliding_window", config["sliding_window"]


def _gemma3(config: Config) -> Iterator[tuple[str, Value | None]]:
    yield "attention.sliding_window", config["sliding_window"]
    yield "final_logit_softcapping", _float(config.get("final_logit_softcapping"))


def _phi3(config: Config) -> Iterator[tuple[str, Value | None]]:
    rope, trained = rope_of(config), config["max_position_embeddings"]
    original = rope.get("original_max_position_embeddings") or config.get("original_max_position_embeddings", trained)
    yield "rope.scaling.original_context_length", original
    yield "rope.dimension_count", int(rope.get("partial_rotary_factor", 1.0) * _head(config))
    yield "attention.sliding_window", config.get("sliding_window") or 0
    if rope.get("long_factor"):
        stretched = trained / original
        # arXiv 2402.13753, section 3; transformers: modeling_rope_utils
        factor = math.sqrt(1 + math.log(stretched) / math.log(original)) if stretched > 1 else 1.0
        yield "rope.scaling.attn_factor", factor


OWN: Mapping[str, Callable[[Config], Iterator[tuple[str, Value | None]]]] = {
    "llama": _llama,
    "smollm3": _llama,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "phi3": _phi3,
}


def _other_steps(config: Config) -> bool:
    layers = config.get("no_rope_layers") or []
    return any(bool(rotary) != ((i + 1) % SMOLLM3_STEP != 0) for i, rotary in enumerate(layers))


def _other_attention(config: Config) -> bool:
    kinds = config.get("layer_types") or []
    return any((kind == "full_attention") != ((i + 1) % GEMMA3_STEP == 0) for i, kind in enumerate(kinds))


def _other_scale(config: Config) -> bool:
    """llama.cpp divides scores by the root of the head's width, in the 27B models by that of an even share."""
    scalar, even = config.get("query_pre_attn_scalar"), config["hidden_size"] / config["num_attention_heads"]
    largest = config["num_hidden_layers"] in (46, 62)
    return scalar is not None and scalar != (even if largest else config.get("head_dim", 256))


Unsupported = tuple[Callable[[Config], bool], str]
SCALE: Unsupported = (_other_scale, "its attention is scaled by another number than the head's width")
UNSUPPORTED: Mapping[str, list[Unsupported]] = {
    "smollm3": [(_other_steps, "its layers without rotary embedding are not every fourth")],
    "gemma2": [SCALE],
    "gemma3": [
        SCALE,
        (_other_attention, "its layers of full attention are not every sixth"),
        (lambda c: bool(c.get("use_bidirectional_attention")), "its attention looks ahead"),
    ],
}


def _llama3_factors(rope: Mapping[str, Any], head: int) -> NDArray[np.float32]:
    """By what each frequency is divided (Llama 3.1; transformers: modeling_rope_utils): long waves by `factor`, short
    ones by 1, what is between by a share of both."""
    frequencies = float(rope.get("rope_theta", 10000.0)) ** (-np.arange(0, head, 2, dtype=np.float32) / head)
    factor, original = float(rope.get("factor", 8.0)), float(rope.get("original_max_position_embeddings", 8192))
    low, high = float(rope.get("low_freq_factor", 1.0)), float(rope.get("high_freq_factor", 4.0))
    turns = original * frequencies / (2 * math.pi)  # of each wave in the original context
    smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
    factors: NDArray[np.float32] = (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
    return factors
