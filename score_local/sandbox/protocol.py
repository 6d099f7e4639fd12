"""What is asked of a sandbox and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["value", "syntax", "forbidden", "timeout", "memory", "error"]
OUTCOMES: tuple[Outcome, ...] = ("value", "syntax", "forbidden", "timeout", "memory", "error")


@dataclass(frozen=True, slots=True)
class RunProgram:
    """Run a program that defines `solution()`; answered by `Ran`."""

    source: str
    phase: Literal["verify"] = "verify"


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a program: its value as text, or why there is none, in one line."""

    outcome: Outcome
    text: str

    @property
    def value(self) -> str | None:
        """What `solution()` returned, as text; None where it did not get there."""
        return self.text if self.outcome == "value" else None
