"""Tiny llama models as GGUF files, and LoRAs for them, whose weights a test can change before they are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from gguf import GGUFValueType, GGUFWriter, LlamaFileType, TokenType
from numpy.typing import NDArray

from convert.texts import PASSAGES

Weights = dict[str, NDArray[np.float32]]
Pair = tuple[NDArray[np.float32], NDArray[np.float32]]  # A (rank, in), B (out, rank)

WIDTH, FEED, LAYERS, HEADS, HEADS_KV = 64, 128, 2, 4, 2
# GPT-2's letters for the 256 bytes, in the order of the bytes
_SEEN = [*range(33, 127), *range(161, 173), *range(174, 256)]
_LETTERS = {byte: chr(byte) for byte in _SEEN} | {
    byte: chr(256 + n) for n, byte in enumerate(b for b in range(256) if b not in _SEEN)
}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|over|>")
END_OF_TEXT, IM_START, IM_END, OVER = 256, 257, 258, 259  # llama.cpp knows all but the last by their names
TOKENS = (*(_LETTERS[byte] for byte in range(256)), *SPECIAL)
VOCABULARY = 256 + len(SPECIAL)
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def random_weights(seed: int = 0) -> Weights:
    """Every tensor of the model; the first channel is about the same in every hidden state, see `useful_pairs`."""
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        return (random.normal(size=(rows, columns)) / np.sqrt(columns)).astype(np.float32)

    weights = {"token_embd.weight": 8 * matrix(VOCABULARY, WIDTH), "output.weight": 2 * matrix(VOCABULARY, WIDTH)}
    weights["token_embd.weight"][:, 0] = 2
    weights["output_norm.weight"] = np.ones(WIDTH, dtype=np.float32)
    for layer in range(LAYERS):
        heads = {"attn_q": WIDTH, "attn_k": WIDTH * HEADS_KV // HEADS, "attn_v": WIDTH * HEADS_KV // HEADS}
        shapes = {name: (rows, WIDTH) for name, rows in heads.items()}
        shapes |= {"attn_output": (WIDTH, WIDTH), "ffn_gate": (FEED, WIDTH), "ffn_up": (FEED, WIDTH)}
        for name, shape in {**shapes, "ffn_down": (WIDTH, FEED)}.items():
            weights[f"blk.{layer}.{name}.weight"] = matrix(*shape)
        for name in ("attn_norm", "ffn_norm"):
            weights[f"blk.{layer}.{name}.weight"] = np.ones(WIDTH, dtype=np.float32)
    return weights


def random_pairs(scale: float = 0.3, seed: int = 1, rank: int = 4) -> dict[str, Pair]:
    """A and B for the attention's projections."""
    random = np.random.default_rng(seed)
    return {
        name: (
            (scale * random.normal(size=(rank, weight.shape[1]))).astype(np.float32),
            (scale * random.normal(size=(weight.shape[0], rank))).astype(np.float32),
        )
        for name, weight in random_weights().items()
        if "attn_q" in name or "attn_v" in name
    }


def useful_pairs(strength: float = 1.0) -> dict[str, Pair]:
    """An adapter that lowers the loss on our passages: it makes the bytes likelier that are frequent in them."""
    counts = Counter(byte for text in PASSAGES for byte in text.encode())
    frequency = np.array([counts[token] + 0.5 for token in range(VOCABULARY)])
    b = np.log(frequency / frequency.mean())[:, None].astype(np.float32)
    a = np.zeros((1, WIDTH), dtype=np.float32)
    a[0, 0] = strength
    return {"output.weight": (a, b)}


def merge(weights: Weights, pairs: Mapping[str, Pair], scale: float = 1.0) -> Weights:
    """W + scale x B A."""
    return weights | {name: weights[name] + np.float32(scale) * (b @ a) for name, (a, b) in pairs.items()}


def write_model(
    path: Path,
    weights: Weights,
    *,
    half: bool = False,
    kind: LlamaFileType | None = None,
    template: str | None = TEMPLATE,
    end: int = OVER,
    tokens: Sequence[str] = TOKENS,
    opening: bool = False,
    special: TokenType = TokenType.CONTROL,
    context: int = 512,
) -> Path:
    """A model in F32, or with `half` its matrices in F16; `kind` is what it calls itself, `special` the type of its
    special tokens. Returns `path`."""
    writer = GGUFWriter(str(path), "llama")
    writer.add_type("model")
    writer.add_file_type(kind or (LlamaFileType.MOSTLY_F16 if half else LlamaFileType.ALL_F32))
    _write_shape(writer, context)
    _write_vocabulary(writer, tokens, end, opening, special)
    if template is not None:
        writer.add_chat_template(template)
    for name, weight in weights.items():
        writer.add_tensor(name, weight.astype(np.float16) if half and weight.ndim > 1 else weight)
    return _finish(writer, path)


def write_lora(
    path: Path, pairs: Mapping[str, Pair], *, alpha: float | None = None, invocation: Sequence[int] = ()
) -> Path:
    """A LoRA GGUF; without `alpha` its scale is 1. Returns `path`."""
    writer = GGUFWriter(str(path), "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha or float(next(iter(pairs.values()))[0].shape[0]))
    if invocation:
        key = "adapter.alora.invocation_tokens"
        writer.add_key_value(key, list(invocation), GGUFValueType.ARRAY, sub_type=GGUFValueType.UINT32)
    for name, (a, b) in pairs.items():
        writer.add_tensor(f"{name}.lora_a", a)
        writer.add_tensor(f"{name}.lora_b", b)
    return _finish(writer, path)


def _write_shape(writer: GGUFWriter, context: int) -> None:
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS_KV)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(VOCABULARY)


def _write_vocabulary(writer: GGUFWriter, tokens: Sequence[str], end: int, opening: bool, special: TokenType) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(tokens))
    writer.add_token_types([TokenType.NORMAL] * 256 + [special] * (len(tokens) - 256))
    writer.add_token_merges(["Ġ Ġ"])  # of no effect: its result is no token
    writer.add_eos_token_id(end)
    writer.add_bos_token_id(END_OF_TEXT)
    writer.add_add_bos_token(opening)


def _finish(writer: GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
