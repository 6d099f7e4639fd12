"""A product in tiles is the product, wherever the tiles' edges fall."""

from __future__ import annotations

import numpy as np
import pytest

from convert.merged_rows import TILE, TILE_ROWS, product


@pytest.mark.parametrize("rows", [1, TILE_ROWS - 1, TILE_ROWS, TILE_ROWS + 1, 3 * TILE_ROWS + 2])
@pytest.mark.parametrize(
    ("rank", "columns"),
    [
        (1, 1),
        (16, 896),
        (16, TILE // (16 * TILE_ROWS) + 64),  # a second tile beside the first
        (48, 3584),  # three tiles, the last one narrower
        (TILE // 64, 128),  # of so high a rank a tile is as narrow as it gets
    ],
)
def test_product(rows: int, rank: int, columns: int) -> None:
    random = np.random.default_rng(rows)
    left, right = (random.normal(size=size).astype(np.float32) for size in ((rows, rank), (rank, columns)))
    exact, bound = left.astype(float) @ right, 1e-6 * (np.abs(left) @ np.abs(right))
    for left_, right_ in ((left, right), (np.asfortranarray(left), np.asfortranarray(right))):
        made = product(left_, right_)
        assert made.dtype == np.float32 and made.flags.c_contiguous
        assert np.all(np.abs(made - exact) <= bound)
