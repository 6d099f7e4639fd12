"""Terminals that can do less: ASCII, no colours; and the texts that explain."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from tests.tui.chat import PROBLEM, Chat, chat
from tests.tui.snapshots import assert_looks_as_before
from tui.app import ScoreApp
from tui.commands import COMMANDS
from tui.screens.conversation import ConversationScreen
from tui.screens.help import HelpScreen
from tui.widgets.card import Card
from tui.widgets.prose import Prose


def test_ascii_only(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        await app.ask(PROBLEM)
        await app.ask("hello")
        for keys in ((), ("escape",), ("enter",), ("ctrl+p",)):
            await app.press(*keys)
            await app.pilot.pause(0.2)
            beyond = {character for character in app.text if not character.isascii()}
            assert not beyond, (keys, beyond)

    chat(tmp_path, act, ascii_only=True, size=(120, 60))


def test_without_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def act(app: Chat) -> None:
        await app.ask(PROBLEM)
        colours = set()
        for strip in app.app.screen._compositor.render_strips():
            for _, style, _ in strip:
                colours |= {colour.triplet for colour in (style.color, style.bgcolor) if colour} if style else set()
        assert all(triplet is None or len({*triplet}) == 1 for triplet in colours), "greys only"

    chat(tmp_path, act)


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_help(tmp_path: Path, size: tuple[int, int]) -> None:
    async def act(app: Chat) -> None:
        await app.press("f1")
        await app.until(lambda: "What is a problem" in app.text)
        await app.pilot.pause(0.3)
        assert_looks_as_before(app.app, f"help-{size[0]}")
        assert isinstance(app.app.screen, HelpScreen)
        await app.press("f1")
        await app.until(lambda: isinstance(app.app.screen, ConversationScreen))

    chat(tmp_path, act, size=size)


def test_the_help_names_every_command_and_key() -> None:
    text = resources.files("tui").joinpath("help.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"`{command} " in text
    for binding in [*Card.BINDINGS, *ScoreApp.BINDINGS]:
        for key in binding.key.split(","):  # type: ignore[union-attr]
            name = key.title() if len(key) > 1 else key
            assert name in text or name in ("F1", "Ctrl+Z"), f"{key} is not explained"


def test_another_theme_reaches_the_marks(tmp_path: Path) -> None:
    async def act(app: Chat) -> None:
        card = await app.ask(PROBLEM)
        prose = card.query(Prose).first()
        before = {style.color for strip in prose._lines for _, style, _ in strip if style}
        app.app.theme = "textual-light"
        await app.until(lambda: {style.color for strip in prose._lines for _, style, _ in strip if style} != before)

    chat(tmp_path, act)
