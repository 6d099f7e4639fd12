"""The helper process that forks a confined child for every program. Started by `launch`, without site-packages.

It answers each line of stdin with a line of JSON, ends with its stdin, and itself computes nothing that a program says:
the child parses, checks and runs. The child may be hostile, so its report is bytes of a bounded length and no more.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

from score_local.sandbox import confinement
from score_local.sandbox.modules import preload_datetime, preload_sympy
from score_local.sandbox.program import outcome_of
from score_local.sandbox.protocol import OUTCOMES, Outcome

MAX_REPORT = 4096  # bytes
STEP = 0.05  # seconds between two looks at the clock


class Report(NamedTuple):
    """What a child said, and how it ended: of itself (its status, < 0 for a signal) or killed at the limit (None)."""

    said: bytes
    status: int | None


def main(sympy_folders: tuple[str, ...]) -> None:
    """Says that it is ready, then serves."""
    preload_datetime()
    _enter_empty_folder()
    _reply(True)
    for line in sys.stdin:
        question = json.loads(line)
        if "source" not in question:
            _reply(dict(_walls()))
            continue
        if "sympy" in question["source"]:
            preload_sympy(sympy_folders)
        _reply(run(question["source"]))


def run(source: str) -> tuple[Outcome, str]:
    """What became of a program."""
    return _understood(in_child(lambda: "\n".join(outcome_of(source)).encode("utf-8", "replace")))


def in_child(task: Callable[[], bytes]) -> Report:
    """Runs `task` in a confined process and hears what it reports, for `confinement.SECONDS` at most."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _be_child(task, writing)
    os.close(writing)
    try:
        said, in_time = _hear(reading, time.monotonic() + confinement.SECONDS)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)  # it has said all that it may
        _, status = os.waitpid(child, 0)
    return Report(said, os.waitstatus_to_exitcode(status) if in_time else None)


def _be_child(task: Callable[[], bytes], report: int) -> None:
    """Never returns: whatever happens, this process must not go on as a second nursery."""
    status = 1
    try:
        confinement.confine(report)
        os.write(1, task())
        status = 0
    finally:
        os._exit(status)


def _hear(pipe: int, deadline: float) -> tuple[bytes, bool]:
    """Reads until the child ends, says too much, or the deadline passes (then False)."""
    said = b""
    while len(said) <= MAX_REPORT:
        left = deadline - time.monotonic()
        if left <= 0:
            return said, False
        if select.select([pipe], [], [], left)[0]:
            piece = os.read(pipe, MAX_REPORT)
            if not piece:
                return said, True
            said += piece
    return said, True


def _understood(report: Report) -> tuple[Outcome, str]:
    outcome, _, text = report.said.decode("utf-8", "replace").partition("\n")
    for known in OUTCOMES:
        if outcome == known and len(report.said) <= MAX_REPORT:
            return known, text
    if report.status is None:
        return "timeout", f"the program ran for more than {confinement.SECONDS:g} s"
    if report.status in (-signal.SIGXCPU, -signal.SIGKILL):
        return "timeout", f"the program computed for more than {confinement.CPU_SECONDS} s"
    return "error", f"the program's process ended with status {report.status}"


def _walls() -> dict[str, bool]:
    def tried() -> bytes:
        return json.dumps(dict(confinement.walls())).encode()

    with contextlib.suppress(ValueError):
        found: dict[str, bool] = json.loads(in_child(tried).said)
        return found
    return {}


def _enter_empty_folder() -> None:
    """A working directory that is no longer in the file system: empty, and nothing can be made in it."""
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def _reply(answer: object) -> None:
    print(json.dumps(answer), flush=True)
