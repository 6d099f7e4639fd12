"""What of ggml's C interface llama-cpp-python leaves out: the tensor that an evaluation callback is handed.

The layout is that of `struct ggml_tensor` in ggml.h as of llama-cpp-python 0.3.36; a test compares its size with the
library's.
"""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from llama_cpp import _ctypes_extensions, _ggml  # isort: skip

_library = _ctypes_extensions.load_shared_library("ggml-base", _ggml.libggml_base_path)
_library.ggml_op_name.argtypes = [ctypes.c_int]
_library.ggml_op_name.restype = ctypes.c_char_p
_library.ggml_nbytes.argtypes = [ctypes.c_void_p]
_library.ggml_nbytes.restype = ctypes.c_size_t
_library.ggml_backend_tensor_get.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
_library.ggml_backend_tensor_get.restype = None
_library.ggml_tensor_overhead.restype = ctypes.c_size_t

FLOAT32 = 0  # the number of the tensor type
OBJECT_BYTES = 32  # what ggml keeps beside each tensor


class Tensor(ctypes.Structure):
    """`ne` counts the elements of each dimension, the contiguous one first; `nb` is the step to the next, in bytes."""


Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(Tensor) * 10),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
    ("extra", ctypes.c_void_p),
    ("padding", ctypes.c_char * 8),
]


def tensor_bytes() -> int:
    """What the library takes for the size of `struct ggml_tensor`."""
    return int(_library.ggml_tensor_overhead()) - OBJECT_BYTES


def operation(tensor: Tensor) -> str:
    """ggml's name of the operation that computes it, such as MUL_MAT."""
    name: bytes = _library.ggml_op_name(tensor.op)
    return name.decode()


def read_float32(tensor: Tensor) -> NDArray[np.float32]:
    """A copy of a float32 tensor from whichever device holds it: shape (ne[3], ne[2], ne[1], ne[0])."""
    raw = np.empty(_library.ggml_nbytes(ctypes.byref(tensor)), dtype=np.uint8)
    _library.ggml_backend_tensor_get(ctypes.byref(tensor), raw.ctypes.data, 0, raw.nbytes)
    values: NDArray[np.float32] = np.ndarray(
        tensor.ne[::-1], dtype=np.float32, buffer=raw.data, strides=tensor.nb[::-1]
    )
    return values
