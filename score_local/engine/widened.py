"""The same weights in a type that llama.cpp multiplies faster: Q5_0 as Q8_0, in a file that lives in memory.

Both types are 32 integers and a scale, in Q5_0 of five bits, in Q8_0 of eight: each number fits, so nothing is rounded
(a test compares every weight). Unpacking five bits is what costs: 32 sequences of a 0.5B Q4_K_M, most of whose weights
are Q5_0, decode 14 to 16% faster so, on two cores; a few sequences gain nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from score_local.gguf_file import GGUFHeader, read_header
from score_local.gguf_types import Tensor
from score_local.gguf_writer import Planned, write_gguf

Q5_0, Q8_0 = 6, 8  # ggml's numbers
BLOCK = 32  # weights that share a scale
Q5_0_BYTES = 22  # a scale (float16), the fifth bits (32), the lower four of weight i and of weight i + 16 (16 bytes)
PIECE = Q5_0_BYTES << 16  # bytes converted at once
LOOKED_UP = "token_embd.weight"
OUTPUT = "output.weight"


def extra_bytes(header: GGUFHeader) -> int:
    """Bytes that a widened copy takes beyond the file's; 0 where nothing would be faster, this system has no files in
    memory, or a type is newer than gguf_types, so that the tensors' sizes are not known."""
    if not hasattr(os, "memfd_create") or not all(tensor.bytes for tensor in header.tensors.values()):
        return 0
    return sum(
        t.weights // BLOCK * (BLOCK + 2 - Q5_0_BYTES) for name, t in header.tensors.items() if _slow(name, header)
    )


@contextmanager
def widened(path: Path) -> Iterator[Path]:
    """A file with the weights of the GGUF at `path`, Q5_0 as Q8_0, for as long as this lasts; who has mapped it may
    keep the mapping. Raises OSError where memory is short."""
    header = read_header(path)
    descriptor = os.memfd_create("score-local-widened")
    try:
        target = Path(f"/proc/self/fd/{descriptor}")
        write_gguf(target, header, {}, [_planned(name, header) for name in header.tensors])
        yield target
    finally:
        os.close(descriptor)


def q8_0_of(blocks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blocks of Q5_0, shape (n, 22), as blocks of Q8_0, shape (n, 34), of exactly the same values."""
    scale, high, low = blocks[:, :2], blocks[:, 2:6], blocks[:, 6:]
    fifth = np.unpackbits(high, axis=1, bitorder="little") << 4
    numbers = np.concatenate([low & 15, low >> 4], axis=1) | fifth
    return np.concatenate([scale, numbers - np.uint8(16)], axis=1)  # wraps: the bytes of a signed number


def _slow(name: str, header: GGUFHeader) -> bool:
    """Whether a tensor is Q5_0 and multiplied with. Rows of the embedding are only looked up, unless it is the output
    too."""
    return header.tensors[name].type == Q5_0 and (name != LOOKED_UP or OUTPUT not in header.tensors)


def _planned(name: str, header: GGUFHeader) -> Planned:
    tensor, slow = header.tensors[name], _slow(name, header)
    pieces = partial(_widened_pieces if slow else _pieces, header, tensor)
    return Planned(name, tuple(reversed(tensor.shape)), Q8_0 if slow else tensor.type, pieces)


def _widened_pieces(header: GGUFHeader, tensor: Tensor) -> Iterator[NDArray[np.uint8]]:
    return (q8_0_of(piece.reshape(-1, Q5_0_BYTES)) for piece in _pieces(header, tensor))


def _pieces(header: GGUFHeader, tensor: Tensor) -> Iterator[NDArray[np.uint8]]:
    """A tensor's bytes; read, not mapped: pages of a mapping would count as this process's memory."""
    with header.path.open("rb") as file:
        file.seek(header.data_offset + tensor.offset)
        for start in range(0, tensor.bytes, PIECE):
            yield np.frombuffer(file.read(min(PIECE, tensor.bytes - start)), dtype=np.uint8)
