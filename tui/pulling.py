"""Fetches a model while the person watches, and stops when told; what came is kept, and the next pull continues it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from score_local.catalog import find_entry, pull


class Stopped(Exception):
    """The person stopped the pull."""


class Pull:
    """One download. `stop` may be called from any thread and takes effect with the next piece, of some megabytes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stop = threading.Event()

    async def in_background(self, progress: Callable[[int, int], None]) -> Path:
        """`run` in a thread that an app which ends does not wait for: the next piece may be minutes away."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Path] = loop.create_future()

        def settle(end: Callable[[Any], None], result: object) -> None:
            if not done.done():  # nobody waits any more
                end(result)

        def work() -> None:
            end: Callable[[Any], None] = done.set_result
            result: object
            try:
                result = self.run(progress)
            except Exception as error:
                end, result = done.set_exception, error
            with suppress(RuntimeError):  # the app's loop is over
                loop.call_soon_threadsafe(settle, end, result)

        threading.Thread(target=work, name=f"pull-{self._name}", daemon=True).start()
        return await done

    def run(self, progress: Callable[[int, int], None]) -> Path:
        """The file. `progress` hears bytes done and bytes in all (0: unknown). Raises Stopped or ModelError."""

        def tell(done: int, total: int) -> None:
            if self._stop.is_set():
                raise Stopped
            progress(done, total)

        return pull(find_entry(self._name), tell)

    def stop(self) -> None:
        self._stop.set()
