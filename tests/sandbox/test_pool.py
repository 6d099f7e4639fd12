"""The sandbox from outside: threads, killed helpers, speed, nothing left over."""

from __future__ import annotations

import os
import queue
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from score_local.sandbox.pool import MAX_SOURCE, Sandbox
from score_local.sandbox.protocol import Ran, RunProgram

ENDLESS = "def solution():\n    while True: pass"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox()
    yield made
    made.close()


def says(value: object) -> str:
    return f"def solution():\n    return {value!r}"


def helpers() -> list[psutil.Process]:
    """The nurseries, and no other helper that an earlier test has left running."""
    found = psutil.Process().children(recursive=True)
    alive = (process for process in found if process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return [process for process in alive if "score_local.sandbox.nursery" in " ".join(process.cmdline())]


@pytest.mark.speed
def test_a_program_costs_milliseconds(sandbox: Sandbox) -> None:
    assert sandbox.run(says(1)) == Ran("value", "1")
    took = []
    for i in range(20):
        began = time.perf_counter()
        assert sandbox.run(says(i)).value == str(i)
        took.append(time.perf_counter() - began)
    assert sorted(took)[10] < 0.06


def test_threads_share_the_sandbox(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(8) as threads:
        values = [ran.value for ran in threads.map(lambda i: sandbox.run(says(i)), range(24))]
    assert values == [str(i) for i in range(24)]


def test_submit_returns_at_once_and_others_pass_a_slow_program(sandbox: Sandbox) -> None:
    heard: queue.SimpleQueue[Ran] = queue.SimpleQueue()
    sandbox.run(says(0))
    began = time.monotonic()
    sandbox.submit(RunProgram(ENDLESS), heard.put)
    assert time.monotonic() - began < 1
    sandbox.submit(RunProgram(says(7)), heard.put)
    assert [heard.get(timeout=30).outcome for _ in range(2)] == ["value", "timeout"]


def test_what_waits_can_be_cancelled(sandbox: Sandbox) -> None:
    heard: queue.SimpleQueue[Ran] = queue.SimpleQueue()
    for _ in range(2):
        sandbox.submit(RunProgram(ENDLESS), lambda ran: None)
    cancel = sandbox.submit(RunProgram(says(1)), heard.put)
    cancel()
    assert heard.get(timeout=1) == Ran("error", "cancelled")


def test_programs_leave_nothing_to_each_other(sandbox: Sandbox) -> None:
    spoiling = "import math\ntotal = 5\ndef solution():\n    [].append(total)\n    return total"
    assert sandbox.run(spoiling).value == "5"
    assert sandbox.run("def solution():\n    return total").outcome == "forbidden"


def test_a_killed_nursery_is_replaced(sandbox: Sandbox) -> None:
    sandbox.run(says(1))
    for nursery in helpers():
        nursery.kill()
    outcomes = [sandbox.run(says(2)) for _ in range(3)]
    assert outcomes[-1].value == "2"
    assert {ran.outcome for ran in outcomes} <= {"value", "error"}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="children die with their parent on Linux only")
def test_a_killed_nursery_takes_its_program_along(sandbox: Sandbox) -> None:
    sandbox.run(says(1))
    (nursery,) = helpers()
    heard: queue.SimpleQueue[Ran] = queue.SimpleQueue()
    for _ in range(2):
        sandbox.submit(RunProgram(ENDLESS), heard.put)
    until = time.monotonic() + 10
    while not nursery.children() and time.monotonic() < until:
        time.sleep(0.01)
    child = nursery.children()[0]
    nursery.kill()
    child.wait(timeout=5)
    assert {heard.get(timeout=30).outcome for _ in range(2)} == {"error", "timeout"}


def test_a_killed_program_is_told_and_the_next_one_runs(sandbox: Sandbox) -> None:
    sandbox.run(says(1))
    heard: queue.SimpleQueue[Ran] = queue.SimpleQueue()
    sandbox.submit(RunProgram(ENDLESS), heard.put)
    until = time.monotonic() + 10
    programs: list[psutil.Process] = []
    while not programs and time.monotonic() < until:
        programs = [child for nursery in helpers() for child in nursery.children()]
    os.kill(programs[0].pid, signal.SIGKILL)
    assert heard.get(timeout=30).outcome == "timeout", "killed is killed: the kernel's limit looks the same"
    assert sandbox.run(says(2)).value == "2"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="told by /proc")
def test_a_nursery_has_an_empty_environment_and_folder(sandbox: Sandbox) -> None:
    sandbox.run(says(1))
    (nursery,) = helpers()
    assert nursery.environ() == {}
    assert os.readlink(f"/proc/{nursery.pid}/cwd").endswith("(deleted)")


def test_closing_ends_the_helpers() -> None:
    sandbox = Sandbox()
    sandbox.run(says(1))
    before = helpers()
    assert before
    sandbox.close()
    assert not [process for process in before if process.is_running()]


def test_a_closed_sandbox_answers() -> None:
    sandbox, heard = Sandbox(), list[Ran]()
    sandbox.close()
    sandbox.submit(RunProgram(says(1)), heard.append)()
    assert [ran.outcome for ran in heard] == ["error"]


def test_a_program_that_is_too_long_is_not_run(sandbox: Sandbox) -> None:
    assert sandbox.run("#" * (MAX_SOURCE + 1)).outcome == "forbidden"
    assert not helpers()


def test_the_walls_are_told(sandbox: Sandbox) -> None:
    assert {"network", "processes", "reading files", "memory"} <= sandbox.walls().keys()


def test_a_sandbox_that_cannot_start_is_an_error(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for nursery in sandbox._nurseries:
        monkeypatch.setattr(nursery, "module", "no_such_module")
    assert sandbox.run(says(1)) == Ran("error", "the sandbox did not answer")
    assert sandbox.walls() == {}
