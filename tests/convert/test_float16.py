"""Halves are those of numpy, whoever makes them."""

from __future__ import annotations

import numpy as np
import pytest

from convert import float16
from convert.float16 import to_float16


def every_kind() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """All halves, what lies just beside and midway between them, and random bits."""
    halves = np.arange(0x10000, dtype=np.uint16).view(np.float16).astype(np.float32)
    halves = halves[np.isfinite(halves)]
    bits = halves.view(np.uint32)
    beside = np.concatenate([bits + step for step in (1, 0xFFF, 0x1000, 0x1001, 0x1FFF)]).view(np.float32)
    random = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([halves, beside, random, np.float32([np.inf, -np.inf, 65519.9, 65520.0, 1e-8])])
    return values[~np.isnan(values)]


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_the_bits_are_numpys() -> None:
    values = every_kind()
    assert np.array_equal(to_float16(values).view(np.uint16), values.astype(np.float16).view(np.uint16))


def test_shapes_and_strides() -> None:
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert to_float16(values[:, ::2]).tolist() == values[:, ::2].tolist()


def test_without_ggml_numpy_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float16, "_ggml_convert", lambda: None)
    assert to_float16(np.array([1.0, -2.5], np.float32)).tolist() == [1.0, -2.5]
