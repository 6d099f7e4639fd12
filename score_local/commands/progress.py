"""How a batch tells how far it is: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from score_local.trace import Trace

PLAIN_INTERVAL = 10.0  # seconds between two lines where stderr is no terminal


@dataclass
class Tally:
    """What is known so far, of the problems of this session."""

    total: int
    done: int = 0
    graded: int = 0
    initial: int = 0
    final: int = 0
    failed: int = 0
    began: float = field(default_factory=time.monotonic)

    def count(self, trace: Trace) -> None:
        self.done += 1
        self.failed += trace.status == "failed"
        if trace.gold is not None:
            self.graded += 1
            self.initial += trace.initial_correct is True
            self.final += trace.final_correct is True

    def line(self) -> str:
        """For example `31/60 done, 214 an hour, 8 min left, initial 25.8%, final 29.0%`."""
        return ", ".join(part for part in (self.pace(), self.score()) if part)

    def pace(self) -> str:
        """How many are done, how fast, and how long the others will take."""
        seconds = max(time.monotonic() - self.began, 1e-6)
        parts = [f"{self.done}/{self.total} done", f"{3600 * self.done / seconds:,.0f} an hour"]
        if 0 < self.done < self.total:
            parts.append(f"{_duration(seconds / self.done * (self.total - self.done))} left")
        return ", ".join(parts)

    def score(self) -> str:
        """How many are right, of those with a gold answer, and how many failed; "" where there is nothing to say."""
        graded = (
            f"initial {self.initial / self.graded:.1%}, final {self.final / self.graded:.1%}" if self.graded else ""
        )
        failed = f"{self.failed} failed" if self.failed else ""
        return ", ".join(part for part in (graded, failed) if part)


class Progress(Protocol):
    def __enter__(self) -> Progress: ...
    def __exit__(self, *error: object) -> None: ...
    def ended(self, trace: Trace) -> None: ...


def progress_for(total: int) -> Progress:
    return BarProgress(total) if sys.stderr.isatty() else PlainProgress(total)


class PlainProgress:
    """One line every PLAIN_INTERVAL seconds, and one at the end."""

    def __init__(self, total: int) -> None:
        self._tally = Tally(total)
        self._told = time.monotonic()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *error: object) -> None:
        print(self._tally.line(), file=sys.stderr, flush=True)

    def ended(self, trace: Trace) -> None:
        self._tally.count(trace)
        if time.monotonic() - self._told >= PLAIN_INTERVAL:
            self._told = time.monotonic()
            print(self._tally.line(), file=sys.stderr, flush=True)


class BarProgress:
    """A bar that is redrawn in place."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._tally = Tally(total)
        self._bar = Progress(BarColumn(bar_width=24), TextColumn("{task.description}"), console=Console(stderr=True))
        self._task: Any = self._bar.add_task(self._tally.line(), total=total)

    def __enter__(self) -> BarProgress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def ended(self, trace: Trace) -> None:
        self._tally.count(trace)
        self._bar.update(self._task, completed=self._tally.done, description=self._tally.line())


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
