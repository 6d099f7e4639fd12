"""Tiny GGUF files for tests, written by the `gguf` package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
BASE = {"token_embd.weight": (64, 32), "blk.0.attn_q.weight": (32, 32), "blk.0.ffn_up.weight": (96, 32)}  # (out, in)


def write_model(path: Path, *, template: str | None = TEMPLATE, vocabulary: int = 2000, arch: str = "llama") -> Path:
    """A model of three tensors whose vocabulary is long enough to be stepped over. Returns `path`."""
    writer = GGUFWriter(str(path), arch)
    writer.add_type("model")
    writer.add_context_length(2048)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_languages(["en", "fr"])
    writer.add_token_list([f"token{n}é" for n in range(vocabulary)])
    writer.add_token_scores([0.0] * vocabulary)
    if template is not None:
        writer.add_chat_template(template)
    for name, shape in BASE.items():
        if name.startswith("blk"):
            blocks = np.zeros((shape[0], shape[1] // 32 * 34), dtype=np.uint8)
            writer.add_tensor(name, blocks, raw_dtype=GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(name, np.zeros(shape, dtype=np.float16))
    return _finish(writer, path)


def write_adapter(
    path: Path,
    *,
    arch: str = "llama",
    pairs: dict[str, tuple[int, int]] | None = None,
    general: str = "adapter",
    invocation: list[int] | None = None,
    rank: int = 4,
    rank_b: int = 4,
    half: bool = False,
) -> Path:
    """A LoRA of `rank` (B: `rank_b`) for base tensors of (out, in); `half` leaves out every B. Returns `path`."""
    writer = GGUFWriter(str(path), arch)
    writer.add_type(general)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    if invocation:
        writer.add_array("adapter.alora.invocation_tokens", invocation)
    for name, (n_out, n_in) in (pairs or {"blk.0.attn_q.weight": (32, 32)}).items():
        shape = (n_out, rank) if name == "token_embd.weight" else (rank, n_in)  # an embedding's A is transposed
        writer.add_tensor(f"{name}.lora_a", np.zeros(shape, dtype=np.float32))
        if not half:
            shape = (n_in, rank) if name == "token_embd.weight" else (n_out, rank_b)
            writer.add_tensor(f"{name}.lora_b", np.zeros(shape, dtype=np.float32))
    return _finish(writer, path)


def _finish(writer: GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
