"""What the app must reach, on a machine that has time to measure it. `python -m tests.tui.speed` prints the figures."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from textual.geometry import Size
from textual.screen import Screen

from tests.tui import speed
from tests.tui.chat import Chat, chat
from tui.widgets.prose import Prose


@pytest.mark.speed
def test_the_first_screen_is_there_at_once(tmp_path: Path) -> None:
    assert statistics.median(speed.first_paint(tmp_path) for _ in range(3)) < 0.5


@pytest.mark.speed
def test_keys_are_drawn_and_cancel_is_heard_while_a_reply_streams(tmp_path: Path) -> None:
    measured = speed.streaming(tmp_path)
    assert speed.percentile(measured.keys, 0.95) < 0.05  # two cores gave 0.019, 0.037 and 0.018
    assert measured.cancel < 0.2


@pytest.mark.speed
def test_drawing_costs_the_engine_little(tmp_path: Path) -> None:
    alone, shown = speed.engine_rate(tmp_path)
    assert shown > 0.95 * alone  # two cores gave 0.964, 0.966 and 0.972


def test_a_piece_of_text_costs_one_layout_and_keeps_the_scrollbar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts: list[bool] = []
    lay_out = Screen._refresh_layout

    def counted(screen: Screen[None], size: Size | None = None, scroll: bool = False) -> None:
        layouts.append(scroll)
        lay_out(screen, size, scroll)

    async def act(app: Chat) -> None:
        card = await app.ask("hello")
        prose = card.query_one(Prose)
        prose.become("one\n" * 60)
        await app.pilot.pause(0.2)
        assert app.screen.query_one("#cards").show_vertical_scrollbar
        layouts.clear()
        for count in range(10):
            prose.grow(f"a new line {count}\n")
            await app.pilot.pause(0.1)
        assert len(layouts) <= 13, "one each, and what the clock may add"
        assert "a new line 9" in app.text

    monkeypatch.setattr(Screen, "_refresh_layout", counted)
    chat(tmp_path, act)


def test_a_long_reply_costs_no_more_per_token_than_a_short_one(tmp_path: Path) -> None:
    fifths = speed.long_reply(tmp_path)
    assert fifths[-1] < 2 * fifths[1], "processor time; what grows with the length would be three times as much"
