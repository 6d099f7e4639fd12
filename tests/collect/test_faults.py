"""What happens to a collection when its process is killed or its disk is full: real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.collect.scripted import question

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
Start = Callable[..., "subprocess.Popen[str]"]
COMPUTED = ("labels.jsonl", "pairs.jsonl", "judged.jsonl", "accepted.jsonl", "funnel.json")
FAST = 100_000
KILL_IN_EXPORT = """
import os, sys
from pathlib import Path
from score_local.collect import export
from tests.collect import scripted
write = export.write_whole
def killed(path: Path, content: bytes) -> None:
    if path.name == "verifier.jsonl":
        os.kill(os.getpid(), 9)
    write(path, content)
export.write_whole = killed
scripted.main(sys.argv[1:])
"""


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a collection over 12 questions at a rate of words a second."""
    lines = [json.dumps({"id": f"q{a}", "question": question(a, 7), "answer": str(a + 7)}) for a in range(10, 22)]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines) + "\n")

    def run(
        rate: float, out: str, *flags: str, program: tuple[str, ...] = ("-m", "tests.collect.scripted"), limit: int = 0
    ) -> subprocess.Popen[str]:
        collect = [
            str(tmp_path / "questions.jsonl"),
            "--out",
            str(tmp_path / out),
            "--samples",
            "4",
            "--feedback-on",
            "every",
            "--resume",
        ]
        command = [sys.executable, *program, str(rate), *collect, *flags]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=(lambda: _limit_files(limit)) if limit else None,  # noqa: PLW1509 (it only limits the child)
        )

    return run


def _limit_files(size: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert "Traceback" not in told
    return told


def wait_for_lines(path: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.005)


def contents(run: Path) -> dict[str, bytes]:
    """What is computed from the replies, and the dataset."""
    return {path.name: path.read_bytes() for path in [*(run / name for name in COMPUTED), *(run / "dataset").iterdir()]}


def test_kill_9_loses_only_what_was_in_flight(start: Start, tmp_path: Path) -> None:
    finish(start(FAST, "whole"))
    run = tmp_path / "killed"
    for name, count in (("samples.jsonl", 5), ("samples.jsonl", 20), ("critiques.jsonl", 4), ("corrections.jsonl", 3)):
        process = start(150, "killed")
        wait_for_lines(run / name, count)
        process.kill()
        process.communicate()
    finish(start(FAST, "killed"))
    assert contents(run) == contents(tmp_path / "whole"), "as if nothing had happened"
    for name, count in (("samples.jsonl", 48), ("critiques.jsonl", 24), ("corrections.jsonl", 12)):
        assert (run / name).read_bytes().count(b"\n") == count, "nothing was asked for twice"


def test_a_killed_export_leaves_no_card_and_is_made_again(start: Start, tmp_path: Path) -> None:
    finish(start(FAST, "run"))
    before = contents(tmp_path / "run")
    finish(start(FAST, "run", "--stage", "export", program=("-c", KILL_IN_EXPORT)), -signal.SIGKILL)
    assert not (tmp_path / "run" / "dataset" / "dataset.json").exists()
    finish(start(FAST, "run", "--stage", "export"))
    assert contents(tmp_path / "run") == before


def test_a_full_disk_is_one_line_and_nothing_is_lost(start: Start, tmp_path: Path) -> None:
    told = finish(start(FAST, "run", limit=6000), 2)
    assert "samples.jsonl: cannot be written: File too large" in told and "--resume" in told
    samples = (tmp_path / "run" / "samples.jsonl").read_bytes()
    assert samples.endswith(b"\n") and samples.count(b"\n") > 5
    finish(start(FAST, "run"))
    finish(start(FAST, "whole"))
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    assert (tmp_path / "run" / "samples.jsonl").read_bytes().startswith(samples)


def test_one_interrupt_finishes_what_runs(start: Start, tmp_path: Path) -> None:
    process = start(150, "run")
    wait_for_lines(tmp_path / "run" / "samples.jsonl", 5)
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=30)
    assert process.returncode == 130 and "go on with the same command and --resume" in told
    assert "samples" in out and "Traceback" not in told


def test_a_second_process_is_refused(start: Start, tmp_path: Path) -> None:
    first = start(150, "run")
    wait_for_lines(tmp_path / "run" / "samples.jsonl", 1)
    told = finish(start(FAST, "run"), 2)
    first.kill()
    first.communicate()
    assert "another process is writing it" in told
