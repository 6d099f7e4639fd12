"""An engine that says what it is told, for tests and demonstrations: same seam, same threading, no model."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from score_local.engine.protocol import Completion, Generate, Listener, Reply, Request, Scores, Usage
from score_local.errors import Cancelled, EngineError

Script = Callable[[Request], "str | tuple[float, ...] | EngineError"]


class ScriptedEngine:
    """Answers each request with what `script` returns for it: a text, the choices' log-probabilities, or an error.

    Text is streamed in words, `rate` tokens a second (0: at once). `requests` records what was asked, in order.
    """

    def __init__(self, script: Script, *, capacity: int = 4, rate: float = 0.0) -> None:
        self._script, self._capacity, self._rate = script, capacity, rate
        self._inbox: queue.SimpleQueue[tuple[Request, Listener, threading.Event] | None] = queue.SimpleQueue()
        self.requests: list[Request] = []
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(capacity)]
        for thread in self._threads:
            thread.start()

    @property
    def capacity(self) -> int:
        return self._capacity

    def submit(self, request: Request, listener: Listener) -> Callable[[], None]:
        cancelled = threading.Event()
        self.requests.append(request)
        self._inbox.put((request, listener, cancelled))
        return cancelled.set

    def close(self) -> None:
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (item := self._inbox.get()) is not None:
            request, listener, cancelled = item
            listener.done(self._reply(request, listener, cancelled))

    def _reply(self, request: Request, listener: Listener, cancelled: threading.Event) -> Reply:
        answer = self._script(request)
        if isinstance(answer, EngineError):
            return answer
        prompt = sum(len(m.content.split()) for m in request.messages)
        if not isinstance(request, Generate) or not isinstance(answer, str):
            return Scores(answer if isinstance(answer, tuple) else (), Usage(prompt=prompt))
        generated = 0
        for word in _words(answer):
            if cancelled.wait(1 / self._rate) if self._rate else cancelled.is_set():
                return Cancelled("cancelled")
            listener.token(word)
            generated += 1
        return Completion(
            answer, usage=Usage(prompt=prompt, generated=generated, seconds=generated / (self._rate or 1e9))
        )


def _words(text: str) -> Iterator[str]:
    """A text in pieces that join to it again, broken before spaces as tokens mostly are."""
    start = 0
    for i in range(1, len(text)):
        if text[i] == " ":
            yield text[start:i]
            start = i
    if text[start:]:
        yield text[start:]
