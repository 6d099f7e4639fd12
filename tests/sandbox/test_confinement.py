"""The second wall alone: what code that got around the first could do. Nothing here is behind the syntax wall."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from score_local.sandbox import confinement, seccomp

ROOT = Path(__file__).parent.parent.parent
linux = pytest.mark.skipif(sys.platform != "linux", reason="the walls of Linux")


def reported(task: str) -> tuple[str, int | None]:
    """What `task`, the body of a function that returns bytes, reports from a confined child, and how it ended."""
    program = (
        f"import sys, json; sys.path.insert(0, {str(ROOT)!r})\n"
        "import os, ctypes, signal, threading\n"
        "from score_local.sandbox import confinement, nursery\n"
        f"def task():\n{textwrap.indent(textwrap.dedent(task), '    ')}\n"
        "report = nursery.in_child(task)\n"
        "print(json.dumps([report.said.decode('utf-8', 'replace'), report.status]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=True,
    )
    said, status = json.loads(done.stdout)
    return said, status


@linux
def test_all_walls_stand_here() -> None:
    said, status = reported("return json.dumps(dict(confinement.walls())).encode()")
    assert status == 0
    assert set(json.loads(said).values()) == {True}, said


@linux
@pytest.mark.parametrize(
    "act",
    [
        "os.execv('/bin/sh', ['sh', '-c', 'echo x'])",
        "os.pipe()",
        "os.dup(1)",
        "os.listdir('.')",
        "os.mkdir('x')",
        "os.unlink('/tmp/x')",
        "os.chmod('/', 0o777)",
        "os.setuid(0)",
        "os.killpg(0, 0)",
        "os.nice(1)",
        "open('/proc/self/mem', 'rb')",
        "__import__('resource').setrlimit(__import__('resource').RLIMIT_NOFILE, (10, 10))",
        "signal.setitimer(signal.ITIMER_REAL, 1)",
    ],
)
def test_acts_that_are_refused(act: str) -> None:
    said, status = reported(
        f"try:\n    {act}\nexcept (OSError, ValueError, ImportError) as error:\n    return b'refused'\n"
    )
    assert (said, status) == ("refused", 0)


@linux
def test_only_the_report_is_open() -> None:
    said, _ = reported(
        """
        def is_open(fd):
            try:
                os.lseek(fd, 0, os.SEEK_CUR)
            except OSError as error:
                return error.strerror == 'Illegal seek'
            return True
        return json.dumps([fd for fd in range(64) if is_open(fd)]).encode()
        """
    )
    assert json.loads(said) == [1]


@pytest.mark.parametrize(
    ("task", "ends"),
    [
        ("lock = threading.Lock()\nlock.acquire()\nlock.acquire()", {None}),
        ("while True: pass", {None, -signal.SIGXCPU, -signal.SIGKILL}),
    ],
    ids=["waiting", "computing"],
)
def test_a_child_is_killed_at_its_limit(task: str, ends: set[int | None]) -> None:
    began = time.monotonic()
    said, status = reported(task)
    assert said == "" and status in ends
    assert time.monotonic() - began < confinement.SECONDS + 3


@linux
def test_a_child_that_says_too_much_is_cut_off() -> None:
    said, _ = reported("while True: os.write(1, b'x' * 65536)")
    assert 0 < len(said) <= 2 * 4096


@linux
def test_a_child_that_crashes_is_told() -> None:
    _, status = reported("ctypes.string_at(0)")
    assert status == -11


def test_the_filter_says_no_where_it_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert seccomp.install() is False


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_jumps_inside_itself_and_ends_with_a_refusal(machine: str) -> None:
    code = seccomp._code(machine)
    assert len(code) % 8 == 0 and len(code) // 8 < 4096
    assert code[-8:-6] == b"\x06\x00"
