"""Merges an adapter into its base, in float32, from the base's files straight into a GGUF.

Tensor by tensor and piece by piece: neither a model nor a whole tensor is ever in memory. Rounding happens once, when a
piece is written: an adapter's change is small against its weights, and bfloat16 sums would lose a part of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from gguf import GGMLQuantizationType, LlamaFileType
from numpy.typing import NDArray

from convert.adapter import Adapter
from convert.architectures import EMBEDDING, OUTPUT
from convert.base import Base, stored
from convert.float16 import to_float16
from convert.merged_rows import load_change
from convert.partial import require_room, whole_file
from convert.safetensors import Array
from convert.sources import Merged, Source
from convert.supported import require_supported
from score_local.errors import ModelError
from score_local.gguf_writer import Planned, Value, size_of, write_gguf

PIECE = 1 << 17  # values: half a megabyte of float32 stays in the cache, and malloc keeps it for the next piece
AHEAD = 4  # pieces that are read and merged while one is written
WORKERS = 2
F16_MAX = 65504.0


class FileType(msgspec.Struct, frozen=True):
    """A type without loss worth the name, into which a merge is written before it is quantised."""

    file: LlamaFileType
    matrix: GGMLQuantizationType
    encode: Callable[[Array], NDArray[Any]]


def to_bfloat16(values: Array) -> NDArray[np.uint16]:
    """Finite float32 rounded to the nearest bfloat16, ties to even."""
    bits = values.view(np.uint32)
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded >>= 16
    return rounded.astype(np.uint16)


FILE_TYPES: Mapping[str, FileType] = {
    "f32": FileType(LlamaFileType.ALL_F32, GGMLQuantizationType.F32, lambda values: values),
    "f16": FileType(LlamaFileType.MOSTLY_F16, GGMLQuantizationType.F16, to_float16),
    "bf16": FileType(LlamaFileType.MOSTLY_BF16, GGMLQuantizationType.BF16, to_bfloat16),
}


def merge(
    base: Base,
    adapter: Adapter | None,
    target: Path,
    type: str = "f16",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes `target`: the base with the adapter in it (None: the base alone), matrices in `type`, vectors in float32.

    `progress` hears (bytes written, bytes in all). Raises ModelError: what `require_supported` and `merged_sources`
    raise, `target` exists, too little room, a weight that is not finite or too large for float16.
    """
    if adapter:
        require_supported(base, adapter)
    file_type = FILE_TYPES[type]
    sources = merged_sources(base, adapter)
    with whole_file(target) as part, ThreadPoolExecutor(WORKERS) as pool:
        tensors = [planned(name, source, file_type, base.path, pool) for name, source in sources.items()]
        require_room(target, size_of(tensors))
        scratch = part.with_name(part.name + ".metadata")
        try:
            write_gguf(part, base.with_metadata(scratch), _overrides(file_type, adapter), tensors, progress)
        finally:
            scratch.unlink(missing_ok=True)


def merged_sources(base: Base, adapter: Adapter | None) -> dict[str, Source]:
    """The tensors of the merged model by llama.cpp's names, in the base's order.

    Raises ModelError where the adapter does not fit, or holds what cannot be merged.
    """
    if adapter is None:
        return dict(base.tensors)
    if adapter.invocation_tokens:
        what = "an aLoRA changes only what follows its invocation, so it cannot be merged"
        raise ModelError(what, str(adapter.path), "Convert it for run time: score-convert lora")
    if adapter.strange:
        what = f"tensor {adapter.strange[0]} has no known meaning"
        raise ModelError(what, str(adapter.path), "See: score-convert check")
    sources, adapter = dict(base.tensors), _tied_once(base, adapter)
    if base.tied and ends_touched(base, adapter) and not adapter.tied:
        if base.architecture.always_tied:
            what = "it changes the embedding or the output alone, and they are one tensor in this architecture"
            raise ModelError(what, str(adapter.path), "Train it without them")
        sources[OUTPUT] = sources[EMBEDDING]
    for name, tensor in adapter.replaced.items():
        ours = _place(name, tensor.shape, base, sources, adapter)
        sources[ours] = stored(ours, tensor, base.layout)
    for name, change in adapter.changes.items():
        ours = _place(name, change.shape, base, sources, adapter)
        sources[ours] = Merged(sources[ours], load_change(change), change.order(base.layout, ours))
    return sources


def _tied_once(base: Base, adapter: Adapter) -> Adapter:
    """Where embedding and output stay one (`ensure_weight_tying`), PEFT saves the change of both, the same twice."""
    if not (base.tied and adapter.tied):
        return adapter
    ends = {base.layout.gguf_name(name): name for name in (*adapter.changes, *adapter.replaced)}
    twice = ends.get(OUTPUT) if EMBEDDING in ends else None
    changes = {name: change for name, change in adapter.changes.items() if name != twice}
    replaced = {name: tensor for name, tensor in adapter.replaced.items() if name != twice}
    return msgspec.structs.replace(adapter, changes=changes, replaced=replaced)


def ends_touched(base: Base, adapter: Adapter) -> list[str]:
    """What the adapter changes of embedding and output, by its own names. Where the base has one tensor for both, they
    are trained apart (peft: unless `ensure_weight_tying`)."""
    names = (*adapter.changes, *adapter.replaced)
    return [name for name in names if base.layout.gguf_name(name) in (EMBEDDING, OUTPUT)]


def _place(name: str, shape: tuple[int, ...], base: Base, sources: Mapping[str, Source], adapter: Adapter) -> str:
    ours = base.layout.gguf_name(name)
    if ours is None or ours not in sources:
        what = f"it changes {name}, and the base has no such tensor"
        raise ModelError(what, str(adapter.path), "Was it trained on another base model?")
    if sources[ours].shape != shape:
        what = f"its {name} is {shape}, that of the base {sources[ours].shape}"
        raise ModelError(what, str(adapter.path), "Was it trained on another base model, or with added tokens?")
    return ours


def planned(name: str, source: Source, file_type: FileType, where: Path, pool: ThreadPoolExecutor) -> Planned:
    """A tensor to write: a matrix in the file's type, a vector in float32. Pieces are made ahead in `pool`."""
    matrix = len(source.shape) > 1
    encode = file_type.encode if matrix else FILE_TYPES["f32"].encode
    half = matrix and file_type.matrix == GGMLQuantizationType.F16

    def piece(start: int, stop: int) -> NDArray[Any]:
        values = source.read(start, stop)
        _require_finite(values, F16_MAX if half else None, name, where)
        return np.ascontiguousarray(encode(values))

    def pieces() -> Iterator[NDArray[Any]]:
        step = max(1, PIECE // (source.shape[1] if matrix else 1))
        ranges = ((start, min(start + step, source.shape[0])) for start in range(0, source.shape[0], step))
        return _ahead(pool, (partial(piece, start, stop) for start, stop in ranges))

    type_ = file_type.matrix if matrix else GGMLQuantizationType.F32
    return Planned(name, source.shape, int(type_), pieces)


def _ahead(pool: ThreadPoolExecutor, tasks: Iterator[Callable[[], NDArray[Any]]]) -> Iterator[NDArray[Any]]:
    """The results in order, AHEAD of them in the making."""
    running = deque[Future[NDArray[Any]]]()
    try:
        for task in tasks:
            running.append(pool.submit(task))
            if len(running) > AHEAD:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


def _require_finite(values: Array, limit: float | None, name: str, where: Path) -> None:
    """Raises ModelError. The largest magnitude is NaN or infinite if any value is."""
    largest = max(float(values.max()), -float(values.min())) if values.size else 0.0
    if not np.isfinite(largest):
        raise ModelError(f"{name} holds a value that is not finite", str(where), "The weights are damaged: fetch again")
    if limit and largest > limit:
        what = f"{name} holds {largest:.0f}, more than float16 can"
        raise ModelError(what, str(where), "Convert to bf16 or f32 instead")


def _overrides(file_type: FileType, adapter: Adapter | None) -> dict[str, Value]:
    overrides: dict[str, Value] = {"general.file_type": int(file_type.file), "general.quantization_version": 2}
    return overrides | ({"general.finetune": adapter.name} if adapter else {})
