"""One line of live numbers: what runs and how fast, context, memory, model, adapters, threshold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil
from textual.content import Content
from textual.widgets import Static

from tui.literal import one_line

NARROW = 60  # columns below which only what changes is shown


@dataclass(frozen=True, slots=True)
class Numbers:
    """`context` is the tokens of the last sequence, of at most `room`; `pace` is empty where nothing runs."""

    model: Path | None
    adapters: tuple[str, ...]
    gate: float
    context: int
    room: int
    phase: str = ""
    pace: str = ""
    loading: float | None = None


class Status(Static):
    """Nothing of it is known before the first `tell`."""

    DEFAULT_CSS = "Status { height: 1; background: $panel; color: $text-muted; padding: 0 1; }"

    def __init__(self) -> None:
        super().__init__("", markup=False)
        self._process = psutil.Process()

    def tell(self, numbers: Numbers) -> None:
        line = Content("  ").join(Content.assemble(part) for part in self._parts(numbers))
        self.update(line, layout=False)

    def _parts(self, numbers: Numbers) -> list[tuple[str, str]]:
        parts = [(f"{numbers.phase} {numbers.pace}", "$text-primary")] if numbers.phase else []
        if numbers.loading is not None:
            parts.append(
                (f"loading {numbers.loading:.0%}" if numbers.loading < 1 else "loading: starting", "$text-warning")
            )
        name = one_line(numbers.model.name, 28) if numbers.model else "no model"
        parts.append((name, "bold"))
        if self.size.width < NARROW:
            return parts
        if numbers.adapters:
            parts.append(("+ " + ", ".join(numbers.adapters), ""))
        megabytes = self._process.memory_info().rss / 2**20
        if numbers.context:
            parts.append((f"context {numbers.context:,}/{numbers.room:,}", ""))
        return [*parts, (f"{megabytes:,.0f} MB", ""), (f"threshold {numbers.gate:.2f}", "")]
