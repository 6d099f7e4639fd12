"""JSONL of rows of one type, by their ids; what a stage appends survives `kill -9` (`append_only`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from score_local.append_only import AppendOnly, whole_lines
from score_local.collect.records import Row
from score_local.errors import RunError
from score_local.runs import write_whole

T = TypeVar("T", bound=Row)


class LineFile(Generic[T]):
    """A file of rows of one type that this process continues. `rows`: by id, of several with one id the last."""

    def __init__(self, path: Path, type_: type[T]) -> None:
        self.rows = read_rows(path, type_)
        self._file = AppendOnly(path)

    def append(self, row: T) -> None:
        """Raises RunError; the file then still ends with a whole line."""
        self._file.append(msgspec.json.encode(row))
        self.rows[row.id] = row

    def __enter__(self) -> LineFile[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_rows(path: Path, type_: type[T]) -> dict[str, T]:
    """The rows of a file by id, in the order the ids first came; none where there is no file. Raises RunError, for
    damage with the line's number."""
    rows = (_decode(line, number, path, type_) for number, line in enumerate(whole_lines(path), 1))
    return {row.id: row for row in rows}


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes a file of rows whole or not at all. Raises RunError."""
    write_whole(path, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


def _decode(line: bytes, number: int, path: Path, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(line, type=type_)
    except msgspec.DecodeError as error:
        raise RunError(f"damaged line: {error}", f"{path}:{number}", "Delete that line and --resume") from error
