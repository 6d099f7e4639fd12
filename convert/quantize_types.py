"""The types that a GGUF can be quantised to, by llama.cpp's names."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from gguf import GGMLQuantizationType

from score_local.gguf_types import BLOCKS


class QuantType(msgspec.Struct, frozen=True):
    """A file type: a recipe that gives every tensor of a model its own type.

    `ftype` is llama.cpp's number (enum llama_ftype). `bits` a weight are those of the type that most tensors get.
    Without an importance matrix llama.cpp refuses to make the types that need one (src/llama-quant.cpp).
    """

    ftype: int
    bits: float
    needs_imatrix: bool = False


TYPES: Mapping[str, QuantType] = {
    "q1_0": QuantType(40, 1.125),
    "iq1_s": QuantType(24, 1.5625, True),
    "tq1_0": QuantType(36, 1.6875),
    "iq1_m": QuantType(31, 1.75, True),
    "iq2_xxs": QuantType(19, 2.0625, True),
    "tq2_0": QuantType(37, 2.0625),
    "q2_0": QuantType(41, 2.25),
    "iq2_xs": QuantType(20, 2.3125, True),
    "iq2_s": QuantType(28, 2.3125, True),
    "iq2_m": QuantType(29, 2.5625, True),
    "q2_k_s": QuantType(21, 2.625, True),
    "q2_k": QuantType(10, 2.625),
    "iq3_xxs": QuantType(23, 3.0625, True),
    "iq3_xs": QuantType(22, 3.4375, True),
    "iq3_s": QuantType(26, 3.4375),
    "iq3_m": QuantType(27, 3.4375),
    "q3_k_s": QuantType(11, 3.4375),
    "q3_k_m": QuantType(12, 3.4375),
    "q3_k_l": QuantType(13, 3.4375),
    "mxfp4_moe": QuantType(38, 4.25),  # for mixtures of experts; what is no expert becomes Q8_0
    "iq4_xs": QuantType(30, 4.25),
    "iq4_nl": QuantType(25, 4.5),
    "q4_0": QuantType(2, 4.5),
    "q4_k_s": QuantType(14, 4.5),
    "q4_k_m": QuantType(15, 4.5),
    "q4_1": QuantType(3, 5.0),
    "q5_0": QuantType(8, 5.5),
    "q5_k_s": QuantType(16, 5.5),
    "q5_k_m": QuantType(17, 5.5),
    "q5_1": QuantType(9, 6.0),
    "q6_k": QuantType(18, 6.5625),
    "q8_0": QuantType(7, 8.5),
    "f16": QuantType(1, 16.0),
    "bf16": QuantType(32, 16.0),
    "f32": QuantType(0, 32.0),
}
"""Every file type that `llama_model_quantize` makes, the smallest first."""

TENSOR_TYPES: Mapping[str, int] = {
    **{kind.name.lower(): int(kind) for kind in GGMLQuantizationType},
    "q2_0": 42,  # younger than gguf 0.19
}
"""ggml's tensor types by name."""

UNQUANTISED = ("f32", "f16", "bf16")
OVERRIDES = (*UNQUANTISED, "q8_0", "q6_k", "q5_k", "q5_1", "q5_0", "q4_k", "q4_1", "q4_0", "iq4_nl", "iq4_xs", "q3_k")
"""What the embeddings and the output may be made instead: the types that need no importance matrix, which has no
entry for either, and that leave something of them."""


def tensor_type_name(number: int) -> str:
    """ggml's name of a tensor type, in lower case."""
    return next((name for name, known in TENSOR_TYPES.items() if known == number), f"type {number}")


def block_length(number: int) -> int:
    """Weights in a block of a tensor type: a tensor's width has to be a multiple of it."""
    return BLOCKS[number][0]
