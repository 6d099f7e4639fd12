"""What more than one screen asks of a conversation that is kept: another title, a file."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from textual.app import App

from tui.export import export, free_name
from tui.history import History
from tui.records import Conversation
from tui.screens.dialogs import AskText, Confirm
from tui.typed import path_of

EXPORT = "Export to a file: .md, or .jsonl with everything"


async def rename(app: App[Any], history: History, conversation: Conversation) -> None:
    """Asks for a title. Raises HistoryError."""
    title = await app.push_screen_wait(AskText("A new title", conversation.title))
    if title:
        await asyncio.to_thread(history.rename, conversation.id, title)


async def export_to_file(app: App[Any], history: History, conversation: Conversation) -> None:
    """Asks for a file and writes it. Raises HistoryError."""
    path = await _ask_file(app, free_name(conversation, Path()))
    if path:
        turns = await asyncio.to_thread(history.turns, conversation.id)
        await asyncio.to_thread(export, path, conversation, turns)
        app.notify(f"Written: {path}", markup=False)


async def _ask_file(app: App[Any], proposed: str) -> Path | None:
    """A file that is not there, or that may be replaced; None where the person leaves it."""
    while name := await app.push_screen_wait(AskText(EXPORT, proposed)):
        path, proposed = path_of(name), name
        if not os.path.lexists(path) or os.path.isdir(path):  # what a folder is good for, the export tells
            return path
        if await app.push_screen_wait(Confirm(f"{path} exists already. Replace it?", "Replace it")):
            return path
    return None
