"""One problem of a run, as it went."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Label, Static

from score_local.commands.show import story
from score_local.trace import Trace
from tui.literal import literal, one_line

TITLE_WIDTH = 60


class TraceScreen(Screen[None]):
    """Question, solution, verdict, critique, refinement and answer, to be read."""

    CSS_PATH = "screens.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def compose(self) -> ComposeResult:
        yield Label(Content(f"Problem {one_line(self._trace.id, TITLE_WIDTH)}"), classes="title")
        with VerticalScroll(classes="form"):
            text = "\n".join([self._trace.question, "", *story(self._trace)])
            yield Static(literal(text), markup=False)
        yield Footer()
