"""What the app knows and can do, for its screens: history, policy, model, engine.

Textual-free, so that a test builds one with a scripted engine. It does not know what is on the screen; `notify` tells
the person something, whatever is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from score_local.engine.protocol import Engine
from score_local.policy import Policy

if TYPE_CHECKING:
    from tui.history import History

OpenEngine = Callable[[Path, Mapping[str, Path]], Engine]
CONTEXT = 2048  # as for `solve` and `batch`
CHUNK = 2**24  # bytes read between two tellings of a load's progress


class Notify(Protocol):
    """Tells the person something; `severity` is information, warning or error."""

    def __call__(self, text: str, severity: str = "information") -> None: ...


class Services:
    """`policy_path` is where the settings are written; `model` is None until one is loaded. `context` is how many tokens
    a sequence of the engines that `open_engine` opens can hold: a batch's manifest names it."""

    def __init__(
        self,
        history: History,
        policy: Policy,
        policy_path: Path,
        open_engine: OpenEngine,
        notify: Notify,
        context: int = CONTEXT,
    ) -> None:
        self.history, self.policy, self.policy_path, self.notify = history, policy, policy_path, notify
        self.context = context
        self.model: Path | None = None
        self.adapters: Mapping[str, Path] = {}
        self._open = open_engine
        self._engine: Engine | None = None

    def engine(self) -> Engine | None:
        """The engine that is loaded; None before the first load and after one that failed."""
        return self._engine

    async def load(
        self, model: Path, adapters: Mapping[str, Path], progress: Callable[[float], None] = lambda share: None
    ) -> None:
        """Replaces the engine, off the UI thread. `progress` hears the share that is read, from 0 to 1.

        Raises UserError where the model cannot be loaded; there is then no engine, for there was no room for two.
        """
        await asyncio.to_thread(self.close)
        loop = asyncio.get_running_loop()
        tell = lambda share: loop.call_soon_threadsafe(progress, share)  # noqa: E731
        self._engine = await asyncio.to_thread(self._load, model, adapters, tell)
        self.model, self.adapters = model, adapters

    def close(self) -> None:
        """Cancels what runs and frees the model. Blocks for one micro-batch."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _load(self, model: Path, adapters: Mapping[str, Path], progress: Callable[[float], None]) -> Engine:
        read_through(model, progress)
        return self._open(model, adapters)


def read_through(file: Path, progress: Callable[[float], None]) -> None:
    """Reads a file into the page cache, where llama.cpp's memory map finds it: the part of a load that can be told.

    Tells nothing of a file that cannot be read: the engine then says why.
    """
    try:
        size, done = max(1, file.stat().st_size), 0
        with file.open("rb", buffering=0) as source:
            while piece := source.read(CHUNK):
                done += len(piece)
                progress(done / size)
    except OSError:
        return
