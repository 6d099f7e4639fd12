"""A phase of a card: a title with live numbers, and what it wrote under it, folded or not."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from tui.widgets.growing import Growing


@dataclass(slots=True)
class Pace:
    """How fast a phase goes, while it does: the prompt is read, then tokens come."""

    tokens: int = 0
    began: float = field(default_factory=time.monotonic)

    def count(self, tokens: int) -> None:
        if not self.tokens:
            self.began = time.monotonic()
        self.tokens += tokens

    def text(self) -> str:
        """For example `reading, 3 s`, then `120 tokens, 45/s, 2.7 s`."""
        seconds = time.monotonic() - self.began
        return numbers(self.tokens, seconds) if self.tokens else f"reading, {seconds:.0f} s"


def numbers(tokens: int, seconds: float) -> str:
    """For example `120 tokens, 45/s, 2.7 s`; no rate of what took no time."""
    rate = f", {tokens / seconds:,.0f}/s" if seconds > 0.05 else ""
    return f"{tokens:,} token{'s' * (tokens != 1)}{rate}, {seconds:.1f} s"


class PhaseTitle(Static, can_focus=True):
    """Enter folds what stands under it, as a click does."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    PhaseTitle { width: 1fr; height: 1; color: $text-primary; text-style: bold; pointer: pointer; }
    PhaseTitle:hover { background: $block-hover-background; }
    PhaseTitle:focus { background: $block-cursor-background; color: $block-cursor-foreground; }
    """
    BINDINGS = [Binding("enter,space", "fold", "Fold")]

    def on_click(self) -> None:
        self.action_fold()

    def action_fold(self) -> None:
        box = self.parent
        assert isinstance(box, PhaseBox)
        box.folded = not box.folded


class PhaseBox(Vertical, Growing):
    """`name` says which phase of its card it is."""

    DEFAULT_CSS = """
    PhaseBox { height: auto; }
    PhaseBox > .phase--body { margin-left: 2; }
    PhaseBox.-folded > .phase--body { display: none; }
    """
    folded: reactive[bool] = reactive(False, init=False)

    def __init__(self, name: str, heading: str, body: Widget, *, folded: bool = False) -> None:
        super().__init__(name=name)
        self.body, self._heading, self._detail = body, heading, ""
        self._title = PhaseTitle()
        body.add_class("phase--body")
        self.set_reactive(PhaseBox.folded, folded)
        self.set_class(folded, "-folded")

    def compose(self) -> ComposeResult:
        yield self._title
        yield self.body

    def on_mount(self) -> None:
        self._show_title()

    def tell(self, detail: str) -> None:
        """What stands beside the heading: numbers, a verdict."""
        if detail != self._detail:
            self._detail = detail
            self._show_title()

    def watch_folded(self, folded: bool) -> None:
        self.set_class(folded, "-folded")
        self._show_title()

    def _show_title(self) -> None:
        """Its size stays the same: no new layout for numbers that change all the time."""
        detail = (f"  {self._detail}", "not bold dim")
        self._title.update(Content.assemble(f"{'▾▸'[self.folded]} {self._heading}", detail), layout=False)
