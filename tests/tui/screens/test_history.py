"""The history screen, by its keys."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from tests.tui.host import STILL_OPEN, drive, services, until
from tests.tui.snapshots import assert_looks_as_before, screen_text
from tui.history import History
from tui.records import Turn, new_id
from tui.screens.history import HistoryScreen
from tui.screens.table import LiteralTable

QUESTIONS = ("12 eggs in 7 boxes?", "A train [bold]travels[/] \x1b[31m60 km", "日本語の問題", "What is 3 + 3?")
NOON = 1_790_000_000.0


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HistoryScreen:
    """Four conversations of two turns; the last question is listed first."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    clock = iter(range(1000))
    monkeypatch.setattr(time, "time", lambda: NOON + 60 * next(clock))
    made = services(tmp_path)
    for question in QUESTIONS:
        key = made.history.create().id
        for text in (question, "and then?"):
            made.history.save_turn(Turn(id=new_id(), conversation=key, question=text, reply="84", answer="84"))
    return HistoryScreen(made)


async def listed(pilot: Pilot[None], count: int) -> None:
    await until(pilot, lambda: pilot.app.screen.query_one(LiteralTable).row_count == count)


def titles(history: History) -> list[str]:
    return [found.conversation.title for found in history.search()]


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_it_looks_as_before(screen: HistoryScreen, size: tuple[int, int]) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot, 4)
        assert_looks_as_before(pilot.app, f"history-{size[0]}")

    drive(screen, act, size)


def test_enter_opens_what_the_cursor_is_on(screen: HistoryScreen) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot, 4)
        await pilot.press("down", "enter")

    opened = drive(screen, act)
    assert screen._history.conversation(opened).title == QUESTIONS[2]


def test_a_search_narrows_the_list_and_escape_leaves_it_then_the_screen(screen: HistoryScreen) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot, 4)
        await pilot.press("slash", *"train")
        await listed(pilot, 1)
        assert "A train [bold]travels[/] ␛[31m60 km" in screen_text(pilot.app), "shown, not obeyed"
        await pilot.press("escape")
        await listed(pilot, 4)
        assert pilot.app.screen.query_one(Input).value == ""
        await pilot.press("escape")

    assert drive(screen, act) is None


def test_what_was_found_is_shown_beneath(screen: HistoryScreen) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"boxes", "enter")
        await until(pilot, lambda: "7 boxes?" in str(pilot.app.screen.query_one("#detail", Static).render()))

    drive(screen, act)


def test_rename(screen: HistoryScreen) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot, 4)
        await pilot.press("r", "home", *"Sum: ", "enter")
        await until(pilot, lambda: "Sum: What is 3 + 3?" in screen_text(pilot.app))

    drive(screen, act)
    assert titles(screen._history)[0] == "Sum: What is 3 + 3?"


def test_branch_at_a_card_opens_the_branch(screen: HistoryScreen) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot, 4)
        await pilot.press("b")
        await until(pilot, lambda: "Branch after which card?" in screen_text(pilot.app))
        await pilot.press("enter")
        await until(pilot, lambda: not pilot.app.screen.is_modal and screen not in pilot.app.screen_stack)

    child = drive(screen, act)
    assert screen._history.conversation(child).parent is not None
    assert [turn.question for turn in screen._history.turns(child)] == [QUESTIONS[3]]


def test_export_writes_the_conversation(screen: HistoryScreen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot, 4)
        await pilot.press("x", "enter")
        await until(pilot, lambda: "Written: What-is-3-3.md" in screen_text(pilot.app))
        await pilot.press("x", "enter")
        await until(pilot, lambda: "Written: What-is-3-3-2.md" in screen_text(pilot.app))
        await pilot.press("x", "home", *"none/", "enter")
        await until(pilot, lambda: any("cannot be written" in told.message for told in pilot.app._notifications))

    drive(screen, act)
    for name in ("What-is-3-3.md", "What-is-3-3-2.md"):
        assert Path(name).read_text().startswith("# What is 3 + 3?")


def test_delete_and_undo(screen: HistoryScreen) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot, 4)
        await pilot.press("d")
        await listed(pilot, 3)
        await pilot.press("d")
        await listed(pilot, 2)
        await pilot.press("u", "u")
        await listed(pilot, 4)

    assert drive(screen, act) is STILL_OPEN
    assert len(titles(screen._history)) == 4


def test_a_locked_history_is_told_and_the_screen_lives(screen: HistoryScreen) -> None:
    screen._history._connection.execute("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(screen._history.path, isolation_level=None)

    async def act(pilot: Pilot[None]) -> None:
        await listed(pilot, 4)
        other.execute("BEGIN IMMEDIATE")
        await pilot.press("d")
        await until(pilot, lambda: "locked" in screen_text(pilot.app))
        other.execute("ROLLBACK")
        await pilot.press("d")
        await listed(pilot, 3)

    drive(screen, act)
    other.close()


def test_an_empty_history_is_no_trap(tmp_path: Path) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("enter", "r", "b", "d", "u", "slash", "a", "enter", "escape", "escape")

    assert drive(HistoryScreen(services(tmp_path)), act) is None


@pytest.mark.speed
def test_a_thousand_conversations_open_quickly(tmp_path: Path) -> None:
    made = services(tmp_path)
    for i in range(1000):
        key = made.history.create().id
        made.history.save_turn(Turn(id=new_id(), conversation=key, question=f"question {i}", reply="84"))
    seconds = []

    async def act(pilot: Pilot[None]) -> None:
        began = time.process_time()
        again = HistoryScreen(made)
        pilot.app.push_screen(again)
        while not (again.is_mounted and "question 999" in screen_text(pilot.app)):  # painted; others still come
            await asyncio.sleep(0.005)
        seconds.append(time.process_time() - began)

    drive(HistoryScreen(services(tmp_path / "other")), act)
    assert seconds[0] < 0.3
