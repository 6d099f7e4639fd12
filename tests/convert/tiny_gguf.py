"""Tiny llama models as GGUF files, of any width: random weights, a SentencePiece vocabulary of bytes and fillers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from gguf.quants import quantize
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.float32]]
HEADS, HEADS_KV, EPSILON, ROPE_BASE = 4, 2, 1e-5, 10000.0
UNKNOWN, OPENING, ENDING, FIRST_BYTE = 0, 1, 2, 3
FILE_TYPES = {
    GGMLQuantizationType.F32: LlamaFileType.ALL_F32,
    GGMLQuantizationType.F16: LlamaFileType.MOSTLY_F16,
    GGMLQuantizationType.BF16: LlamaFileType.MOSTLY_BF16,
    GGMLQuantizationType.Q8_0: LlamaFileType.MOSTLY_Q8_0,
}


class Shape(msgspec.Struct, frozen=True):
    """256 is the width that fills the blocks of all types; a feed-forward layer is twice as wide."""

    width: int = 256
    layers: int = 2
    vocabulary: int = 300
    context: int = 256
    tied: bool = False

    @property
    def head(self) -> int:
        return self.width // HEADS


WIDE, NARROW = Shape(), Shape(width=64)


def random_weights(shape: Shape, seed: int = 0) -> Weights:
    """Every tensor of the model, the norms random too."""
    random = np.random.default_rng(seed)
    width, feed, kv = shape.width, 2 * shape.width, shape.head * HEADS_KV
    matrices = {"attn_q": (width, width), "attn_k": (kv, width), "attn_v": (kv, width), "attn_output": (width, width)}
    matrices |= {"ffn_gate": (feed, width), "ffn_up": (feed, width), "ffn_down": (width, feed)}
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (shape.vocabulary, width), "output_norm": (width,)}
    if not shape.tied:
        shapes["output"] = (shape.vocabulary, width)
    for layer in range(shape.layers):
        shapes |= {f"blk.{layer}.{name}": size for name, size in matrices.items()}
        shapes |= {f"blk.{layer}.{name}": (width,) for name in ("attn_norm", "ffn_norm")}
    weights = {f"{name}.weight": random.normal(size=size) / np.sqrt(size[-1]) for name, size in shapes.items()}
    weights["token_embd.weight"] *= 8
    return {
        name: (1 + 4 * weight if weight.ndim == 1 else weight).astype(np.float32) for name, weight in weights.items()
    }


def write_model(
    path: Path,
    shape: Shape = WIDE,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
    *,
    type: GGMLQuantizationType = GGMLQuantizationType.F16,
) -> Path:
    """A model whose matrices have `type`. Returns `path`."""
    writer = GGUFWriter(str(path), "llama")
    writer.add_type("model")
    writer.add_file_type(FILE_TYPES[type])
    _write_shape(writer, shape)
    _write_vocabulary(writer, shape.vocabulary)
    for name, weight in (weights or random_weights(shape)).items():
        if weight.ndim == 1 or type is GGMLQuantizationType.F32:
            writer.add_tensor(name, weight)
        else:
            writer.add_tensor(name, quantize(weight, type), raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_shape(writer: GGUFWriter, shape: Shape) -> None:
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(2 * shape.width)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS_KV)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_vocab_size(shape.vocabulary)


def _write_vocabulary(writer: GGUFWriter, size: int) -> None:
    fillers = range(FIRST_BYTE + 256, size)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(
        ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *(f"filler{n}" for n in fillers)]
    )
    writer.add_token_scores([0.0] * size)
    special = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    writer.add_token_types([*special, *[TokenType.BYTE] * 256, *[TokenType.NORMAL] * len(fillers)])
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(OPENING)
    writer.add_eos_token_id(ENDING)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
