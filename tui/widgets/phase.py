"""A phase of a card: a title with live numbers, and what it wrote under it, folded or not."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Collapsible


@dataclass(slots=True)
class Pace:
    """How fast a phase goes, while it does."""

    tokens: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self.began, 1e-6)

    def text(self) -> str:
        """For example `120 tokens, 45/s`."""
        return numbers(self.tokens, self.seconds) if self.tokens else "reading"


def numbers(tokens: int, seconds: float) -> str:
    """For example `120 tokens, 45/s, 2.7 s`."""
    rate = f", {tokens / seconds:,.0f}/s" if seconds > 0 else ""
    return f"{tokens:,} tokens{rate}, {seconds:.1f} s"


class PhaseBox(Collapsible):
    """`name` says which phase of its card it is. Its title is focusable: Enter folds it, as a click does."""

    DEFAULT_CSS = """
    PhaseBox { border-top: none; padding: 0; background: transparent; }
    PhaseBox:focus-within { background-tint: transparent; }
    PhaseBox > CollapsibleTitle { padding: 0; color: $text-primary; text-style: bold; }
    PhaseBox > Contents { padding: 0 0 0 2; }
    """

    def __init__(
        self, name: str, heading: str, body: Widget, *, folded: bool = False, ascii_only: bool = False
    ) -> None:
        closed, opened = (">", "v") if ascii_only else ("▸", "▾")
        super().__init__(body, title="", collapsed=folded, collapsed_symbol=closed, expanded_symbol=opened, name=name)
        self.body, self._heading = body, heading
        self.tell("")

    def tell(self, detail: str) -> None:
        """What stands beside the heading: numbers, a verdict."""
        parts = [self._heading] + ([(f"  {detail}", "not bold dim")] if detail else [])
        self._title.label = Content.assemble(*parts)
