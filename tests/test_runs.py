"""Run folders: nothing that was solved is lost, nothing that changed goes unnoticed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest

from score_local.errors import RunError
from score_local.policy import Policy, Verify
from score_local.problem import Problem
from score_local.runs import FileHash, Manifest, manifest_of, read_manifest, read_traces, start_run, write_whole
from score_local.trace import Attempt, Trace

MANIFEST = Manifest(model=FileHash("m.gguf", "0" * 64), prompts="p", policy=Policy(), context=2048)


def trace(key: str, **fields: object) -> Trace:
    return Trace(id=key, question=f"question {key}", initial=Attempt("text", "1"), status="solved", **fields)  # type: ignore[arg-type]


def problem(key: str, question: str | None = None) -> Problem:
    return Problem(key, question or f"question {key}")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    with start_run(tmp_path / "run", MANIFEST, resume=False) as run:
        run.append(trace("a"))
        run.append(trace("b", error="ü\n"))
    assert read_traces(tmp_path / "run") == [trace("a"), trace("b", error="ü\n")]
    assert read_manifest(tmp_path / "run") == MANIFEST


def test_resume_leaves_out_what_is_done_and_tries_failures_again(tmp_path: Path) -> None:
    with start_run(tmp_path, MANIFEST, resume=True) as run:  # begins a run that is not there yet
        run.append(trace("a"))
        run.append(msgspec.structs.replace(trace("b"), status="failed", error="broken"))
    with start_run(tmp_path, MANIFEST, resume=True) as run:
        assert [p.id for p in run.todo([problem("a"), problem("b"), problem("c")])] == ["b", "c"]
        assert [t.status for t in run.traces_of([problem("a"), problem("b"), problem("c")])] == ["solved", "failed"]
        assert run.traces_of([problem("b", "another question")]) == []
        run.append(trace("b"))
    assert [t.status for t in read_traces(tmp_path)] == ["solved", "solved"], "the last line of an id counts"


def test_a_run_is_not_begun_over(tmp_path: Path) -> None:
    start_run(tmp_path, MANIFEST, resume=False).close()
    with pytest.raises(RunError, match=r"holds a run already.*--resume"):
        start_run(tmp_path, MANIFEST, resume=False)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": FileHash("m.gguf", "1" * 64)}, "model"),
        ({"prompts": "other"}, "prompts"),
        ({"policy": Policy(verify=Verify(threshold=0.9))}, "policy"),
        ({"adapters": {"refiner": FileHash("r.gguf", "2" * 64)}}, "adapters"),
        ({"context": 512}, "context"),
    ],
)
def test_a_changed_manifest_is_refused_unless_told(tmp_path: Path, change: dict[str, object], named: str) -> None:
    start_run(tmp_path, MANIFEST, resume=False).close()
    changed = msgspec.structs.replace(MANIFEST, **change)
    with pytest.raises(RunError, match=rf"made with another {named}.*--accept-changes"):
        start_run(tmp_path, changed, resume=True)
    start_run(tmp_path, changed, resume=True, accept_changes=True).close()
    assert read_manifest(tmp_path) == changed


def test_a_newer_version_may_go_on(tmp_path: Path) -> None:
    start_run(tmp_path, MANIFEST, resume=False).close()
    newer = msgspec.structs.replace(MANIFEST, software={"score-local": "99"})
    start_run(tmp_path, newer, resume=True).close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made_of(calibration: str, adapter: str = "refiner.gguf") -> Manifest:
    """The manifest of a run with these files, which are made where there are none."""
    for file in (Path("model.gguf"), Path(calibration), Path(adapter)):
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            file.write_text("content")
    policy = Policy(verify=Verify(calibration=calibration), adapters={"refiner": adapter})
    return manifest_of(Path("model.gguf"), {"refiner": Path(adapter)}, policy, 2048)


# (the calibration and the adapter of the run that goes on, what is rewritten before, what is refused, why)
FILES: list[tuple[tuple[str, str], str, str, str]] = [
    (("c.toml", "refiner.gguf"), "", "", "nothing is another"),
    (("there/other.toml", "there/r.gguf"), "", "", "the same files lie elsewhere and have other names"),
    (("c.toml", "refiner.gguf"), "c.toml", "calibration", "the name is the same, and the calibration another"),
    (("c.toml", "refiner.gguf"), "refiner.gguf", "adapters", "so with an adapter"),
]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("files", "rewritten", "refused", "why"), FILES)
def test_files_are_known_by_their_content(files: tuple[str, str], rewritten: str, refused: str, why: str) -> None:
    start_run(Path("run"), made_of("c.toml"), resume=False).close()
    if rewritten:
        Path(rewritten).write_text("another")
    told = ""
    try:
        start_run(Path("run"), made_of(*files), resume=True).close()
    except RunError as error:
        told = error.what
    assert told == (f"this run was made with another {refused}" if refused else ""), why


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("calibration", "refused"), [("c.toml", False), ("other.toml", True)])
def test_a_run_from_before_the_calibration_was_told_goes_by_its_path(calibration: str, refused: bool) -> None:
    start_run(Path("run"), made_of("c.toml"), resume=False).close()
    manifest = json.loads(Path("run/manifest.json").read_text())
    del manifest["calibration"]
    Path("run/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="another policy") if refused else nullcontext():
        start_run(Path("run"), made_of(calibration), resume=True).close()


@pytest.mark.usefixtures("here")
def test_with_a_calibration_is_not_without_one() -> None:
    calibrated = made_of("c.toml")
    policy = msgspec.structs.replace(calibrated.policy, verify=Verify())
    plain = msgspec.structs.replace(calibrated, calibration=None, policy=policy)
    for before, now in ((calibrated, plain), (plain, calibrated)):
        start_run(Path(f"run-{before is plain}"), before, resume=False).close()
        with pytest.raises(RunError, match="another calibration"):
            start_run(Path(f"run-{before is plain}"), now, resume=True)


CHOICE = Problem("a", "question a", "A", ("tea", "milk"), "choice")


@pytest.mark.parametrize(
    "changed",
    [
        msgspec.structs.replace(CHOICE, question="another question"),
        msgspec.structs.replace(CHOICE, answer="B"),
        msgspec.structs.replace(CHOICE, choices=("milk", "tea")),
        Problem("a", "question a", "A"),
    ],
)
def test_a_changed_problem_is_noticed(tmp_path: Path, changed: Problem) -> None:
    with start_run(tmp_path, MANIFEST, resume=True) as run:
        run.append(trace("a", kind="choice", gold="A", choices=CHOICE.choices))
        run.append(trace("b", kind="choice", gold="A"))  # of before traces told their choices
        assert run.todo([CHOICE, msgspec.structs.replace(CHOICE, id="b", question="question b")]) == []
        with pytest.raises(RunError, match=r"1 problems differ.*'a'"):
            run.todo([changed])


def test_half_a_line_is_cut_off_and_written_again(tmp_path: Path) -> None:
    with start_run(tmp_path, MANIFEST, resume=True) as run:
        run.append(trace("a"))
    with (tmp_path / "traces.jsonl").open("ab") as file:
        file.write(b'{"id": "b", "quest')
    assert [t.id for t in read_traces(tmp_path)] == ["a"]
    with start_run(tmp_path, MANIFEST, resume=True) as run:
        run.append(trace("b"))
    assert [t.id for t in read_traces(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize("damage", [b"garbage\n", b'{"id": "\xff", "question": "?"}\n'])
def test_damage_in_the_middle_is_named(damage: bytes, tmp_path: Path) -> None:
    with start_run(tmp_path, MANIFEST, resume=True) as run:
        run.append(trace("a"))
    with (tmp_path / "traces.jsonl").open("ab") as file:
        file.write(damage)
    with pytest.raises(RunError, match=r"traces\.jsonl:2: damaged trace"):
        read_traces(tmp_path)


def test_two_processes_do_not_write_one_run(tmp_path: Path) -> None:
    with (
        start_run(tmp_path, MANIFEST, resume=True),
        pytest.raises(RunError, match="another process is writing this run"),
    ):
        start_run(tmp_path, MANIFEST, resume=True)
    start_run(tmp_path, MANIFEST, resume=True).close()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[1", b'{"prompts": "\xff"}'])
def test_a_broken_manifest_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(RunError, match=r"manifest\.json: cannot be read"):
        start_run(tmp_path, MANIFEST, resume=True)


def test_no_run_here(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there is no run here.*score-local batch"):
        read_manifest(tmp_path)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(RunError, match="cannot be written"):
        start_run(tmp_path / "run", MANIFEST, resume=True)


WRITER = """
import sys
from pathlib import Path
from tests.test_runs import MANIFEST, trace
from score_local.runs import start_run
run = start_run(Path(sys.argv[1]), MANIFEST, resume=True)
for i in range(10**6):
    run.append(trace(str(i), error="x" * 5000))
    print(i, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_kill_9_at_any_moment_loses_at_most_the_line_being_written(tmp_path: Path) -> None:
    for attempt in range(4):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout
        writer.stdout.readline()
        time.sleep(0.02 * attempt)
        writer.send_signal(signal.SIGKILL)
        told = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        kept = {t.id for t in read_traces(tmp_path)}
        assert kept >= set(told), "what was told as written is there"
    start_run(tmp_path, MANIFEST, resume=True).close()  # the dead process's lock is gone, too


FILLER = """
import resource, signal, sys
from pathlib import Path
from tests.test_runs import MANIFEST, trace
from score_local.errors import RunError
from score_local.runs import start_run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
run = start_run(Path(sys.argv[1]), MANIFEST, resume=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
try:
    for i in range(100):
        run.append(trace(str(i), error="x" * 5000))
except RunError as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX limits")
def test_a_full_disk_is_one_line_and_leaves_whole_lines(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILLER, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "traces.jsonl: cannot be written: File too large" in done.stdout and "--resume" in done.stdout
    assert (tmp_path / "traces.jsonl").read_bytes().endswith(b"\n")
    assert [t.id for t in read_traces(tmp_path)] == ["0", "1"]


def test_a_whole_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    write_whole(file, b"old")
    with pytest.raises(RunError, match="cannot be written"):
        write_whole(tmp_path / "none" / "x.json", b"new")
    assert file.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["x.json"]
