"""Rename and export of the conversation on the screen, from the command palette."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.chat import PROBLEM, Chat, chat


async def command(talking: Chat, name: str) -> None:
    """Chooses a command of the palette."""
    await talking.press("ctrl+p")
    await talking.until(lambda: talking.app.screen.is_modal)
    await talking.type(name)
    await talking.until(lambda: f"{name} this conversation" in talking.text)
    await talking.press("enter")


def test_a_new_title_is_shown_and_kept(tmp_path: Path) -> None:
    async def act(talking: Chat) -> None:
        await talking.ask(PROBLEM)
        await command(talking, "Rename")
        await talking.until(lambda: "A new title" in talking.text)
        await talking.type("Eggs")
        await talking.press("enter")
        await talking.until(lambda: talking.app.screen is talking.screen and talking.text.startswith(" Eggs\n"))
        assert [found.conversation.title for found in talking.app.services.history.search()] == ["Eggs"]

    chat(tmp_path, act)


def test_a_title_changed_in_the_history_is_shown(tmp_path: Path) -> None:
    async def act(talking: Chat) -> None:
        await talking.ask(PROBLEM)
        await talking.press("f3")
        await talking.until(lambda: "last used" in talking.text and PROBLEM in talking.text)
        await talking.press("r")
        await talking.until(lambda: "A new title" in talking.text)
        await talking.type("Eggs")
        await talking.press("enter")
        await talking.until(lambda: " Eggs " in talking.text)
        await talking.press("escape")
        await talking.until(lambda: talking.text.startswith(" Eggs\n"))

    chat(tmp_path, act)


def test_the_conversation_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def act(talking: Chat) -> None:
        await command(talking, "Export")
        await talking.until(lambda: "Nothing has been said yet" in talking.text)
        await talking.ask(PROBLEM)
        await command(talking, "Export")
        await talking.until(lambda: "Export to a file" in talking.text)
        await talking.type("eggs.jsonl")
        await talking.press("enter")
        await talking.until(Path("eggs.jsonl").exists)

    chat(tmp_path, act)
    assert PROBLEM in Path("eggs.jsonl").read_text()


def test_a_file_that_exists_is_replaced_only_after_a_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = Path("mine.md")
    kept.write_text("precious")

    async def answer(talking: Chat, *keys: str) -> None:
        await talking.until(lambda: "mine.md exists already. Replace it?" in talking.text)
        await talking.press(*keys)

    async def act(talking: Chat) -> None:
        await talking.ask(PROBLEM)
        await command(talking, "Export")
        await talking.until(lambda: "Export to a file" in talking.text)
        await talking.type("mine.md")
        await talking.press("enter")
        await answer(talking, "n")
        await talking.until(lambda: "Export to a file" in talking.text and "mine.md" in talking.text)
        assert kept.read_text() == "precious"
        await talking.press("enter")
        await answer(talking, "y")
        await talking.until(lambda: "precious" not in kept.read_text())

    chat(tmp_path, act)
    assert PROBLEM in kept.read_text()
