"""Writes answer files: one row a problem, as JSONL or CSV. Knows nothing of how an answer came about."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from score_local.errors import InputError, RunError
from score_local.runs import LOCK, MANIFEST, SUMMARY, TRACES, writable, write_whole
from score_local.trace import Trace

STDOUT = "-"


class AnswerRow(msgspec.Struct, frozen=True):
    """What a user wants to know of one problem. `status`: "solved", "unknown" (no answer could be read from the
    solution) or "failed: " and why."""

    id: str
    answer: str | None = None
    initial_answer: str | None = None
    refined: bool = False
    p_incorrect: float | None = None
    status: str = "failed: it was not attempted"


def answer_rows(ids: Iterable[str], traces: Iterable[Trace], faults: Iterable[InputError] = ()) -> list[AnswerRow]:
    """A row for each of `ids` (the problem file's, in its order), traced or not; then one for each faulty line, which
    has no id of its own and is named by its place (`file.jsonl:12`)."""
    found = {trace.id: _row(trace) for trace in traces}
    rows = [found.get(id_, AnswerRow(id_)) for id_ in ids]
    return rows + [AnswerRow(writable(fault.where), status=f"failed: {fault.what}") for fault in faults]


def write_answers(path: str, rows: Iterable[AnswerRow], run: str = "", stdout: BinaryIO | None = None) -> None:
    """Writes `path` whole or not at all, in the format of its extension; "-" is JSONL on `stdout` (the process's own).

    `run` is the folder that still holds the answers where this fails. Raises RunError.
    """
    if path == STDOUT:
        return _print(_jsonl(rows), stdout or sys.stdout.buffer, run)
    encode = _encoder(path)
    try:
        # Through a link, so that the link stays one.
        write_whole(Path(os.path.realpath(path)), encode(rows))
    except RunError as error:
        raise RunError(error.what, path, _what_next(run)) from error


def check_writable(path: str, run: Path | None = None, problems: str = STDOUT) -> None:
    """Raises RunError where `write_answers` could not write, or would write over a file of the folder `run` or over
    the file of `problems`: to be called before any work."""
    if path == STDOUT:
        return
    _encoder(path)
    kept = {run / name: "the run's own file" for name in (MANIFEST, TRACES, SUMMARY, LOCK)} if run else {}
    if problems != STDOUT:
        kept[Path(problems)] = "the problem file"
    check_place(path, kept, "--output")


def check_place(path: str, kept: Mapping[Path, str], flag: str) -> None:
    """Raises RunError where no file can be written, or it would replace one of `kept`, which says what each is."""
    target = os.path.realpath(path)
    for file, what in kept.items():
        if _same_file(target, file):
            raise RunError(f"is {what}, which would be lost", path, f"Give {flag} another name")
    folder = os.path.dirname(target)
    if os.path.isdir(target):
        raise RunError("is a folder", path, f"Give {flag} the name of a file in it")
    if os.path.exists(target) and not os.path.isfile(target):
        raise RunError("is not a regular file", path, f"Choose another {flag}")
    if not os.path.isdir(folder):
        raise RunError("its folder does not exist", path, f"Make the folder first, or choose another {flag}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RunError("its folder cannot be written", path, f"Choose another {flag}")


def _same_file(target: str, other: Path) -> bool:
    """Also where a file system takes two spellings for one, or has two links to it."""
    if os.path.exists(target) and other.exists():
        return os.path.samefile(target, other)
    return target == os.path.realpath(other)


def _row(trace: Trace) -> AnswerRow:
    return AnswerRow(
        id=trace.id,
        answer=trace.answer,
        initial_answer=trace.initial_answer,
        refined=trace.refined,
        p_incorrect=trace.p_incorrect,
        status=f"failed: {trace.error}" if trace.status == "failed" else trace.status,
    )


def _encoder(path: str) -> Callable[[Iterable[AnswerRow]], bytes]:
    encoders = {".jsonl": _jsonl, ".csv": _csv}
    try:
        return encoders[Path(path).suffix.lower()]
    except KeyError:
        raise RunError("answers are written as .jsonl or .csv", path, "Give --output one of these, or -") from None


def _jsonl(rows: Iterable[AnswerRow]) -> bytes:
    return msgspec.json.Encoder().encode_lines(list(rows))


def _csv(rows: Iterable[AnswerRow]) -> bytes:
    """With None as an empty cell and truth as JSON spells it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(AnswerRow.__struct_fields__)
    for row in rows:
        writer.writerow(str(cell).lower() if isinstance(cell, bool) else cell for cell in msgspec.structs.astuple(row))
    return text.getvalue().encode()


def _print(content: bytes, stdout: BinaryIO, run: str) -> None:
    try:
        stdout.write(content)
        stdout.flush()
    except OSError as error:
        raise RunError(f"cannot be written: {error.strerror or error}", "stdout", _what_next(run)) from error


def _what_next(run: str) -> str:
    """The answers are not lost: they are in the run folder, where there is one."""
    other = "run again with another --output"
    return f"See the answers with: score-local show {run}, or {other} and --resume" if run else other.capitalize()
