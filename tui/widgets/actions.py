"""What the person may do with a card that is done, as buttons; each has a key of the card, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Button

from tui.records import Turn

BUTTONS = {
    "accept": "a Keep first",
    "refine": "r Refine",
    "hint": "h Hint",
    "seed": "s Another seed",
    "vote": "v Vote",
}


class Actions(Horizontal):
    """Shown on a problem that has a solution."""

    DEFAULT_CSS = """
    Actions { height: 1; }
    Actions > Button { min-width: 1; margin-right: 1; }
    """

    @dataclass
    class Chosen(Message):
        """A button was pressed."""

        what: Any

    def compose(self) -> ComposeResult:
        for what, label in BUTTONS.items():
            yield Button(Content(label), name=what, compact=True)

    def show(self, turn: Turn) -> None:
        self.set_class(turn.kind == "problem" and turn.state != "running", "-told")
        solved = turn.trace is not None and turn.trace.initial is not None
        for button in self.query(Button):
            button.disabled = not solved and button.name in ("accept", "refine", "hint")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.post_message(self.Chosen(event.button.name))
