"""How fast the app is: what issue it must reach is asserted in test_speed.py; this prints the figures.

python -m tests.tui.speed
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from score_local.engine.scripted import ScriptedEngine
from score_local.helpers import NO_HELPERS
from score_local.policy import Policy
from tests.tui.chat import Chat, chat
from tests.tui.terminal import READY, REPLY, Terminal
from tui import work
from tui.records import Turn
from tui.session import Ended, Grew, News, Session
from tui.widgets.card import Card

RATE = 200.0  # tokens/s of the scripted engine
KEYS = b"nopqrstuvwxyz"
TOKENS = 10_000
PARTS = 5


class Streaming(NamedTuple):
    """Seconds from a key to its being drawn, each of them, and from Ctrl-C to the end of the turn."""

    keys: Sequence[float]
    cancel: float


def first_paint(folder: Path) -> float:
    """Seconds from the start of the process to the prompt, for `score-local chat` as it is installed."""
    terminal = Terminal(
        "-m", "score_local", "chat", "--history", str(folder / "history.db"), "--model", str(folder / "none.gguf")
    )
    try:
        terminal.until(READY)
        return time.monotonic() - terminal.began
    finally:
        terminal.close()


def streaming(folder: Path, keys: int = 60) -> Streaming:
    """Types while a reply streams, and cancels it."""
    terminal = Terminal("-m", "tests.tui.terminal", str(folder), str(RATE))
    try:
        terminal.until(b"threshold")
        time.sleep(1)
        terminal.write(b"hi\r")
        terminal.until(b"abc")
        waits = []
        for i in range(keys):
            time.sleep(0.037)
            key = KEYS[i % len(KEYS) :][:1]
            terminal.write(key)
            waits.append(terminal.until(key))
        terminal.write(b"\x03")
        return Streaming(waits, terminal.until(b"cancelled"))
    finally:
        terminal.close()


def long_reply(folder: Path) -> list[float]:
    """Processor seconds of the whole app for each fifth of a reply of TOKENS tokens, drawn 25 tokens at a time."""
    spent: list[float] = []

    async def act(app: Chat) -> None:
        card = Card(Turn(id="long", conversation="c", kind="chat", question="?"), 0.5)
        await app.screen.query_one("#thread").mount(card)
        words = REPLY.split(" ")
        for part in range(PARTS):
            began = time.process_time()
            for start in range(part * TOKENS // PARTS, (part + 1) * TOKENS // PARTS, 25):
                card.hear(Grew("long", "solve", " ".join(words[start : start + 25]) + " ", 25))
                await asyncio.sleep(0.002)
                await app.pilot.pause(0)
            spent.append(time.process_time() - began)

    chat(folder, act)
    return spent


def engine_rate(folder: Path, shown: bool, tokens: int = 600) -> float:
    """Tokens/s that the scripted engine reaches, with its words drawn or thrown away."""
    reply = " ".join(REPLY.split(" ")[:tokens])
    if not shown:
        return asyncio.run(_unseen(reply, tokens))
    rates: list[float] = []

    async def act(app: Chat) -> None:
        began = time.monotonic()
        await app.ask("hello")
        rates.append(tokens / (time.monotonic() - began))

    chat(folder, act, lambda request: reply, rate=RATE)
    return rates[0]


async def _unseen(reply: str, tokens: int) -> float:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def post(news: News) -> None:
        if isinstance(news, Ended):
            loop.call_soon_threadsafe(ended.set)

    engine = ScriptedEngine(lambda request: reply, rate=RATE)
    turn = Turn(id="t", conversation="c", kind="chat", question="hello")
    began = time.monotonic()
    Session(
        turn, lambda tell: work.replying("hello", Policy(), ()), engine, NO_HELPERS, save=lambda turn: None, post=post
    )
    await ended.wait()
    rate = tokens / (time.monotonic() - began)
    engine.close()
    return rate


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    print(f"cores {os.cpu_count()}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paints = [first_paint(folder) for _ in range(5)]
        print(f"first paint           {statistics.median(paints):.2f} s (n = {len(paints)}, worst {max(paints):.2f})")
        typed = streaming(folder, 200)
        middle, slow = (1000 * percentile(typed.keys, share) for share in (0.5, 0.95))
        print(f"key to paint, p95     {slow:.0f} ms (median {middle:.0f}, n = {len(typed.keys)})")
        print(f"cancel                {1000 * typed.cancel:.0f} ms")
        parts = long_reply(folder)
        print(f"10,000 tokens, fifths {', '.join(f'{part:.2f}' for part in parts)} s of processor time")
        alone, shown = engine_rate(folder, False), engine_rate(folder, True)
        print(f"engine                {alone:.1f} tokens/s unseen, {shown:.1f} shown: {1 - shown / alone:.1%} lost")


if __name__ == "__main__":
    main()
