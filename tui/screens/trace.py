"""One problem of a run, as a card to be read; what a person may do with a card is done in a conversation."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Label

from tui.literal import one_line
from tui.records import Turn
from tui.widgets.card import Card

TITLE_WIDTH = 60


class TraceScreen(Screen[Turn | None]):
    """Ends with the turn, where the person wants to go on with it; None: it was only read."""

    CSS_PATH = "screens.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "open", "Open in a conversation"),
        Binding("escape", "dismiss(None)", "Back"),
    ]

    def __init__(self, turn: Turn, gate: float) -> None:
        super().__init__()
        self._turn, self._gate = turn, gate

    def compose(self) -> ComposeResult:
        name = self._turn.trace.id if self._turn.trace else ""
        yield Label(Content(f"Problem {one_line(name, TITLE_WIDTH)}"), classes="title")
        with VerticalScroll():
            yield Card(self._turn, self._gate)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.query_one(Card).focus()

    @on(Card.Wanted)
    def _wanted(self) -> None:
        self.notify("o opens it in a conversation, where that can be done")

    def action_open(self) -> None:
        self.dismiss(self._turn)
