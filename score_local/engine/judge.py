"""A second engine whose opinion is asked: how a request is addressed to it, and what keeps it from holding up a run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from score_local.engine.protocol import Engine, Listener, Phase, Reply, Request
from score_local.errors import Cancelled, EngineError, TooLong


@dataclass(frozen=True, slots=True)
class ToJudge:
    """A request that the judge's engine is to answer instead of the run's own."""

    request: Request

    @property
    def phase(self) -> Phase:
        return self.request.phase


class GuardedEngine:
    """An engine that answers within `limit` seconds, waiting in its queue included: with an error, where need be.

    After `failures` requests in a row that failed or took too long, requests fail at once for `rest` seconds: a judge
    that is down costs a run a few of its limits, not one a problem.
    """

    def __init__(self, engine: Engine, *, limit: float = 120.0, failures: int = 3, rest: float = 60.0) -> None:
        self._engine, self._limit, self._failures, self._rest = engine, limit, failures, rest
        self._lock = threading.Lock()
        self._failed_in_a_row = 0
        self._resting_until = 0.0
        self._last_error = ""

    @property
    def capacity(self) -> int:
        return self._engine.capacity

    def submit(self, request: Request, listener: Listener) -> Callable[[], None]:
        with self._lock:
            resting = time.monotonic() < self._resting_until
        if resting:
            listener.done(EngineError(f"not asked, as it failed {self._failures} times in a row: {self._last_error}"))
            return lambda: None
        call = _Call(listener, self._note)
        call.start(self._engine.submit(request, call), self._limit)
        return call.cancel

    def close(self) -> None:
        self._engine.close()

    def _note(self, reply: Reply) -> None:
        """Counts failures in a row; what was cancelled, or is too long for its context, says nothing of its health."""
        if isinstance(reply, (Cancelled, TooLong)):
            return
        with self._lock:
            if not isinstance(reply, EngineError):
                self._failed_in_a_row = 0
                return
            self._failed_in_a_row += 1
            self._last_error = str(reply)
            if self._failed_in_a_row >= self._failures:
                self._resting_until = time.monotonic() + self._rest


class _Call:
    """Hands the first reply on, be it the engine's or the clock's; what comes later is dropped."""

    def __init__(self, listener: Listener, note: Callable[[Reply], None]) -> None:
        self._listener, self._note = listener, note
        self._lock = threading.Lock()
        self._ended = False
        self._timer: threading.Timer | None = None
        self.cancel: Callable[[], None] = lambda: None

    def start(self, cancel: Callable[[], None], limit: float) -> None:
        self.cancel = cancel
        timer = threading.Timer(limit, self._too_late, (limit,))
        timer.daemon = True
        with self._lock:
            if self._ended:
                return
            self._timer = timer
            timer.start()

    def token(self, text: str) -> None:
        self._listener.token(text)

    def done(self, reply: Reply) -> None:
        with self._lock:
            if self._ended:
                return
            self._ended = True
        if self._timer:
            self._timer.cancel()
        self._note(reply)
        self._listener.done(reply)

    def _too_late(self, limit: float) -> None:
        self.done(EngineError(f"no answer within {limit:g} seconds"))
        self.cancel()
