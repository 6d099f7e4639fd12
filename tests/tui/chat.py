"""The whole app over a scripted engine, driven by keys."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from score_local.engine.protocol import Engine, Request, Score
from score_local.engine.scripted import Script, ScriptedEngine
from score_local.policy import load_policy
from tests.tui.host import until
from tests.tui.snapshots import screen_text
from tui.app import ScoreApp, Setup
from tui.history import History
from tui.screens.conversation import ConversationScreen
from tui.widgets.card import Card
from tui.widgets.prompt import Prompt

Act = Callable[["Chat"], Awaitable[None]]

PROBLEM = "A box holds 12 eggs. How many eggs do 7 boxes hold?"
WRONG = "Step 1: There are 7 boxes of 12 eggs.\nStep 2: 12 \\times 7 = 74 eggs.\n\\boxed{74}"
REFINED = (
    "Critique: In step 2, 12 x 7 is not 74.\nCorrected solution:\n"
    "Step 1: There are 7 boxes of 12 eggs.\nStep 2: 12 \\times 7 = 84 eggs.\n\\boxed{84}"
)
POLICY = '[verify]\nverifiers = ["self", "arithmetic"]\nsamples = 2\n'


def eggs(request: Request) -> str | tuple[float, ...]:
    """Miscounts eggs, doubts it and repairs it; chats when it is chatted with."""
    if isinstance(request, Score):
        return (-2.0, -0.2)
    if request.phase == "refine":
        return REFINED
    if request.messages[0].content.startswith("You are a helpful"):
        return "Hello. **Ask** me a problem.\n\n```python\nprint('hi')\n```"
    return WRONG


class Chat:
    """What a test needs of the running app."""

    def __init__(self, app: ScoreApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def screen(self) -> ConversationScreen:
        return self.app.conversation

    @property
    def cards(self) -> list[Card]:
        return list(self.screen.query(Card))

    @property
    def text(self) -> str:
        return screen_text(self.app)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Key by key, into whatever has the focus: slow."""
        await self.pilot.press(*(KEYS.get(character, character) for character in text))

    async def until(self, condition: Callable[[], object]) -> None:
        await until(self.pilot, condition)

    async def idle(self) -> None:
        """Until nothing runs and the model is there."""
        await self.until(lambda: not self.screen.talk.running and self.screen.load_share is None)

    async def ask(self, text: str) -> Card:
        """Sends a message and waits for what comes of it."""
        count = len(self.cards)
        self.screen.query_one(Prompt).focus().text = text
        await self.press("enter")
        await self.until(lambda: len(self.cards) == count + 1)
        await self.idle()
        return self.cards[-1]


KEYS = {" ": "space", "\n": "ctrl+j", "?": "question_mark", ".": "full_stop", "/": "slash", "\\": "backslash"}


def chat(
    folder: Path,
    act: Act,
    script: Script = eggs,
    *,
    size: tuple[int, int] = (80, 24),
    rate: float = 0.0,
    open_engine: Callable[[Path, Mapping[str, Path]], Engine] | None = None,
    loaded: bool = True,
    policy_text: str = POLICY,
    **setup: Any,
) -> None:
    """Starts the app with a history and a model in `folder`, waits until it is loaded, and lets `act` do something."""
    model, policy = folder / "model.gguf", folder / "policy.toml"
    policy.write_text(policy_text)
    if loaded:
        model.write_bytes(b"GGUF")

    def scripted(_: Path, adapters: Mapping[str, Path]) -> Engine:
        return ScriptedEngine(script, rate=rate)

    async def main() -> None:
        made = Setup(
            History(folder / "history.db"), load_policy(policy), policy, open_engine or scripted, 2048, str(model)
        )
        app = ScoreApp(dataclasses.replace(made, **setup))
        async with app.run_test(size=size, notifications=True) as pilot:
            talking = Chat(app, pilot)
            if loaded and open_engine is None:
                await talking.until(app.services.engine)
                await talking.idle()
            await act(talking)

    asyncio.run(main())
