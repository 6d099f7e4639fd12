"""A bare app that shows one screen, driven by keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen

from score_local.engine.protocol import Engine
from score_local.policy import Policy
from tui.history import History
from tui.services import Services

Act = Callable[[Pilot[None]], Awaitable[None]]
STILL_OPEN = object()
PATIENCE = 60.0  # seconds; a busy machine is slow


class Host(App[None]):
    """`result` is what the screen was dismissed with."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, first: Screen[Any]) -> None:
        super().__init__()
        self._first, self.result = first, STILL_OPEN

    def on_mount(self) -> None:
        self.push_screen(self._first, self._keep)

    def _keep(self, result: Any) -> None:
        self.result = result


def drive(screen: Screen[Any], act: Act, size: tuple[int, int] = (80, 24)) -> Any:
    """Shows the screen, lets `act` press keys; what the screen ended with (STILL_OPEN: it has not)."""

    async def main() -> Any:
        host = Host(screen)
        async with host.run_test(size=size, notifications=True) as pilot:
            await pilot.pause()
            await act(pilot)
            await pilot.pause()
        return host.result

    return asyncio.run(main())


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Waits until a worker has done what the test looks for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while not condition():
        assert loop.time() < deadline, "it did not happen"
        await pilot.pause(0.02)
    await pilot.pause()


def services(folder: Path, engine: Engine | None = None, policy: Policy | None = None) -> Services:
    """With a history in `folder`, and an engine that is loaded."""

    def no_other(*_: object) -> Engine:
        raise AssertionError("no model is to be loaded")

    made = Services(
        History(folder / "history.db"), policy or Policy(), folder / "policy.toml", no_other, lambda *_: None
    )
    if engine:
        made._engine, made.model = engine, folder / "model.gguf"
        made.model.write_bytes(b"GGUF")
    return made
