"""An adapter's change, row by row, in float32: what a merge adds to a range of a weight's rows.

W + scale * B @ A; with DoRA (arXiv 2402.09353) each row is then rescaled to its trained magnitude. Rows may come in
another order than the checkpoint's: everything here is by row, so an order is an index.
"""

from __future__ import annotations

from typing import Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from convert.peft_adapter import LoraChange
from convert.safetensors import Array

Rows = Union[slice, NDArray[np.intp]]


class RowChange(msgspec.Struct, frozen=True):
    """The change of one weight. `left` (rows, rank) and `right` (rank, columns) multiply to it, scale included;
    `magnitude` is (rows,) or None."""

    left: Array
    right: Array
    magnitude: Array | None

    def apply(self, weights: Array, rows: Rows) -> Array:
        """`weights` (n, columns), which are the checkpoint's `rows`, merged."""
        merged = weights + self.left[rows] @ self.right
        if self.magnitude is not None:
            merged *= (self.magnitude[rows] / np.linalg.norm(merged, axis=1))[:, None]
        return merged


def load_change(change: LoraChange) -> RowChange:
    """Reads both factors (some MB) into memory."""
    a, b = change.a.read(), change.b.read()
    left, right = (a.T, b.T) if change.embedding else (b, a)
    magnitude = change.magnitude.read().reshape(-1) if change.magnitude else None
    return RowChange(np.float32(change.scale) * left, right, magnitude)
