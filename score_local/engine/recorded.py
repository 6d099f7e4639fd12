"""An engine that answers from a record what was asked before, and asks another engine only what was not.

So programs that ask the same questions share the answers, whatever order they run in, and a run that was killed loses
only what was in flight. Failures are not recorded. What a reply cost is recorded with it, so each program's own cost
stays right.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from score_local.engine.protocol import Engine, Listener, Reply, Request
from score_local.engine.reply_record import Asked, ReplyRecord
from score_local.errors import Cancelled, EngineError, RunError


class RecordedEngine:
    """Serves what `record` holds, and what it does not through the engine that `open_engine` gives, opened when needed.

    Identical requests in flight are asked once; whoever joins late misses the pieces of text that have come already.
    `capacity` is the caller's to choose: most loops may be waiting for the same reply. `asked` counts what the record
    did not hold; `trouble` is why a reply could not be recorded. Closes the record too.
    """

    def __init__(self, open_engine: Callable[[], Engine], record: ReplyRecord, capacity: int) -> None:
        self._open_engine, self._record = open_engine, record
        self._engine: Engine | None = None
        self._in_flight: dict[Asked, _Question] = {}
        self._guard, self._opening = threading.Lock(), threading.Lock()
        self.capacity = capacity
        self.asked = 0
        self.trouble: RunError | None = None

    def submit(self, request: Request, listener: Listener) -> Callable[[], None]:
        """Raises what opening the engine raises. Once a reply could not be recorded, all that is not on record fails: a
        run must not go on that cannot be continued."""
        asked = self._record.asked(request)
        with self._guard:
            reply, question = self._record.find(asked), self._in_flight.get(asked)
            new = reply is None and question is None
            if new and not self.trouble:
                question = self._in_flight[asked] = _Question(partial(self._answered, asked))
            if reply is None and question:
                question.listeners.append(listener)
        if reply or not question:
            listener.done(reply or EngineError(str(self.trouble)))
            return lambda: None
        if new:
            question.cancel = self._ask(request, question)
        return partial(self._leave, asked, question, listener)

    def close(self) -> None:
        if self._engine:
            self._engine.close()
        self._record.close()

    def _ask(self, request: Request, question: _Question) -> Callable[[], None]:
        with self._opening:
            self._engine = self._engine or self._open_engine()
            self.asked += 1
        return self._engine.submit(request, question)

    def _answered(self, asked: Asked, question: _Question, reply: Reply) -> None:
        """Records the reply, then hands it to whoever waits for it."""
        with self._guard:
            if self._in_flight.get(asked) is question:
                del self._in_flight[asked]
            listeners, question.listeners = question.listeners, []
            if not isinstance(reply, EngineError):
                try:
                    self._record.add(asked, reply)
                except RunError as error:
                    self.trouble, reply = error, EngineError(str(error))
        for listener in listeners:
            listener.done(reply)

    def _leave(self, asked: Asked, question: _Question, listener: Listener) -> None:
        """A listener is no longer interested; where nobody is, the engine is told."""
        with self._guard:
            if listener not in question.listeners:
                return
            question.listeners.remove(listener)
            deserted = not question.listeners
            if deserted:
                del self._in_flight[asked]
        listener.done(Cancelled("cancelled"))
        if deserted:
            question.cancel()


class _Question:
    """A request in flight, and all who wait for its reply."""

    def __init__(self, answered: Callable[[_Question, Reply], None]) -> None:
        self._answered = answered
        self.listeners: list[Listener] = []
        self.cancel: Callable[[], None] = lambda: None

    def token(self, text: str) -> None:
        for listener in tuple(self.listeners):
            listener.token(text)

    def done(self, reply: Reply) -> None:
        self._answered(self, reply)
