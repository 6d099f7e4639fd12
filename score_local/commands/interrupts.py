"""Ctrl-C, once: what runs is finished. Twice: what runs is cancelled. Either way the run can be resumed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

STOPPING = "finishing what runs; Ctrl-C again cancels it"


@dataclass
class Interrupts:
    """How often the user has interrupted."""

    count: int = 0


@contextmanager
def interrupts(stop: Callable[[], None], abort: Callable[[], None], told: str = STOPPING) -> Iterator[Interrupts]:
    """While in the context, the first SIGINT (or SIGTERM) calls `stop` and says `told`, the second calls `abort`. Main
    thread only."""
    seen = Interrupts()

    def handle(number: int, frame: FrameType | None) -> None:
        seen.count += 1
        if seen.count == 1:
            stop()  # first: whoever reads stderr may have died of the same Ctrl-C
            with suppress(OSError):
                print(f"score-local: {told}", file=sys.stderr, flush=True)
        else:
            abort()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
