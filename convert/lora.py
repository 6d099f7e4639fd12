"""Makes the GGUF of an adapter that llama.cpp adds at run time, some MB in size.

llama.cpp (src/llama-adapter.h) scales every pair of factors by alpha / rank, one alpha for all, the rank being that of
the pair. The true scale of a module (rsLoRA, patterns) is kept by the alpha that most modules need; what a module
differs from it goes into its B.

An adapter may be made smaller by cutting its rank: of each change B A the largest singular values are kept, which is
the nearest change of that rank (Eckart and Young, 1936).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter, LlamaFileType
from gguf.quants import quantize
from numpy.typing import NDArray

from convert.adapter import Adapter, LoraChange
from convert.architectures import EMBEDDING, OUTPUT
from convert.base import Base
from convert.merge import FILE_TYPES
from convert.partial import whole_file
from convert.safetensors import Array
from convert.supported import require_supported
from score_local.errors import ModelError

MERGE = "Merge it instead: score-convert merge"
LORA_TYPES = (*FILE_TYPES, "q8_0")
Q8_BLOCK = 32  # weights: a row of Q8_0 holds whole blocks


def write_lora(base: Base, adapter: Adapter, target: Path, type: str = "f16", rank: int | None = None) -> float:
    """Writes `target`, an adapter for run time, its factors in `type` and of `rank` at most; an aLoRA's invocation
    tokens go with it. Returns the share of the changes' squared norm that is kept, 1 where no rank is cut.

    Raises ModelError: it asks for what is not supported, does not fit the base, holds what llama.cpp cannot add at run
    time, or `target` exists.
    """
    require_supported(base, adapter)
    placed = placed_changes(base, adapter)
    alpha, kept, whole = common_alpha(placed, rank), 0.0, 0.0
    with whole_file(target) as part:
        writer = GGUFWriter(str(part), base.architecture.name)
        try:
            _write_metadata(writer, base, adapter, alpha, type)
            for name, change in placed.items():
                nearest = cut(change, rank)
                kept, whole = kept + nearest.kept, whole + nearest.whole
                for suffix, factor in zip(("lora_a", "lora_b"), _factors(base, name, nearest, alpha), strict=True):
                    _require_usable(factor, f"{name}.{suffix}", adapter.path, type)
                    _add(writer, f"{name}.{suffix}", factor, type)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
    return kept / whole if whole else 1.0


def placed_changes(base: Base, adapter: Adapter) -> dict[str, LoraChange]:
    """The changes by llama.cpp's names. Raises ModelError naming the first that cannot be had at run time."""
    where = str(adapter.path)
    if adapter.dora:
        raise ModelError("DoRA rescales the merged weights, which llama.cpp cannot at run time", where, MERGE)
    unusable = [*adapter.replaced, *adapter.strange]
    if unusable:
        raise ModelError(f"it holds the whole tensor {unusable[0]}, which is no LoRA pair", where, MERGE)
    placed = {}
    for name, change in adapter.changes.items():
        ours = base.layout.gguf_name(name)
        if base.tied and ours in (EMBEDDING, OUTPUT):
            # llama.cpp would take the embedding's factors for the output's too, and abort.
            raise ModelError(f"it changes {name}, and in this base embedding and output are one", where, MERGE)
        if ours is None or ours not in base.tensors:
            what = f"it changes {name}, and the base has no such tensor"
            raise ModelError(what, where, "Was it trained on another base model?")
        if base.tensors[ours].shape != change.shape:
            what = f"its {name} is {change.shape}, that of the base {base.tensors[ours].shape}"
            raise ModelError(what, where, "Was it trained on another base model?")
        placed[ours] = change
    if not placed:
        raise ModelError("it holds no LoRA pair", where, "Is it the adapter that was trained?")
    return placed


def common_alpha(changes: Mapping[str, LoraChange], rank: int | None = None) -> float:
    """The alpha that gives most changes their scale, where none has a rank above `rank`."""
    alphas = (change.scale * min(change.rank, rank or change.rank) for change in changes.values())
    return Counter(alphas).most_common(1)[0][0]


class Nearest(NamedTuple):
    """The factors of a change, its rank cut or not; of its squared norm, what they keep and the whole."""

    change: LoraChange
    a: Array
    b: Array
    kept: float
    whole: float


def cut(change: LoraChange, rank: int | None) -> Nearest:
    """The change of rank `rank` at most that is nearest to `change`."""
    a, b = change.a.read(), change.b.read()
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return Nearest(change, a, b, 0.0, 0.0)  # and is refused
    if rank is None or rank >= change.rank:
        norm = float(change.scale**2 * ((a @ a.T) * (b.T @ b)).sum())
        return Nearest(change, a, b, norm, norm)
    (rows, upper), (columns, lower) = np.linalg.qr(b), np.linalg.qr(a.T)
    left, values, right = np.linalg.svd(upper @ lower.T)
    root, squares = np.sqrt(values[:rank]), (change.scale * values) ** 2
    a, b = (right[:rank] * root[:, None]) @ columns.T, rows @ (left[:, :rank] * root)
    return Nearest(change, a, b, float(squares[:rank].sum()), float(squares.sum()))


def _write_metadata(writer: GGUFWriter, base: Base, adapter: Adapter, alpha: float, type: str) -> None:
    writer.add_type("adapter")
    writer.add_name(adapter.name)
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, adapter.base or base.name)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0 if type == "q8_0" else FILE_TYPES[type].file)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    if adapter.invocation_tokens:
        key = "adapter.alora.invocation_tokens"
        writer.add_key_value(key, list(adapter.invocation_tokens), GGUFValueType.ARRAY, GGUFValueType.UINT32)


def _factors(base: Base, name: str, nearest: Nearest, alpha: float) -> tuple[Array, Array]:
    """A and B as llama.cpp wants them: A (rank, columns), B (rows, rank) in the order of the base's rows; of the
    embedding, which is looked up and not multiplied, A is (rows, rank) and B (columns, rank)."""
    change, a, b, *_ = nearest
    rest = change.scale * a.shape[0] / alpha
    if rest != 1.0:
        b = b * np.float32(rest)
    if change.embedding:
        return np.ascontiguousarray(a.T), b
    if name == EMBEDDING:
        raise ModelError("a LoRA pair of a matrix is given for the embedding", str(change.a.file), MERGE)
    order = change.order(base.layout, name)
    return a, b if order is None else b[order]


def _require_usable(factor: Array, name: str, folder: Path, type: str) -> None:
    largest = float(np.abs(factor).max())
    if not np.isfinite(largest):
        raise ModelError(f"{name} holds a value that is not finite", str(folder), "The training diverged")
    if type == "f16" and largest > np.finfo(np.float16).max:
        raise ModelError(f"{name} holds {largest:.0f}, more than float16 can", str(folder), "Convert to f32 instead")


def _add(writer: GGUFWriter, name: str, factor: Array, type: str) -> None:
    kind, data = _encoded(np.ascontiguousarray(factor), type)
    # The writer derives the shape of a type that numpy does not know from the bytes of a row.
    writer.add_tensor(name, data, raw_dtype=kind)


def _encoded(factor: Array, type: str) -> tuple[GGMLQuantizationType, NDArray[Any]]:
    if type == "q8_0" and factor.shape[-1] % Q8_BLOCK == 0:
        return GGMLQuantizationType.Q8_0, quantize(factor, GGMLQuantizationType.Q8_0)
    file_type = FILE_TYPES["f16" if type == "q8_0" else type]  # rows too short for a block
    data = file_type.encode(factor)
    return file_type.matrix, data.view(np.uint8) if data.dtype == np.uint16 else data
