"""Runs many loops at once over one engine.

The caller's thread advances the loops; the engine's threads only put replies into a queue. Whoever iterates `run` gets
each result as its loop ends, and may `stop` (what runs is finished) or `abort` (what runs is cancelled) from anywhere,
a signal handler included.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar, Union

from score_local.engine.judge import ToJudge
from score_local.engine.protocol import Engine, Phase
from score_local.engine.steps import Answer, Ask, Steps
from score_local.helpers import NO_HELPERS, Helpers
from score_local.sandbox.protocol import RunProgram

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PhaseBegan:
    loop: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text, as it was generated."""

    loop: str
    phase: Phase
    text: str


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    loop: str
    phase: Phase
    reply: Answer


Event = Union[PhaseBegan, Token, PhaseEnded]
Observer = Callable[[Event], None]


@dataclass(eq=False)
class _Seat(Generic[T]):
    """A loop on its way: the replies it waits for, and how to cancel the requests behind them."""

    key: str
    loop: Steps[T]
    replies: list[Answer | None] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    cancels: list[Callable[[], None]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Listener:
    """Carries what the engine says of one request into the scheduler's queue."""

    seat: _Seat[object]
    index: int
    inbox: queue.SimpleQueue[tuple[_Seat[object], int, Answer | str] | None]
    streaming: bool

    def token(self, text: str) -> None:
        if self.streaming:
            self.inbox.put((self.seat, self.index, text))

    def done(self, reply: Answer) -> None:
        self.inbox.put((self.seat, self.index, reply))


class Scheduler(Generic[T]):
    """As many loops at once as the engine has room for. With an `observer`, events reach it on the caller's thread.

    `helpers` answer what an engine does not; they belong to the caller, as the engine does.
    """

    def __init__(self, engine: Engine, observer: Observer | None = None, helpers: Helpers = NO_HELPERS) -> None:
        self._engine, self._observer, self._helpers = engine, observer, helpers
        self._inbox: queue.SimpleQueue[tuple[_Seat[T], int, Answer | str] | None] = queue.SimpleQueue()
        self._seats: set[_Seat[T]] = set()
        self._ended: list[tuple[str, T]] = []
        self._stopped = self._aborted = False

    def run(self, loops: Iterable[tuple[str, Steps[T]]]) -> Iterator[tuple[str, T]]:
        """(key, result) of each loop, in the order they end. Closing the iterator cancels what runs."""
        waiting = iter(loops)
        try:
            while self._fill(waiting) or self._seats or self._ended:
                yield from self._take_ended()
                if self._seats and not self._hear():
                    return
        finally:
            self._cancel_all()

    def stop(self) -> None:
        """Starts no further loop; those that run are finished. Safe in a signal handler."""
        self._stopped = True
        self._inbox.put(None)

    def abort(self) -> None:
        """Cancels what runs and ends `run`. Safe in a signal handler."""
        self._aborted = self._stopped = True
        self._inbox.put(None)

    def _fill(self, waiting: Iterator[tuple[str, Steps[T]]]) -> bool:
        """Starts loops while there is room. True while results wait to be taken."""
        while not self._stopped and len(self._seats) < self._engine.capacity:
            started = next(waiting, None)
            if started is None:
                break
            seat = _Seat(*started)
            self._seats.add(seat)
            self._advance(seat, None)
        return bool(self._ended)

    def _take_ended(self) -> Iterator[tuple[str, T]]:
        ended, self._ended = self._ended, []
        yield from ended

    def _hear(self) -> bool:
        """Waits for one message. False: the run was aborted."""
        message = self._inbox.get()
        if message is None:
            return not self._aborted
        seat, index, news = message
        if seat not in self._seats:
            return True
        if isinstance(news, str):
            self._observe(Token(seat.key, seat.phases[index], news))
            return True
        self._observe(PhaseEnded(seat.key, seat.phases[index], news))
        seat.replies[index] = news
        replies = tuple(reply for reply in seat.replies if reply is not None)
        if len(replies) == len(seat.replies):
            self._advance(seat, replies)
        return True

    def _advance(self, seat: _Seat[T], replies: tuple[Answer, ...] | None) -> None:
        """Sends a loop its replies, and its next requests to the engine."""
        try:
            requests = next(seat.loop) if replies is None else seat.loop.send(replies)
        except StopIteration as end:
            self._seats.discard(seat)
            self._ended.append((seat.key, end.value))
            return
        self._submit(seat, requests)

    def _submit(self, seat: _Seat[T], requests: tuple[Ask, ...]) -> None:
        seat.replies = [None] * len(requests)
        seat.phases = [request.phase for request in requests]
        seat.cancels = []
        for index, request in enumerate(requests):
            self._observe(PhaseBegan(seat.key, request.phase))
            listener = _Listener(seat, index, self._inbox, self._observer is not None)  # type: ignore[arg-type]
            seat.cancels.append(self._ask(request, listener))

    def _ask(self, request: Ask, listener: _Listener) -> Callable[[], None]:
        if isinstance(request, ToJudge):
            return self._helpers.ask_judge(request, listener)
        if isinstance(request, RunProgram):
            return self._helpers.run(request, listener)
        return self._engine.submit(request, listener)

    def _observe(self, event: Event) -> None:
        if self._observer:
            self._observer(event)

    def _cancel_all(self) -> None:
        for seat in self._seats:
            for cancel in seat.cancels:
                cancel()
        self._seats.clear()
