"""How fast the app is: what issue it must reach is asserted in test_speed.py; this prints the figures.

python -m tests.tui.speed
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from score_local.engine.protocol import Generate, Message, Reply
from score_local.engine.scripted import ScriptedEngine
from tests.tui.chat import Chat, chat
from tests.tui.terminal import END, LINE, READY, Terminal, reply
from tui.records import Turn
from tui.session import Grew
from tui.widgets.card import Card

RATE = 200.0  # tokens/s of the scripted engine
KEYS = b"@#~{}&"  # what else on the screen never shows
BACKSPACE = b"\x7f"
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
    terminal = _app(folder, TOKENS)
    try:
        terminal.write(b"hi\r")
        terminal.until(b"abc")
        waits = []
        for i in range(keys):
            time.sleep(0.037)
            key = KEYS[i % len(KEYS) :][:1]
            terminal.write(key)
            waits.append(terminal.until(key))
            terminal.write(BACKSPACE)  # or the next time that the line is drawn would show it again
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
        words = reply(TOKENS).split(" ")
        for part in range(PARTS):
            began = time.process_time()
            for start in range(part * TOKENS // PARTS, (part + 1) * TOKENS // PARTS, 25):
                card.hear(Grew("long", "solve", " ".join(words[start : start + 25]) + " ", 25))
                await asyncio.sleep(0.002)
                await app.pilot.pause(0)
            spent.append(time.process_time() - began)

    chat(folder, act)
    return spent


def engine_rate(folder: Path, tokens: int = 2000) -> tuple[float, float]:
    """Tokens/s that the scripted engine reaches with nobody looking, and with the app."""
    alone = ScriptedEngine(lambda request: reply(tokens), rate=RATE)
    listener = Unseen()
    began = time.monotonic()
    alone.submit(Generate((Message("user", "hi"),)), listener)
    listener.ended.wait()
    unseen = tokens / (time.monotonic() - began)
    alone.close()
    terminal = _app(folder, tokens)
    try:
        terminal.write(b"hi\r")
        terminal.until(LINE[:3].encode())
        return unseen, tokens / terminal.until(END.encode())
    finally:
        terminal.close()


class Unseen:
    """A listener that only hears when it is over."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def token(self, text: str) -> None: ...

    def done(self, reply: Reply) -> None:
        self.ended.set()


def _app(folder: Path, tokens: int) -> Terminal:
    """The app in a terminal, with its model loaded."""
    terminal = Terminal("-m", "tests.tui.terminal", str(folder), str(RATE), str(tokens))
    terminal.until(b"model.gguf")
    time.sleep(1)
    return terminal


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
        alone, shown = engine_rate(folder)
        print(f"engine                {alone:.1f} tokens/s unseen, {shown:.1f} shown: {1 - shown / alone:.1%} lost")


if __name__ == "__main__":
    main()
