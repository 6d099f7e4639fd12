"""Append-only JSONL that survives `kill -9`: every row is handed to the operating system whole, as it ends.

A last line without its line break is what a killed process left: it is passed over when read, cut off when continued.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from score_local.collect.records import Row
from score_local.errors import RunError
from score_local.runs import write_whole

T = TypeVar("T", bound=Row)


class LineFile(Generic[T]):
    """A file of rows of one type that this process continues. `rows`: by id, of several with one id the last."""

    def __init__(self, path: Path, type_: type[T]) -> None:
        self.path = path
        self.rows = read_rows(path, type_) if path.exists() else {}
        self._file = _open_for_appending(path)

    def append(self, row: T) -> None:
        """Raises RunError; the file then still ends with a whole line."""
        start = self._file.tell()
        try:
            _write_all(self._file, msgspec.json.encode(row) + b"\n")
        except OSError as error:
            with suppress(OSError):  # what cannot be taken back now is when the file is continued
                os.ftruncate(self._file.fileno(), start)
            raise write_error(self.path, error) from error
        self.rows[row.id] = row

    def __enter__(self) -> LineFile[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_rows(path: Path, type_: type[T]) -> dict[str, T]:
    """The rows of a file by id, in the order the ids first came. Raises RunError, for damage with the line's number."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise RunError(error.strerror or str(error), str(path)) from error
    rows = (_decode(line, number, path, type_) for number, line in enumerate(lines, 1))
    return {row.id: row for row in rows}


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes a file of rows whole or not at all. Raises RunError."""
    write_whole(path, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def write_error(path: Path, error: OSError) -> RunError:
    what = f"cannot be written: {error.strerror or error}"
    return RunError(what, str(path), "Make room or choose another place, then go on with --resume")


def _decode(line: bytes, number: int, path: Path, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(line, type=type_)
    except msgspec.DecodeError as error:
        raise RunError(f"damaged line: {error}", f"{path}:{number}", "Delete that line and --resume") from error


def _open_for_appending(path: Path) -> FileIO:
    """Unbuffered: a full disk must be told at the row it hit."""
    try:
        file = path.open("ab+", buffering=0)
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.seek(whole)
        return file
    except OSError as error:
        raise write_error(path, error) from error


def _write_all(file: FileIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
