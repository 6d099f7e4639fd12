"""A conversation as Markdown and as JSONL."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from score_local.errors import HistoryError
from score_local.trace import Attempt, Round, Signal, Trace
from tui.export import export, file_name, free_name, jsonl, markdown
from tui.records import Conversation, Phase, Turn

CONVERSATION = Conversation(id="c", title="Eggs", created=0.0, updated=0.0)
TRACE = Trace(
    id="t",
    question="12 eggs, 7 boxes?",
    initial=Attempt("12 * 7 = 74", "74"),
    rounds=(Round(0.9, (Signal("arithmetic", 0.9, "12 * 7 is 84"),), "The product.", Attempt("12 * 7 = 84", "84")),),
    answer="84",
    refined=True,
    status="solved",
)
TURNS = [
    Turn(
        id="t",
        conversation="c",
        question="12 eggs,\n7 boxes?",
        hint="multiply",
        phases=(Phase(name="solve", text="12 * 7 = 74", seconds=2.0, generated=30),),
        trace=TRACE,
        answer="74",
        state="done",
    ),
    Turn(id="u", conversation="c", kind="chat", question="thanks \x1b[2J", reply="You are *welcome*.", state="done"),
    Turn(
        id="v",
        conversation="c",
        question="cut off?",
        phases=(Phase(name="solve", text="half", cut_off=True),),
        state="failed",
        error="the engine has died",
    ),
    Turn(
        id="w",
        conversation="c",
        question="refined?",
        phases=(Phase(name="refine", text="Critique: half", generated=2, cut_off=True),),
        trace=TRACE,
        state="cancelled",
    ),
]


def test_markdown_tells_the_whole_story() -> None:
    text = markdown(CONVERSATION, TURNS)
    for part in (
        "# Eggs\n",
        "## 1. 12 eggs, 7 boxes?\n\n> 12 eggs,\n> 7 boxes?\n",
        "Hint: multiply\n",
        "### Solution",
        "### Verdict: P(incorrect) = 0.900",
        "- arithmetic: 0.900 (12 * 7 is 84)",
        "### Critique\n\nThe product.",
        "### Answer: 84 (refined)",
        "Answer that was chosen: 74",
        "| solve | 30 | 2.00 | 15.0 |",
        "## 2. thanks ␛[2J",
        "You are *welcome*.",
        "### Solve, cut off\n\nhalf\n",
        "### Refine, cut off\n\nCritique: half\n",
        "| refine, cut off | 2 | 0.00 |  |",
        "*failed*: the engine has died",
    ):
        assert part in text, part
    assert "\x1b" not in text


def test_jsonl_is_a_turn_a_line_and_loses_nothing() -> None:
    lines = jsonl(TURNS).splitlines()
    assert [msgspec.json.decode(line, type=Turn) for line in lines] == TURNS
    assert json.loads(lines[0])["phases"][0]["seconds"] == 2.0


@pytest.mark.parametrize(("name", "begins"), [("a.md", b"# Eggs"), ("a.JSONL", b'{"id":"t"'), ("a", b"# Eggs")])
def test_the_name_tells_the_format(tmp_path: Path, name: str, begins: bytes) -> None:
    export(tmp_path / name, CONVERSATION, TURNS)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_where_nothing_can_be_written_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match=r"cannot be written.*choose another place"):
        export(tmp_path / "none" / "a.md", CONVERSATION, TURNS)


@pytest.mark.parametrize("place", [".", "/"])
def test_a_folder_is_no_file(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HistoryError, match="is a folder"):
        export(Path(place), CONVERSATION, TURNS)


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    for name in ("Eggs.md", "Eggs-2.md", "Eggs-3.md"):
        assert free_name(CONVERSATION, tmp_path) == name
        export(tmp_path / name, CONVERSATION, TURNS)


def test_an_empty_conversation_is_a_title() -> None:
    assert markdown(CONVERSATION, []) == "# Eggs\n"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("12 eggs, 7 boxes?", "12-eggs-7-boxes.md"),
        ("../../etc/passwd", "etc-passwd.md"),
        ("日本語の問題", "日本語の問題.md"),
        ("", "conversation.md"),
    ],
)
def test_the_name_of_the_file_is_made_of_the_title(title: str, name: str) -> None:
    assert file_name(msgspec.structs.replace(CONVERSATION, title=title)) == name
