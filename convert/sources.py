"""Where the weights of a merge come from: each tensor under llama.cpp's name, in llama.cpp's order, read as float32."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from numpy.typing import NDArray

from convert.merged_rows import RowChange, Rows
from convert.safetensors import Array, StoredTensor
from score_local.errors import ModelError
from score_local.gguf_file import GGUFHeader
from score_local.gguf_types import BLOCKS, Tensor


class Source(Protocol):
    """A tensor that can be read a range of rows at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns), or (n,)."""

    def read(self, start: int, stop: int) -> Array:
        """Rows [start, stop) in float32, shape (stop - start, columns) or (stop - start,). Raises ModelError."""


class Stored(msgspec.Struct, frozen=True):
    """A tensor of a checkpoint. `order` holds its row for each row that is read; `offset` is added to its values."""

    tensor: StoredTensor
    order: NDArray[np.intp] | None = None
    offset: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape

    def read(self, start: int, stop: int) -> Array:
        if self.order is None:
            values = self.tensor.read(start, stop)
        else:
            rows = self.order[start:stop]
            first = int(rows.min())
            values = self.tensor.read(first, int(rows.max()) + 1)[rows - first]
        if self.offset:
            values = values + np.float32(self.offset)
        return values


class InGGUF(msgspec.Struct, frozen=True):
    """A tensor of a GGUF, dequantised as it is read."""

    header: GGUFHeader
    name: str
    tensor: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(reversed(self.tensor.shape))

    def read(self, start: int, stop: int) -> Array:
        per_block, block_bytes = BLOCKS.get(self.tensor.type, (0, 0))
        if not per_block:
            raise self._unknown_type()
        if len(self.shape) == 1:  # one row of values, of which a range is wanted
            values: Array = self._dequantised(0, self.shape[0] // per_block * block_bytes, 1)[0]
            return values[start:stop]
        row = self.shape[-1] // per_block * block_bytes
        return self._dequantised(start * row, row, stop - start)

    def _dequantised(self, begin: int, row: int, rows: int) -> Array:
        offset = self.header.data_offset + self.tensor.offset + begin
        raw = np.fromfile(self.header.path, np.uint8, rows * row, offset=offset).reshape(rows, row)
        try:
            values: NDArray[Any] = dequantize(raw, GGMLQuantizationType(self.tensor.type))
        except (NotImplementedError, ValueError) as error:
            raise self._unknown_type() from error
        return values.astype(np.float32, copy=False)

    def _unknown_type(self) -> ModelError:
        what = f"tensor {self.name} has type {self.tensor.type}, which cannot be dequantised"
        return ModelError(what, str(self.header.path), "Give a base in a usual type, best F16")


class Given(msgspec.Struct, frozen=True):
    """A tensor that was computed, such as the factors of a stretched rotary embedding."""

    values: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def read(self, start: int, stop: int) -> Array:
        return self.values[start:stop]


class Merged(msgspec.Struct, frozen=True):
    """A source with an adapter's change in it; `order` is the source's."""

    source: Source
    change: RowChange
    order: NDArray[np.intp] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    def read(self, start: int, stop: int) -> Array:
        rows: Rows = slice(start, stop) if self.order is None else self.order[start:stop]
        return self.change.apply(self.source.read(start, stop), rows)
