"""The history: search, open, rename, branch, delete and undo."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, TypeVar

from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Footer, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from score_local.errors import HistoryError
from tui.history import Found, History
from tui.literal import literal, one_line
from tui.records import Conversation, Turn
from tui.screens.keeping import export_to_file, rename
from tui.screens.table import Column, LiteralTable
from tui.services import Services

T = TypeVar("T")
COLUMNS = (Column("title"), Column("turns", 5), Column("last used", 16))
CARD_WIDTH = 120


class HistoryScreen(Screen[str | None]):
    """Ends with the id of the conversation to open; None where none was chosen."""

    CSS_PATH = "screens.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "focus('#search')", "Search", key_display="/"),
        Binding("r", "rename", "Rename"),
        Binding("b", "branch", "Branch"),
        Binding("x", "export", "Export"),
        Binding("d,delete", "delete", "Delete"),
        Binding("u", "undo", "Undo"),
        Binding("escape", "leave", "Close"),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._history = services.history
        self._found: dict[str, Found] = {}

    def compose(self) -> ComposeResult:
        yield Label(Content("History"), classes="title")
        yield Input(placeholder="search what was asked and answered", id="search", compact=True)
        yield LiteralTable(COLUMNS, id="conversations")
        yield Static(id="detail", markup=False)
        yield Static(literal(self._history.notice), id="told", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one(LiteralTable).focus()
        self._list()

    @on(Input.Changed, "#search")
    def _search(self) -> None:
        self._list()

    @on(Input.Submitted, "#search")
    def _to_list(self) -> None:
        self.query_one(LiteralTable).focus()

    @on(DataTable.RowSelected)
    def _open(self, event: DataTable.RowSelected) -> None:
        self.dismiss(event.row_key.value)

    @on(DataTable.RowHighlighted)
    def _show_excerpt(self, event: DataTable.RowHighlighted) -> None:
        found = self._found.get(event.row_key.value or "")
        if found:
            self.query_one("#detail", Static).update(literal(found.excerpt))

    def action_leave(self) -> None:
        """Out of the search first, if one is on."""
        search = self.query_one("#search", Input)
        if search.value:
            search.value = ""
            self.query_one(LiteralTable).focus()
        else:
            self.dismiss(None)

    @work
    async def action_rename(self) -> None:
        await self._ask(rename)

    @work
    async def action_export(self) -> None:
        await self._ask(export_to_file)

    async def _ask(self, ask: Callable[[App[Any], History, Conversation], Awaitable[None]]) -> None:
        found = self._selected()
        if found is None:
            return
        try:
            await ask(self.app, self._history, found.conversation)
        except HistoryError as error:
            self.notify(str(error), severity="error", markup=False)
        self._list()

    @work
    async def action_branch(self) -> None:
        found = self._selected()
        if found is None:
            return
        turns = await self._tried(lambda: self._history.turns(found.conversation.id))
        turn = await self.app.push_screen_wait(ChooseCard(turns)) if turns else None
        if turn is None:
            return
        child = await self._tried(lambda: self._history.branch(found.conversation.id, turn))
        if child:
            self.dismiss(child.id)

    @work
    async def action_delete(self) -> None:
        found = self._selected()
        if found is None:
            return
        deleted = await self._tried(lambda: self._history.delete(found.conversation.id))
        if deleted:
            self.notify(f"{deleted.title}: deleted. u brings it back", markup=False)
        self._list()

    @work
    async def action_undo(self) -> None:
        restored = await self._tried(self._history.undo)
        self.notify(f"{restored.title}: back again" if restored else "Nothing to bring back", markup=False)
        self._list()

    @work(exclusive=True, group="list")
    async def _list(self) -> None:
        text = self.query_one("#search", Input).value
        listed = await self._tried(lambda: self._history.search(text))
        if listed is not None:
            self._found = {found.conversation.id: found for found in listed}
            if not listed:
                self.query_one("#detail", Static).update("")
            self.query_one(LiteralTable).fill((key, _row(found)) for key, found in self._found.items())

    def _selected(self) -> Found | None:
        return self._found.get(self.query_one(LiteralTable).selected or "")

    async def _tried(self, act: Callable[[], T]) -> T | None:
        """What the history answers, asked beside the screen; None where it cannot, which is told."""
        try:
            return await asyncio.to_thread(act)
        except HistoryError as error:
            self.notify(str(error), severity="error", markup=False)
            return None


class ChooseCard(ModalScreen[str | None]):
    """The turns of a conversation, to branch it at one."""

    CSS_PATH = "screens.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Leave it")]

    def __init__(self, turns: Sequence[Turn]) -> None:
        super().__init__()
        self._turns = turns

    def compose(self) -> ComposeResult:
        options = [Option(Content(_card(turn)), id=turn.id) for turn in self._turns]
        with Vertical(classes="dialog"):
            yield Label(Content("Branch after which card?"))
            yield OptionList(*options, compact=True)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)


def _row(found: Found) -> tuple[str, ...]:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.conversation.updated))
    return (found.conversation.title or "(nothing was asked)", str(found.turns), when)


def _card(turn: Turn) -> str:
    answer = f" → {turn.answer}" if turn.answer else ""
    return one_line(turn.question + answer, CARD_WIDTH)
