"""float32 to float16, rounded to the nearest even.

numpy converts one value after the other (300 million a second); ggml, which llama.cpp brings along
has the processor do eight at once, and gives the same bits (a test compares). Half of a merge's time was spent here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import llama_cpp
import numpy as np
from numpy.typing import NDArray

Convert = Callable[[int, int, int], None]  # addresses of floats and halves, count


def to_float16(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """A contiguous array of the same shape; too large a value becomes infinite."""
    convert = _ggml_convert()
    if convert is None:
        return values.astype(np.float16)
    values = np.ascontiguousarray(values)
    halves = np.empty(values.shape, np.float16)
    convert(values.ctypes.data, halves.ctypes.data, values.size)
    return halves


@cache
def _ggml_convert() -> Convert | None:
    """ggml's function; None where this build of llama.cpp does not show it."""
    library = getattr(llama_cpp.llama_cpp, "_lib", None)
    found = getattr(library, "ggml_cpu_fp32_to_fp16", None)
    if found is None:
        return None
    found.argtypes, found.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64], None
    convert: Convert = found
    return convert
