"""Fetches a model while the person watches, and stops when told; what came is kept, and the next pull continues it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from score_local.catalog import find_entry, pull


class Stopped(Exception):
    """The person stopped the pull."""


class Pull:
    """One download. `run` blocks; `stop` may be called from any thread and takes effect with the next piece."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stop = threading.Event()

    def run(self, progress: Callable[[int, int], None]) -> Path:
        """The file. `progress` hears bytes done and bytes in all (0: unknown). Raises Stopped or ModelError."""

        def tell(done: int, total: int) -> None:
            if self._stop.is_set():
                raise Stopped
            progress(done, total)

        return pull(find_entry(self._name), tell)

    def stop(self) -> None:
        self._stop.set()
