"""The formats of problem files: JSONL (OpenAI batch files too), JSON, CSV, TXT. From lines to records, and which it is.

A reader yields (line number, record or fault). It knows nothing of files, nor of what a record means.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple, Union

import msgspec

from score_local.errors import InputError
from score_local.problem import CHOICE_LETTERS
from score_local.problem_records import Record

HEADER_WANTED = "Name the columns in the first line: id,question,answer"
MAX_SIZE = 1 << 20  # bytes of a problem; a quarter of a million tokens fit into no small model's context
OBJECT_WANTED = "Write each problem as a JSON object on a line of its own"
CSV_NAMES = {name.lower(): name for name in ("id", "question", "answer", "answerKey", "choices", "kind")}


class Line(NamedTuple):
    """A line as text, with its length in bytes; where it is damaged, the text is what could be saved of it."""

    text: str
    size: int
    damage: InputError | None = None

    @property
    def fault(self) -> InputError | None:
        """Why the line is no problem. A list may be on a line that is longer than a problem can be."""
        return _too_long("line", self.size) or self.damage


# Line numbers count from 1. A fault is handed over, not raised: a generator that has raised cannot go on.
Numbered = Iterator[tuple[int, Union[Record, InputError]]]
Reader = Callable[[Sequence[Line]], Numbered]


def reader_of(path: str, lines: Sequence[Line]) -> Reader:
    """By the extension of `path`; where it says nothing (stdin), by the first line."""
    extension = PurePath(path).suffix.lower()
    if extension in READERS:
        return READERS[extension]
    first = next((line.text for line in lines if line.text.strip()), "")
    if first.lstrip().startswith(("{", "[")):
        return _json
    return _csv if "question" in _header(first)[1] else _txt


def _txt(lines: Sequence[Line]) -> Numbered:
    for number, line in enumerate(lines, 1):
        if line.text.strip():
            yield number, line.fault or {"question": line.text}


def _jsonl(lines: Sequence[Line]) -> Numbered:
    for number, line in enumerate(lines, 1):
        if line.text.strip():
            yield number, line.fault or _json_object(line.text)


def _json(lines: Sequence[Line]) -> Numbered:
    """One JSON value, an object or a list of them, which are counted instead of lines; otherwise JSONL."""
    damaged = any(line.damage for line in lines)
    records = None if damaged else _whole("\n".join(line.text for line in lines))
    if records is None:
        yield from _jsonl(lines)
        return
    for number, record in enumerate(records, 1):
        encoded = bytes(record)
        yield number, _too_long("problem", len(encoded)) or _json_object(encoded)


def _whole(text: str) -> list[msgspec.Raw] | None:
    """The values of a list, still encoded, or the one value; None where the text is not one JSON value."""
    try:
        if text.lstrip().startswith("["):
            return msgspec.json.decode(text, type=list[msgspec.Raw])
        return [msgspec.json.decode(text, type=msgspec.Raw)]
    except (msgspec.DecodeError, RecursionError):
        return None


def _too_long(what: str, size: int) -> InputError | None:
    if size <= MAX_SIZE:
        return None
    return InputError(f"the {what} is {size / 1e6:.1f} MB long", next=f"Shorten it: a {what} may have 1 MB")


def _json_object(text: str | bytes) -> Record | InputError:
    try:
        record = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return InputError(f"broken JSON: {str(error).removeprefix('JSON is malformed: ')}", next=OBJECT_WANTED)
    return record if isinstance(record, dict) else InputError("not a JSON object", next=OBJECT_WANTED)


def _csv(lines: Sequence[Line]) -> Numbered:
    """Raises InputError where the header names no question."""
    start = next((k for k, line in enumerate(lines) if line.text.strip()), None)
    if start is None:
        return
    if fault := lines[start].fault:
        raise InputError(f"the header cannot be read: {fault.what}", next=fault.next)
    delimiter, columns = _header(lines[start].text)
    if "question" not in columns:
        raise InputError(f"the header has no column question, but {', '.join(columns)[:80]}", next=HEADER_WANTED)
    for number, row in _rows(lines, start + 1, delimiter):
        if isinstance(row, InputError):
            yield number, row
        elif any(cell.strip() for cell in row):
            yield number, _csv_record(columns, row)


def _header(text: str) -> tuple[str, list[str]]:
    """(delimiter, column names): spreadsheets in many countries write semicolons."""
    split = {delimiter: [cell.strip().strip('"') for cell in text.split(delimiter)] for delimiter in ",;\t"}
    named = {delimiter: [CSV_NAMES.get(cell.lower(), cell) for cell in cells] for delimiter, cells in split.items()}
    return next((found for found in named.items() if "question" in found[1]), (",", named[","]))


def _rows(lines: Sequence[Line], start: int, delimiter: str) -> Iterator[tuple[int, list[str] | InputError]]:
    """Rows with the number of their first line. Of a broken row only that line is given up: a quote that is never
    closed would otherwise swallow the rest of the file."""
    while start < len(lines):
        rest = (lines[k].text + "\n" for k in range(start, len(lines)))
        reader = csv.reader(rest, delimiter=delimiter, skipinitialspace=True, strict=True)
        row: list[str] | InputError
        try:
            row, end = next(reader), start + reader.line_num
        except csv.Error as error:
            row, end = _broken_csv(error), start + 1
        damaged = next((k for k in range(start, end) if lines[k].fault), start)
        yield damaged + 1, lines[damaged].fault or row
        start = end


def _broken_csv(error: csv.Error) -> InputError:
    reason = str(error).partition(" - ")[0].replace("unexpected end of data", "a quote is opened and never closed")
    return InputError(f"broken CSV: {reason}", next='Put the cell into double quotes, and write a quote in it as ""')


def _csv_record(columns: Sequence[str], row: Sequence[str]) -> Record | InputError:
    if any(cell.strip() for cell in row[len(columns) :]):
        what = f"{len(row)} cells, but the header names {len(columns)} columns"
        return InputError(what, next="Put a cell that holds the delimiter into double quotes")
    record: dict[str, object] = dict(zip(columns, row, strict=False))
    letters = [str(record.get(letter, "")).strip() for letter in CHOICE_LETTERS]
    joined = str(record.get("choices", "")).strip()
    while letters and not letters[-1]:
        letters.pop()
    return {**record, "choices": joined.split("|") if joined else letters}


READERS: dict[str, Reader] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".txt": _txt,
}
