"""What more than one screen asks of a conversation that is kept: another title, a file."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from textual.app import App

from tui.export import export, file_name
from tui.history import History
from tui.records import Conversation
from tui.screens.dialogs import AskText


async def rename(app: App[Any], history: History, conversation: Conversation) -> None:
    """Asks for a title. Raises HistoryError."""
    title = await app.push_screen_wait(AskText("A new title", conversation.title))
    if title:
        await asyncio.to_thread(history.rename, conversation.id, title)


async def export_to_file(app: App[Any], history: History, conversation: Conversation) -> None:
    """Asks for a file and writes it. Raises HistoryError."""
    title = "Export to a file: .md, or .jsonl with everything"
    name = await app.push_screen_wait(AskText(title, file_name(conversation)))
    if name:
        path = Path(name).expanduser()
        turns = await asyncio.to_thread(history.turns, conversation.id)
        await asyncio.to_thread(export, path, conversation, turns)
        app.notify(f"Written: {path}", markup=False)
