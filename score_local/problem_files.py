"""Reads problem files: JSONL, JSON, CSV, TXT and OpenAI batch JSONL, from disk or from stdin.

A bad line is a fault that names its number, and the other lines are read; only a file of which nothing can be used is
an error. How lines make records is known to `problem_formats`, what a record means to `problem_records`.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from score_local.errors import InputError
from score_local.problem import Problem
from score_local.problem_formats import Line, Numbered, reader_of
from score_local.problem_records import Record, problem_from

Translate = Callable[[Record], Record]
HEAD = 8192
FORMATS_WANTED = "Name a .jsonl, .csv or .txt file of problems, or - for stdin"
MAGIC = {
    b"GGUF": "a GGUF model",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\x1f\x8b": "compressed with gzip",
    b"PAR1": "a Parquet table",
    b"%PDF": "a PDF document",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


@dataclass(frozen=True, slots=True)
class ProblemFile:
    """What a file holds: its problems in their order, and one error for each line that is none."""

    problems: tuple[Problem, ...]
    faults: tuple[InputError, ...] = ()


def read_problems(path: str, stdin: BinaryIO | None = None, translate: Translate | None = None) -> ProblemFile:
    """Reads `path`, or `stdin` (the process's own) for "-". The extension tells the format, else the content does.

    `translate` gives records of another shape the names that are known here. Raises InputError where the file cannot be
    read, is empty or binary, or holds no problem at all.
    """
    name = "stdin" if path == "-" else path
    lines = [_line(raw) for raw in _read(path, name, stdin).split(b"\n")]
    try:
        found = _collect(name, reader_of(path, lines)(lines), translate)
    except InputError as error:
        raise InputError(error.what, name, error.next) from error
    if not found.problems:
        raise _nothing_in(name, found.faults)
    return found


def _collect(name: str, records: Numbered, translate: Translate | None) -> ProblemFile:
    problems: list[Problem] = []
    faults: list[InputError] = []
    first_lines: dict[str, int] = {}
    for number, record in records:
        try:
            problem = _problem(record, number, translate)
            if first_lines.setdefault(problem.id, number) != number:
                what = f"the id {problem.id!r} is that of line {first_lines[problem.id]}"
                raise InputError(what, next="Give each problem an id of its own")
            problems.append(problem)
        except InputError as fault:
            faults.append(InputError(fault.what, f"{name}:{number}", fault.next))
    return ProblemFile(tuple(problems), tuple(faults))


def _problem(record: Record | InputError, number: int, translate: Translate | None) -> Problem:
    if isinstance(record, InputError):
        raise record
    return problem_from(translate(record) if translate else record, f"line-{number}")


def _nothing_in(name: str, faults: Sequence[InputError]) -> InputError:
    if not faults:
        return InputError("there is no problem in it", name, FORMATS_WANTED)
    first = faults[0]
    if len(faults) == 1:
        return first
    return InputError(f"none of {len(faults)} lines is a problem; the first: {first.what}", first.where, first.next)


def _read(path: str, name: str, stdin: BinaryIO | None) -> bytes:
    try:
        if path == "-":
            return _text_bytes(stdin or sys.stdin.buffer, name)
        if os.path.isdir(path):  # open() would say "permission denied" on Windows
            raise InputError("is a folder", name, FORMATS_WANTED)
        with open(path, "rb") as file:
            return _text_bytes(file, name)
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", name, FORMATS_WANTED) from error


def _text_bytes(file: BinaryIO, name: str) -> bytes:
    """The content without its byte-order mark. A binary file is refused by its head: it may be gigabytes long."""
    head = file.read(HEAD)
    if not head:
        raise InputError("is empty", name, FORMATS_WANTED)
    if binary := _binary(head):
        raise InputError(f"is {binary}", name, "Save it as UTF-8" if "UTF-16" in binary else FORMATS_WANTED)
    return (head + file.read()).removeprefix(b"\xef\xbb\xbf")


def _binary(head: bytes) -> str:
    """What a file that is no text seems to be; "" for text, which may hold a stray NUL or be in another encoding."""
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return kind
    controls = sum(byte < 9 or 13 < byte < 27 for byte in head)
    undecodable = sum("\udc80" <= char <= "\udcff" for char in head.decode("utf-8", "surrogateescape"))
    # Of random bytes a tenth are control characters and a half no UTF-8.
    garbled = min(controls, undecodable) * 16 > len(head)
    return "a binary file" if garbled or head.count(0) * 4 > len(head) else ""


def _missing(path: str) -> InputError:
    folder, name = os.path.split(path)
    try:
        near = difflib.get_close_matches(name, os.listdir(folder or "."), n=3)
    except OSError:
        return InputError("there is no such folder", folder or ".", FORMATS_WANTED)
    meant = " or ".join(os.path.join(folder, other) for other in near)
    return InputError("there is no such file", path, f"Did you mean {meant}?" if near else FORMATS_WANTED)


def _line(raw: bytes) -> Line:
    text = raw.decode("utf-8", "replace").replace("\0", "\ufffd")
    return Line(text, len(raw), _line_fault(raw))


def _line_fault(raw: bytes) -> InputError | None:
    if b"\0" in raw:
        return InputError(f"there is a NUL byte at offset {raw.index(0)} of the line", next="Remove it")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start} of the line"
        return InputError(what, next="Save the file as UTF-8")
    return None
