"""The store of conversations: what is kept, found, branched, deleted, and how fast it is listed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from score_local.errors import HistoryError
from score_local.trace import Attempt, Trace
from tui import history as history_module
from tui.history import History
from tui.records import Phase, Turn, new_id


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    history = History(tmp_path / "deep" / "history.db")
    yield history
    history.close()


def said(history: History, *questions: str, reply: str = "") -> str:
    """A conversation with these questions in it; its id."""
    key = history.create().id
    for question in questions:
        history.save_turn(Turn(id=new_id(), conversation=key, question=question, reply=reply, state="done"))
    return key


def titles(history: History, text: str = "") -> list[str]:
    return [found.conversation.title for found in history.search(text)]


def test_a_turn_comes_back_as_it_was_saved(history: History) -> None:
    trace = Trace(id="1", question="2 + 2?", initial=Attempt("2 + 2 = 4", "4"), answer="4", status="solved")
    phase = Phase(name="solve", text="2 + 2 = 4", seconds=1.5, generated=7)
    key = history.create().id
    turn = Turn(id=new_id(), conversation=key, question="2 + 2?", phases=(phase,), trace=trace, answer="4")
    history.save_turn(turn)
    assert history.turns(key) == [turn]
    assert history.conversation(key).title == "2 + 2?", "the first question is the title"


def test_a_turn_saved_again_keeps_its_place(history: History) -> None:
    key = said(history, "first", "second")
    first = history.turns(key)[0]
    history.save_turn(msgspec.structs.replace(first, answer="7"))
    assert [(turn.question, turn.answer) for turn in history.turns(key)] == [("first", "7"), ("second", None)]


def test_what_was_written_to_last_is_listed_first(history: History) -> None:
    first, _ = said(history, "first"), said(history, "second")
    assert titles(history) == ["second", "first"]
    history.save_turn(Turn(id=new_id(), conversation=first, question="again"))
    assert titles(history) == ["first", "second"]
    assert [found.turns for found in history.search()] == [2, 1]


def test_two_apps_see_each_other(history: History) -> None:
    key = said(history, "from the first app")
    other = History(history.path)
    assert titles(other) == ["from the first app"] and other.notice == ""
    other.save_turn(Turn(id=new_id(), conversation=key, question="from the second"))
    other.close()
    assert [turn.question for turn in history.turns(key)] == ["from the first app", "from the second"]


def test_rename(history: History) -> None:
    key = said(history, "eggs in boxes")
    history.rename(key, "Eggs\nand\x1b[31m boxes")
    assert titles(history) == ["Eggs and␛[31m boxes"]
    assert titles(history, "Eggs and") == titles(history, "in boxes") == ["Eggs and␛[31m boxes"]
    history.rename(key, "other")
    assert titles(history, "Eggs and") == []


def test_a_branch_has_the_turns_up_to_the_card_and_goes_its_own_way(history: History) -> None:
    key = said(history, "one", "two", "three")
    two = history.turns(key)[1]
    child = history.branch(key, two.id)
    assert (child.parent, child.branched_at) == (key, two.id)
    assert [turn.question for turn in history.turns(child.id)] == ["one", "two"]
    history.save_turn(msgspec.structs.replace(history.turns(child.id)[0], question="changed"))
    history.delete(key)
    assert [turn.question for turn in history.turns(key)] == ["one", "two", "three"]
    assert titles(history, "changed") == ["one (branch)"]


def test_deletions_are_undone_one_by_one(history: History) -> None:
    first, second = said(history, "first"), said(history, "second")
    history.delete(first)
    history.delete(second)
    assert titles(history) == titles(history, "first") == []
    restored = [history.undo(), history.undo(), history.undo()]
    assert [conversation and conversation.title for conversation in restored] == ["second", "first", None]
    assert titles(history) == ["second", "first"]


def test_what_was_deleted_long_ago_leaves_the_file(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    said(history, "kept")
    history.delete(said(history, "removed"))
    monkeypatch.setattr(history_module, "UNDELETE_SECONDS", -1.0)
    again = History(history.path)
    left = [
        again._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("conversations", "turns", "words")
    ]
    again.close()
    assert left == [1, 1, 2]


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (lambda h, key: h.conversation("none"), "no such conversation"),
        (lambda h, key: h.rename("none", "title"), "no such conversation"),
        (lambda h, key: h.delete("none"), "no such conversation"),
        (lambda h, key: h.branch(key, "none"), "no such turn"),
        (lambda h, key: h.save_turn(Turn(id="t", conversation="none", question="?")), "no such conversation"),
    ],
)
def test_what_is_not_there_is_told(history: History, act: object, what: str) -> None:
    key = said(history, "question")
    with pytest.raises(HistoryError, match=what):
        act(history, key)  # type: ignore[operator]
    assert titles(history) == ["question"], "and nothing was changed"


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("eggs", True),
        ("EGGS boxes", True),
        ("gg", True),
        ("7 12", True),
        (r"\frac{1}{2}", True),
        ('"quoted"', True),
        ("100%", True),
        ("%", True),
        ("да", True),
        ("НЕТ", True),
        ("_", False),
        ("eggs trains", False),
        ("NOT eggs", False),
        ("eggs OR trains", False),
        ("日本", True),
        ("本語の問", True),
        ("   ", True),
        ("eggs\0", False),
        ("\ud800", False),
    ],
)
def test_a_search_is_taken_literally(history: History, search: str, found: bool) -> None:
    said(history, r'12 eggs, 7 boxes, $\frac{1}{2}$ of them "quoted", 100% 日本語の問題 Да или нет')
    assert bool(history.search(search)) is found


def test_replies_and_phases_are_searched_and_shown_around_the_find(history: History) -> None:
    key = said(history, "short", reply="begin " * 50 + "needle in here")
    history.save_turn(Turn(id=new_id(), conversation=key, question="?", phases=(Phase(name="solve", text="haystack"),)))
    (found,) = history.search("needle")
    assert "needle in here" in found.excerpt and found.excerpt.startswith("…")
    assert [found.conversation.id for found in history.search("haystack")] == [key]


@given(text=st.text(max_size=60))
@example(text='") OR ("')
@example(text="a* NEAR(b c) ^d -e :f {g}")
@example(text="text: x")
def test_whatever_was_said_is_found_by_its_words_and_nothing_breaks(text: str) -> None:
    history = History(Path("/dev/null/none"))
    try:
        key = said(history, "ordinary")
        history.search(text)
        history.save_turn(Turn(id=new_id(), conversation=key, question=text))
        assert [found.conversation.id for found in history.search(text)] == [key]
    finally:
        history.close()


def test_many_threads_may_save(history: History) -> None:
    keys = [history.create().id for _ in range(8)]

    def save(key: str) -> None:
        for number in range(20):
            history.save_turn(Turn(id=f"{key}-{number}", conversation=key, question=f"question {number}"))
            assert history.search(f"question {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, keys))
    assert [found.turns for found in history.search()] == [20] * 8


@pytest.mark.speed
def test_a_thousand_conversations_are_listed_quickly(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    for i in range(1000):
        said(history, f"question {i}", reply="Step 1: 12 x 7 = 84\n" * 20)
    history.close()
    began = time.process_time()
    history = History(tmp_path / "history.db")
    listed = history.search()
    seconds = time.process_time() - began
    history.close()
    assert len(listed) == 1000 and seconds < 0.3, seconds
