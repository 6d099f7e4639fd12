"""Tensors of a Hugging Face folder, read a range of rows at a time.

What is read is read with plain file reads, not mapped: a mapped page counts as this process's memory, and a 7B merge
has to stay within 1.5 GB.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from gguf.utility import SafetensorsLocal
from numpy.typing import NDArray

from score_local.errors import ModelError

Array = NDArray[np.float32]
AGAIN = "Copy or download it again"
DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(code) for name, code in {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}.items()
}


class StoredTensor(msgspec.Struct, frozen=True):
    """Where a tensor lies: `shape` is (rows, columns) or (n,), `begin` a byte offset in `file`."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int

    @property
    def rows(self) -> int:
        return self.shape[0] if self.shape else 1

    @property
    def columns(self) -> int:
        return self.shape[1] if len(self.shape) > 1 else 1

    def read_raw(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows [start, stop) as they are stored, bfloat16 as uint16, shape (rows, columns) or (rows,)."""
        stop = self.rows if stop is None else stop
        dtype = DTYPES[self.dtype]
        offset = self.begin + start * self.columns * dtype.itemsize
        try:
            values = np.fromfile(self.file, dtype, (stop - start) * self.columns, offset=offset)
        except OSError as error:
            raise ModelError(f"cannot be read: {error.strerror or error}", str(self.file), AGAIN) from error
        return values.reshape(stop - start, *self.shape[1:])

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Rows [start, stop) in float32."""
        return to_float32(self.read_raw(start, stop))


def to_float32(raw: NDArray[Any]) -> Array:
    """Stored values in float32; uint16 are the upper halves of float32, that is bfloat16."""
    if raw.dtype == np.uint16:
        bits = raw.astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32)
    return raw.astype(np.float32, copy=False)


def open_folder(folder: Path, stem: str = "model") -> dict[str, StoredTensor]:
    """The tensors of `<stem>.safetensors`, or of the shards that its index names.

    Raises ModelError: no such file, a shard that is missing, a file that is cut short, values that are no floats.
    """
    return {tensor.name: tensor for file in _files(folder, stem) for tensor in _open(file)}


def _files(folder: Path, stem: str) -> list[Path]:
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        pickled = any((folder / f"{name}.bin").is_file() for name in (stem, "pytorch_model"))
        remedy = "Save it with safe_serialization=True" if pickled else "Give a folder with safetensors files"
        raise ModelError(f"has no {single.name}", str(folder), remedy)
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"not an index of shards: {error}", str(index), AGAIN) from error
    missing = [shard for shard in shards if not (folder / shard).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(f"{index.name} names {missing[0]}{more}, which is not there", str(folder), AGAIN)
    return [folder / shard for shard in shards]


def _open(file: Path) -> Iterator[StoredTensor]:
    size = file.stat().st_size
    try:
        tensors = SafetensorsLocal(file).tensors
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise ModelError(f"not a safetensors file, or cut short: {error}", str(file), AGAIN) from error
    for name, tensor in tensors.items():
        begin, length = tensor.data_range.offset, tensor.data_range.size
        if begin + length > size:
            raise ModelError(f"cut short: {size:,} bytes of {begin + length:,} are here ({name})", str(file), AGAIN)
        stored = StoredTensor(name, file, tensor.dtype, tuple(tensor.shape), begin)
        if tensor.dtype in DTYPES and DTYPES[tensor.dtype].itemsize * int(np.prod(tensor.shape)) != length:
            raise ModelError(f"damaged: {name} does not have the size that its shape says", str(file), AGAIN)
        yield stored
