"""What happens to a batch when its process is interrupted or killed: real processes, real signals."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from score_local.commands.interrupts import interrupts
from score_local.runs import read_traces

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

# The command line with a slow scripted engine: about 20 problems a second, four side by side.
SCORE_LOCAL = """
import sys
from pathlib import Path
from score_local import cli
from score_local.commands import setup
from score_local.engine.scripted import ScriptedEngine
setup.model_of = lambda options: Path(sys.argv[1])
setup.engine_of = lambda *_: ScriptedEngine(lambda request: "a b c d e f g h i \\\\boxed{4}", rate=float(sys.argv[2]))
sys.exit(cli.main(sys.argv[3:]))
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `batch` over 60 problems at a rate of tokens a second."""
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    lines = [json.dumps({"id": str(i), "question": f"question {i}"}) for i in range(60)]
    (tmp_path / "problems.jsonl").write_text("\n".join(lines) + "\n")

    def run(rate: float, *flags: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        batch = ["batch", str(tmp_path / "problems.jsonl"), "--run", str(tmp_path / "run"), "--verifiers", "arithmetic"]
        command = [sys.executable, "-c", SCORE_LOCAL, str(tmp_path / "model.gguf"), str(rate), *batch, *flags]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)

    return run


def wait_for_traces(run: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(read_traces(run)) < count:
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.01)


def wait_for_file(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, "no start"
        time.sleep(0.01)


def ids(run: Path) -> list[str]:
    return [trace.id for trace in read_traces(run)]


def test_kill_9_loses_only_what_was_in_flight(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    run = tmp_path / "run"
    for wanted in (5, 15, 30):
        process = start(200, "--resume")
        wait_for_traces(run, wanted)
        process.kill()
        process.communicate()
    before = ids(run)
    process = start(20_000, "--resume", "--output", str(tmp_path / "answers.jsonl"))
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert ids(run)[: len(before)] == before and sorted(ids(run), key=int) == [str(i) for i in range(60)]
    assert (run / "traces.jsonl").read_bytes().count(b"\n") == 60, "nothing was solved twice"
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_interrupt_finishes_what_runs(
    number: signal.Signals, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start(200)
    wait_for_traces(tmp_path / "run", 5)
    process.send_signal(number)
    out, told = process.communicate(timeout=30)
    done = len(ids(tmp_path / "run"))
    assert process.returncode == 130 and 5 <= done < 60
    assert "finishing what runs" in told and "--resume" in told and "Traceback" not in told
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["problems"] == done
    assert "problems" in out


def test_an_interrupt_that_leaves_no_problem_interrupts_nothing(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start(5, "--limit", "4")  # all four at once, two seconds each
    wait_for_file(tmp_path / "run" / "traces.jsonl")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 0 and len(ids(tmp_path / "run")) == 4, told
    assert "finishing what runs" in told and "go on with" not in told


def test_a_batch_whose_progress_nobody_reads_is_done_all_the_same(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start(2000)
    assert process.stdout and process.stderr
    process.stderr.close()
    process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=60) == 0 and len(ids(tmp_path / "run")) == 60


@pytest.mark.parametrize("broken", [BrokenPipeError, OSError])
def test_an_interrupt_stops_although_nobody_can_be_told(broken: type[OSError], monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise broken

    monkeypatch.setattr(sys, "stderr", Gone())
    stopped: list[bool] = []
    with interrupts(lambda: stopped.append(True), lambda: None) as seen:
        signal.raise_signal(signal.SIGINT)
    assert stopped == [True] and seen.count == 1


def test_an_interrupt_that_ends_the_reader_too(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    """As `batch ... 2>&1 | tee log` and Ctrl-C."""
    process = start(200, stderr=subprocess.STDOUT)
    wait_for_traces(tmp_path / "run", 5)
    assert process.stdout
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    done = len(ids(tmp_path / "run"))
    assert 5 <= done < 60 and json.loads((tmp_path / "run" / "summary.json").read_text())["problems"] == done


def test_two_interrupts_cancel_what_runs(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    process = start(0.5)  # twenty seconds a problem
    wait_for_file(tmp_path / "run" / "traces.jsonl")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130 and time.monotonic() - began < 5, told
    assert "Traceback" not in told and ids(tmp_path / "run") == []


def test_an_interrupted_solve_says_that_it_is_cancelled(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    solve = ["solve", "question", "--verifiers", "arithmetic"]
    command = [sys.executable, "-c", SCORE_LOCAL, str(tmp_path / "model.gguf"), "0.5", *solve]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr and process.stderr.readline() == "-- Solution --\n"
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=10)
    assert process.returncode == 130 and out == ""
    assert told.endswith("score-local: cancelled\n") and "finishing" not in told


def test_a_second_process_is_refused(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    first = start(200)
    wait_for_traces(tmp_path / "run", 1)
    second = start(200, "--resume")
    _, told = second.communicate(timeout=30)
    first.kill()
    first.communicate()
    assert second.returncode == 2 and "another process is writing this run" in told


def test_a_reader_that_goes_away_is_no_error(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    start(20_000).communicate(timeout=60)
    show = [sys.executable, "-m", "score_local", "show", str(tmp_path / "run")]
    process = subprocess.Popen(show, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stderr
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0 and told == ""
