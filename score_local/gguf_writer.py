"""Writes a GGUF whose metadata comes byte for byte from a donor, and whose tensors come a piece at a time.

The `gguf` package's writer takes whole tensors and has to parse and pack the donor's vocabulary (12 s for 151,936
tokens); here the pairs are copied as they stand, and one piece of one tensor is all that is held. Format: the GGUF
specification of ggml (docs/gguf.md), version 3, little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Union

import msgspec
from numpy.typing import NDArray

from score_local.gguf_file import MAGIC, GGUFHeader
from score_local.gguf_types import TEXT, U32, U64, Tensor

VERSION = 3
UINT32 = 4  # the number of the metadata type
OF_THE_FILE = ("quantize.", "split.")  # what a donor says of its own weights, not of the model
Value = Union[int, str]  # what an override may be: uint32, or text


class Planned(msgspec.Struct, frozen=True):
    """A tensor to write. `shape` is numpy's, `type` ggml's number; `pieces` yields its bytes, in order."""

    name: str
    shape: tuple[int, ...]
    type: int
    pieces: Callable[[], Iterator[NDArray[Any]]]

    def stored(self, offset: int) -> Tensor:
        return Tensor(tuple(reversed(self.shape)), self.type, offset)


def write_gguf(
    target: Path,
    donor: GGUFHeader,
    overrides: Mapping[str, Value],
    tensors: Iterable[Planned],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes `target`: the donor's pairs with `overrides` in their place (or after them), then the tensors.

    `progress` hears (bytes written, bytes in all) of the tensors. Raises ValueError where a tensor's pieces do not
    make the bytes of its shape and type.
    """
    planned, alignment = list(tensors), donor.metadata.get("general.alignment", 32)
    places, total = _place(planned, alignment)
    with target.open("wb") as file:
        pairs = list(_pairs(donor, overrides))
        file.write(MAGIC + U32.pack(VERSION) + U64.pack(len(planned)) + U64.pack(len(pairs)))
        file.writelines(pairs)
        file.writelines(_info(tensor.name, place) for tensor, place in zip(planned, places, strict=True))
        _pad(file, alignment)
        begin = file.tell()
        for tensor, place in zip(planned, places, strict=True):
            file.write(bytes(begin + place.offset - file.tell()))
            for piece in tensor.pieces():
                file.write(piece.data)
                progress(file.tell() - begin, total)
            if file.tell() != begin + place.offset + place.bytes:
                raise ValueError(f"{tensor.name}: {file.tell() - begin - place.offset} bytes of {place.bytes}")
        _pad(file, alignment)


def size_of(tensors: Iterable[Planned]) -> int:
    """Bytes that the tensors will take."""
    return _place(list(tensors), 32)[1]


def _place(tensors: list[Planned], alignment: int) -> tuple[list[Tensor], int]:
    places, offset = list[Tensor](), 0
    for tensor in tensors:
        places.append(tensor.stored(offset))
        offset += -(-places[-1].bytes // alignment) * alignment
    return places, offset


def _pairs(donor: GGUFHeader, overrides: Mapping[str, Value]) -> Iterator[bytes]:
    with donor.path.open("rb") as file:
        for key, (start, stop) in donor.spans.items():
            if key in overrides:
                yield _pair(key, overrides[key])
            elif not key.startswith(OF_THE_FILE):
                file.seek(start)
                yield file.read(stop - start)
    for key, value in overrides.items():
        if key not in donor.spans:
            yield _pair(key, value)


def _pair(key: str, value: Value) -> bytes:
    if isinstance(value, str):
        return _text(key) + U32.pack(TEXT) + _text(value)
    return _text(key) + U32.pack(UINT32) + U32.pack(value)


def _text(text: str) -> bytes:
    raw = text.encode()
    return U64.pack(len(raw)) + raw


def _info(name: str, place: Tensor) -> bytes:
    dimensions = struct.pack(f"<{len(place.shape)}Q", *place.shape)
    return _text(name) + U32.pack(len(place.shape)) + dimensions + U32.pack(place.type) + U64.pack(place.offset)


def _pad(file: IO[bytes], alignment: int) -> None:
    file.write(bytes(-file.tell() % alignment))
