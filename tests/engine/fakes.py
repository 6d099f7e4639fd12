"""A backend whose logits are a function of what its streams really hold: any mistake in reusing, copying or trimming
the cache changes the text that comes out."""

from __future__ import annotations

import hashlib
import queue
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from score_local.engine.backend import Row
from score_local.engine.batched import BatchedEngine
from score_local.engine.chat import ChatTemplate, SpecialText
from score_local.engine.protocol import Engine, Reply, Request

VOCABULARY = 260
END, TURN = 256, 257  # end of turn; opens a turn
TEMPLATE = (
    "{% for m in messages %}<t>{{ m.role }}:{{ m.content }}<e>{% endfor %}"
    "{% if add_generation_prompt %}<t>assistant:{% endif %}"
)


class FakeBackend:
    """Tokens are bytes. `faults` maps the number of a decode call to the exception it raises."""

    name = "fake.gguf"

    def __init__(self, streams: int = 4, context: int = 400, chunk: int = 16, *, can_trim: bool = True) -> None:
        self.streams, self.context, self.chunk, self.can_trim = streams, context, chunk, can_trim
        self.kv: list[list[tuple[int, str | None]]] = [[] for _ in range(streams)]
        self.faults: dict[int, Exception] = {}
        self.calls: list[tuple[int, str | None]] = []
        self.copies = 0
        self.closed = False
        self.invocations: dict[str, tuple[int, ...]] = {"plain": (), "late": tuple(b"user:check")}
        self.before_decode: Callable[[], None] = lambda: None

    def tokenize(self, text: str, special: bool) -> list[int]:
        if not special:
            return list(text.encode())
        ids: list[int] = []
        for i, part in enumerate(text.split("<t>")):
            ids += [TURN] if i else []
            for j, piece in enumerate(part.split("<e>")):
                ids += ([END] if j else []) + list(piece.encode())
        return ids

    def piece(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else b""

    def ends_turn(self, token: int) -> bool:
        return token == END

    def opening_token(self) -> int | None:
        return None

    def invocation(self, adapter: str | None) -> tuple[int, ...]:
        return self.invocations.get(adapter or "", ())

    def has_adapter(self, adapter: str) -> bool:
        return adapter in self.invocations

    def trim(self, stream: int, keep: int) -> bool:
        if not self.can_trim and 0 < keep < len(self.kv[stream]):
            self.kv[stream].clear()
            return False
        del self.kv[stream][keep:]
        return True

    def copy(self, source: int, target: int) -> None:
        self.copies += 1
        self.kv[target] = list(self.kv[source])

    def decode(self, rows: Sequence[Row], adapter: str | None) -> list[NDArray[np.float32]]:
        self.before_decode()
        self.calls.append((len(rows), adapter))
        fault = self.faults.pop(len(self.calls), None)
        if fault:
            raise fault
        assert [r.stream for r in rows] == sorted(r.stream for r in rows), "neighbours must stand together"
        logits = []
        for row in rows:
            assert row.position == len(self.kv[row.stream]), "a row must extend what its stream holds"
            assert row.position < self.context
            self.kv[row.stream].append((row.token, adapter))
            if row.wanted:
                logits.append(fake_logits(self.kv[row.stream]))
        return logits

    def close(self) -> None:
        self.closed = True


def fake_logits(cells: Sequence[tuple[int, str | None]]) -> NDArray[np.float32]:
    """Logits that depend on every cell; the end of the turn becomes likelier as the sequence grows."""
    seed = int.from_bytes(hashlib.sha256(repr(cells).encode()).digest()[:8], "big")
    logits = np.random.default_rng(seed).normal(size=VOCABULARY).astype(np.float32)
    logits[END] += 1.5
    logits[TURN:] = -50.0
    return logits


def fake_engine(backend: FakeBackend) -> BatchedEngine:
    return BatchedEngine(backend, ChatTemplate(TEMPLATE, SpecialText(), backend.tokenize, backend.name))


class Ear:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.text = ""
        self._reply: queue.SimpleQueue[Reply] = queue.SimpleQueue()

    def token(self, text: str) -> None:
        self.text += text

    def done(self, reply: Reply) -> None:
        self._reply.put(reply)

    def reply(self, timeout: float = 20.0) -> Reply:
        return self._reply.get(timeout=timeout)


def ask(engine: Engine, request: Request) -> Reply:
    ear = Ear()
    engine.submit(request, ear)
    return ear.reply()
