"""An adapter's change, row by row, in float32: what a merge adds to a range of a weight's rows.

W + scale * B @ A; with DoRA (arXiv 2402.09353) each row is then rescaled to its trained magnitude. Rows may come in
another order than the checkpoint's: everything here is by row, so an order is an index.
"""

from __future__ import annotations

from typing import Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from convert.adapter import LoraChange
from convert.safetensors import Array

Rows = Union[slice, NDArray[np.intp]]
TILE_ROWS, TILE = 4, 1 << 18  # TILE counts multiplications: OpenBLAS shares out what takes more


class RowChange(msgspec.Struct, frozen=True):
    """The change of one weight. `left` (rows, rank) and `right` (rank, columns) multiply to it, scale included;
    `magnitude` is (rows,) or None."""

    left: Array
    right: Array
    magnitude: Array | None

    def apply(self, weights: Array, rows: Rows) -> Array:
        """`weights` (n, columns), which are the checkpoint's `rows`, merged."""
        merged = product(self.left[rows], self.right)
        merged += weights
        if self.magnitude is not None:
            merged *= (self.magnitude[rows] / np.linalg.norm(merged, axis=1))[:, None]
        return merged


def product(left: Array, right: Array) -> Array:
    """`left` (n, rank) @ `right` (rank, columns) in tiles, which stay in the cache and with the thread that calls.

    Of whole pieces, whose factors are so thin, OpenBLAS's threads mostly waited for each other: three quarters of the
    processor time of a merge. Columns in steps of 64 give the very bits of the whole product.
    """
    (n, rank), columns = left.shape, right.shape[1]
    made = np.empty((n, columns), np.float32)
    height, width = n // TILE_ROWS, 64 * max(1, TILE // (64 * TILE_ROWS * rank))
    whole = height * TILE_ROWS
    stack = left[:whole].reshape(height, TILE_ROWS, rank)
    for start in range(0, columns, width):
        below, into = right[:, start : start + width], made[:, start : start + width]
        np.matmul(stack, below, out=into[:whole].reshape(height, TILE_ROWS, below.shape[1]))
        if whole < n:  # the last rows, some of them again
            np.matmul(left[-TILE_ROWS:], below, out=into[-TILE_ROWS:])
    return made


def load_change(change: LoraChange) -> RowChange:
    """Reads both factors (some MB) into memory."""
    a, b = change.a.read(), change.b.read()
    left, right = (a.T, b.T) if change.embedding else (b, a)
    magnitude = change.magnitude.read().reshape(-1) if change.magnitude else None
    return RowChange(np.float32(change.scale) * left, right, magnitude)
