"""Answer files: a row a problem, whole or not at all, and refused before any work is done."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from pathlib import Path

import pytest

from score_local.answer_files import AnswerRow, answer_rows, check_writable, write_answers
from score_local.errors import InputError, RunError
from score_local.trace import Trace

SOLVED = Trace(id="a", question="?", answer="8", initial_answer="7", refined=True, p_incorrect=0.75, status="solved")
UNKNOWN = Trace(id="b", question="?", status="unknown")
FAILED = Trace(id="c", question="?", status="failed", error="the prompt is too long")
FAULT = InputError("there is no question", "p.jsonl:3", "Give it one")
ROWS = answer_rows(["c", "a", "d", "b"], [SOLVED, UNKNOWN, FAILED], [FAULT])
ELSEWHERE = "See the answers with: score-local show runs/1, or run again with another --output and --resume"


def test_rows_stand_in_the_order_of_the_problem_file() -> None:
    expected = [
        AnswerRow("c", status="failed: the prompt is too long"),
        AnswerRow("a", "8", "7", True, 0.75, "solved"),
        AnswerRow("d", status="failed: it was not attempted"),
        AnswerRow("b", status="unknown"),
        AnswerRow("p.jsonl:3", status="failed: there is no question"),
    ]
    assert expected == ROWS


@pytest.mark.parametrize("name", ["answers.jsonl", "answers.csv"])
def test_a_faulty_line_of_a_file_whose_name_is_no_utf8(name: str, tmp_path: Path) -> None:
    place = os.fsdecode(b"caf\xe9.jsonl:1")
    rows = answer_rows([], [], [InputError("it is broken", place)])
    write_answers(str(tmp_path / name), rows)
    assert r"caf\udce9.jsonl:1" in (tmp_path / name).read_text().replace(r"\\", "\\")


def test_jsonl(tmp_path: Path) -> None:
    write_answers(str(tmp_path / "answers.jsonl"), ROWS)
    rows = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    expected = {
        "id": "a",
        "answer": "8",
        "initial_answer": "7",
        "refined": True,
        "p_incorrect": 0.75,
        "status": "solved",
    }
    assert rows[1] == expected
    assert [row["id"] for row in rows] == ["c", "a", "d", "b", "p.jsonl:3"]
    assert rows[3]["answer"] is None


def test_csv(tmp_path: Path) -> None:
    write_answers(str(tmp_path / "answers.CSV"), [*ROWS, AnswerRow("é", '1, "2"\n3', status="solved")])
    with open(tmp_path / "answers.CSV", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "answer", "initial_answer", "refined", "p_incorrect", "status"]
    assert rows[2] == ["a", "8", "7", "true", "0.75", "solved"]
    assert rows[4] == ["b", "", "", "false", "", "unknown"]
    assert rows[6] == ["é", '1, "2"\n3', "", "false", "", "solved"]


def test_stdout_gets_jsonl() -> None:
    stdout = io.BytesIO()
    write_answers("-", ROWS, stdout=stdout)
    assert [json.loads(line)["id"] for line in stdout.getvalue().splitlines()] == ["c", "a", "d", "b", "p.jsonl:3"]


def test_no_rows_make_an_empty_file(tmp_path: Path) -> None:
    write_answers(str(tmp_path / "a.jsonl"), [])
    write_answers(str(tmp_path / "a.csv"), [])
    assert (tmp_path / "a.jsonl").read_bytes() == b""
    assert (tmp_path / "a.csv").read_text().count("\n") == 1


def test_a_full_disk_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "answers.jsonl"
    path.write_text("old\n")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError) as caught:
        write_answers(str(path), ROWS, run="runs/1")
    assert str(caught.value) == f"{path}: cannot be written: No space left on device. {ELSEWHERE}"
    assert path.read_text() == "old\n"
    assert os.listdir(tmp_path) == ["answers.jsonl"]


def test_a_folder_that_has_gone(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        write_answers(str(tmp_path / "gone" / "a.csv"), ROWS)
    assert caught.value.what == "cannot be written: No such file or directory"
    assert caught.value.next == "Run again with another --output"


def test_stdout_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.BytesIO):
        def flush(self) -> None:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(RunError) as caught:
        write_answers("-", ROWS, "runs/1", Closed())
    assert str(caught.value) == f"stdout: cannot be written: Broken pipe. {ELSEWHERE}"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real.jsonl")
    write_answers(str(tmp_path / "link.jsonl"), ROWS)
    assert (tmp_path / "link.jsonl").is_symlink()
    assert (tmp_path / "real.jsonl").read_text().count("\n") == len(ROWS)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "A.CSV", "old.csv"])
def test_what_can_be_written_is_not_touched(name: str, tmp_path: Path) -> None:
    (tmp_path / "old.csv").touch()
    check_writable(str(tmp_path / name))
    check_writable("-")
    assert os.listdir(tmp_path) == ["old.csv"]


EXTENSION = "answers are written as .jsonl or .csv"
REFUSED = [
    ("a.txt", EXTENSION, "Give --output one of these, or -"),
    ("", EXTENSION, "Give --output one of these, or -"),
    ("folder.csv", "is a folder", "Give --output the name of a file in it"),
    ("pipe.csv", "is not a regular file", "Choose another --output"),
    ("none/a.csv", "its folder does not exist", "Make the folder first, or choose another --output"),
]


@pytest.mark.parametrize(("name", "what", "next_"), REFUSED)
def test_what_cannot_be_written_is_refused_beforehand(name: str, what: str, next_: str, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    path = str(tmp_path / name)
    with pytest.raises(RunError) as caught:
        check_writable(path)
    assert str(caught.value) == f"{path}: {what}. {next_}"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("problems.jsonl", "the problem file"),
        ("run/../problems.jsonl", "the problem file"),
        ("link.jsonl", "the problem file"),
        ("run/traces.jsonl", "the run's own file"),
        ("manifest.csv", "the run's own file"),
        ("new/traces.jsonl", None),
        ("run/answers.jsonl", None),
        ("run/problems.jsonl", None),
    ],
)
def test_nothing_that_is_needed_is_written_over(name: str, what: str | None, tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").touch()
    (tmp_path / "link.jsonl").symlink_to("problems.jsonl")
    (tmp_path / "manifest.csv").symlink_to("run/manifest.json")  # where no run is yet
    for folder in ("run", "new"):
        (tmp_path / folder).mkdir()
    path, problems = str(tmp_path / name), str(tmp_path / "problems.jsonl")
    if not what:
        return check_writable(path, tmp_path / "run", problems)
    with pytest.raises(RunError) as caught:
        check_writable(path, tmp_path / "run", problems)
    assert str(caught.value) == f"{path}: is {what}, which would be lost. Give --output another name"


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Asked of the system rather than tried, because the superuser may write anywhere.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(RunError) as caught:
        check_writable(str(tmp_path / "a.csv"))
    assert caught.value.what == "its folder cannot be written"
