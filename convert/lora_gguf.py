"""Reads the GGUF of an adapter as an adapter to convert: whoever has only the file for run time can merge it too, or
cut its rank.

The inverse of `convert.lora`, but for what rounding took there: llama.cpp scales a pair by alpha / rank, the rank being
the pair's, and by 1 where alpha is 0 (src/llama-adapter.h).
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from convert.adapter import Adapter, LoraChange
from convert.architectures import EMBEDDING
from convert.peft_adapter import CONFIG, read_peft
from convert.safetensors import AGAIN, Array
from convert.sources import InGGUF
from score_local.adapter_files import CARD, read_adapter
from score_local.errors import ModelError
from score_local.gguf_file import GGUFHeader, read_header

PARTS = (".lora_a", ".lora_b")


class InLoraGGUF(msgspec.Struct, frozen=True):
    """A factor as a LoRA GGUF holds it; `turned`: its transpose is meant."""

    source: InGGUF
    turned: bool = False

    @property
    def file(self) -> Path:
        return self.source.header.path

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(reversed(self.source.shape)) if self.turned else self.source.shape

    def read(self) -> Array:
        values = self.source.read(0, self.source.shape[0])
        return np.ascontiguousarray(values.T) if self.turned else values


def open_adapter(path: Path) -> Adapter:
    """Reads a PEFT folder, a LoRA GGUF, or a folder with the card of one (`adapter.toml`). Raises ModelError where it
    is none of them, or damaged."""
    run_time = path.is_file() or ((path / CARD).is_file() and not (path / CONFIG).is_file())
    return read_lora_gguf(path) if run_time else read_peft(path)


def read_lora_gguf(path: Path) -> Adapter:
    """Reads a LoRA GGUF, changes by llama.cpp's names. Raises ModelError where it is none, or holds half of a pair."""
    info = read_adapter(path)
    header = read_header(info.file)
    names = dict.fromkeys(name.removesuffix(".lora_a").removesuffix(".lora_b") for name in info.tensors)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": info.base,
        "lora_alpha": info.alpha,
        "alora_invocation_tokens": list(info.invocation_tokens),
    }
    changes = {name: _change(name, header, info.alpha) for name in names}
    return Adapter(path, config, changes, architecture=info.architecture)


def _change(name: str, header: GGUFHeader, alpha: float) -> LoraChange:
    where, embedding = str(header.path), name == EMBEDDING
    a, b = (header.tensors.get(name + part) for part in PARTS)
    if a is None or b is None or len(a.shape) != 2 or len(b.shape) != 2:
        raise ModelError(f"{name} has no matching pair of lora_a and lora_b", where, AGAIN)
    # Of the embedding, which is looked up and not multiplied, A lies the other way round.
    left, right = InLoraGGUF(InGGUF(header, name, a), embedding), InLoraGGUF(InGGUF(header, name, b))
    if left.shape[0] != right.shape[1]:
        raise ModelError(f"{name} has factors of two ranks, {left.shape[0]} and {right.shape[1]}", where, AGAIN)
    scale = alpha / left.shape[0] if alpha else 1.0
    return LoraChange(a=left, b=right, scale=scale, embedding=embedding, placed=True)
