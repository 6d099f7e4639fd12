"""Checks a GGUF file against what its header and the catalogue say of it, without loading it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from score_local.catalog_entries import Entry
from score_local.errors import ModelError
from score_local.gguf_file import NEXT, read_header

Progress = Callable[[int, int], None]
"""Is told (bytes done, bytes in all)."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A file that passed. `sha256` is None where the file was not read through."""

    path: Path
    kind: str
    version: int
    architecture: str
    quantisation: str
    parameters: int
    context_length: int | None
    chat_template: bool
    tensors: int
    bytes: int
    sha256: str | None = None


def check_file(path: Path, entry: Entry | None = None, *, full: bool = False) -> Report:
    """Reads the header; with `full` the whole file (about half a second a gigabyte).

    Raises ModelError where it is no whole GGUF, or differs in size or SHA-256 from its catalogue `entry`.
    """
    header = read_header(path)
    if entry:
        check_size(path, entry)
    digest = file_sha256(path) if full else None
    if digest and entry and entry.sha256 and digest != entry.sha256:
        raise ModelError(f"its SHA-256 is {digest}, not {entry.sha256}", str(path), NEXT)
    return Report(
        path=path,
        kind=str(header.metadata.get("general.type", "model")),
        version=header.version,
        architecture=header.architecture or "unknown",
        quantisation=header.quantisation,
        parameters=header.parameters,
        context_length=header.context_length,
        chat_template=bool(header.chat_template),
        tensors=len(header.tensors),
        bytes=header.bytes,
        sha256=digest,
    )


def check_size(path: Path, entry: Entry) -> None:
    """Raises ModelError where the file is longer or shorter than the catalogue says."""
    size = path.stat().st_size
    if entry.bytes and size != entry.bytes:
        again = f"score-local models pull {entry.name}"
        raise ModelError(
            f"has {size:,} bytes, and {entry.name} has {entry.bytes:,}", str(path), f"Fetch it again: {again}"
        )


def file_sha256(path: Path) -> str:
    """The file's SHA-256, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def weights_sha256(base: Path) -> str:
    """Of a file; of a folder, over the names and hashes of its weights."""
    if base.is_file():
        return file_sha256(base)
    weights = sorted(base.glob("*.safetensors"))
    return hashlib.sha256("".join(f"{path.name} {file_sha256(path)}\n" for path in weights).encode()).hexdigest()
