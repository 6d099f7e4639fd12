"""How a conversion tells how far it is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Told = Callable[[int, int], None]
"""Is told (done, in all)."""
REDRAW = 0.1  # seconds
PLAIN_INTERVAL = 1.0  # seconds between two lines where stderr is no terminal


@contextmanager
def progress(title: str, unit: Literal["bytes", "tensors", "chunks", "texts", "steps"]) -> Iterator[Told]:
    """Shows `title`, how much is done, how fast, and how long it will take."""
    began = time.monotonic()
    if not sys.stderr.isatty():
        yield _lines(title)
    else:
        yield from _bar(title, unit)
    print(f"{title}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)


def _lines(title: str) -> Told:
    told = [time.monotonic()]

    def tell(done: int, total: int) -> None:
        if total and time.monotonic() - told[0] >= PLAIN_INTERVAL:
            told[0] = time.monotonic()
            print(f"{title}: {done / total:.0%}", file=sys.stderr, flush=True)

    return tell


def _bar(title: str, unit: str) -> Iterator[Told]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amount = (DownloadColumn(), TransferSpeedColumn()) if unit == "bytes" else (MofNCompleteColumn(), TextColumn(unit))
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), *amount, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, told = bar.add_task(title, total=None), [0.0]

        def tell(done: int, total: int) -> None:
            if time.monotonic() - told[0] >= REDRAW or done >= total:
                told[0] = time.monotonic()
                bar.update(task, completed=done, total=total or None)

        yield tell
