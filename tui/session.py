"""A turn on its way: a thread runs its steps over the engine, keeps its record, saves it and tells of it.

The screen's thread never touches the engine. What it hears are the typed, frozen messages below. Text is gathered until
the screen has shown what came before, and has had PAUSE to itself: a slow terminal gets larger pieces, never a backlog,
and the engine keeps its share of the processor.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Union

import msgspec

from score_local.engine.protocol import Completion, Engine, Scores, Usage
from score_local.engine.steps import Steps
from score_local.errors import EngineDied, EngineError, UserError
from score_local.helpers import Helpers
from score_local.schedule import Event, PhaseBegan, PhaseEnded, Scheduler, Token
from score_local.trace import Trace
from tui.records import Phase, Turn
from tui.turns import standing_answer

log = logging.getLogger("tui.session")
PAUSE = 0.08  # seconds between what was shown and the next message
KEEP = 2.0  # seconds between two savings of what the running phase has written
SHOWN = ("solve", "refine")  # phases whose text is shown as it comes; of the others, only their number of tokens

Result = Union[Trace, Completion]
Work = Callable[[Callable[[Trace], None]], Steps[Result]]


@dataclass(frozen=True, slots=True)
class Began:
    """A phase of a turn has begun."""

    turn: str
    phase: str


@dataclass(frozen=True, slots=True)
class Grew:
    """What a phase has written since the last message: `tokens` of them, and their text where it is shown."""

    turn: str
    phase: str
    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The record of a turn has grown, and is saved."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Ended:
    """A turn is over: done, failed or cancelled. `died`: the engine can answer no more."""

    turn: Turn
    died: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """Something that the person should know, and that stops nothing."""

    text: str


News = Union[Began, Grew, Changed, Ended, Told]


class Session:
    """Runs `work` for `turn` in a thread of its own; `post` and `save` are called from there."""

    def __init__(
        self,
        turn: Turn,
        work: Work,
        engine: Engine,
        helpers: Helpers,
        *,
        save: Callable[[Turn], None],
        post: Callable[[News], object],
    ) -> None:
        self._turn, self._work, self._save, self._post = turn, work, save, post
        self.helpers = helpers
        self._scheduler: Scheduler[Result] = Scheduler(engine, self._hear, helpers)
        self._gathered = Grew(turn.id, "", "", 0)
        self._written: list[str] = []  # of the phase that runs, where its text is shown
        self._keep_from = 0.0  # when what is written is saved again
        self._free_from: float | None = 0.0  # when the next piece may be posted; None: the last is not shown yet
        self._died = self._cancelled = False
        self._thread = threading.Thread(target=self._run, name=f"turn-{turn.id[:8]}", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stops what is being generated, within one micro-batch. What is written so far is kept."""
        self._cancelled = True
        self._scheduler.abort()

    def shown(self) -> None:
        """The last piece is on the screen. From the screen's thread."""
        self._free_from = time.monotonic() + PAUSE

    def join(self, seconds: float) -> None:
        """Waits until it is over, and kept."""
        self._thread.join(seconds)

    # -- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._keep()
        try:
            results = dict(self._scheduler.run([(self._turn.id, self._work(self._hear_trace))]))
            self._finish(results.get(self._turn.id))
        except EngineError as error:
            self._end("failed", error=str(error))
        except Exception as error:  # a bug of ours: the app lives on, the log has the traceback
            log.exception("turn %s", self._turn.id)
            self._end("failed", error=f"{type(error).__name__}: {error}")

    def _finish(self, result: Result | None) -> None:
        if result is None or self._cancelled:
            self._end("cancelled")
        elif isinstance(result, Trace):
            state = "failed" if result.status == "failed" else "done"
            self._end(state, trace=result, answer=standing_answer(self._turn, result), error=result.error)
        else:
            self._end("done", reply=result.text)

    def _end(self, state: str, **changes: object) -> None:
        self._flush()
        self._turn = msgspec.structs.replace(self._so_far(), state=state, **changes)
        self._written.clear()
        self._keep()
        self._post(Ended(self._turn, self._died))

    def _hear(self, event: Event) -> None:
        if isinstance(event, Token):
            self._gather(event)
        elif isinstance(event, PhaseBegan):
            self._flush()
            self._post(Began(self._turn.id, event.phase))
        else:
            self._flush()
            self._hear_reply(event)

    def _gather(self, token: Token) -> None:
        if token.phase != self._gathered.phase:
            self._flush()
        text = token.text if token.phase in SHOWN else ""
        if text:
            self._written.append(text)
        self._gathered = Grew(self._turn.id, token.phase, self._gathered.text + text, self._gathered.tokens + 1)
        if text and time.monotonic() >= self._keep_from:
            self._keep()
        if self._free_from is not None and time.monotonic() >= self._free_from:
            self._flush()

    def _flush(self) -> None:
        if self._gathered.tokens:
            self._free_from = None
            self._post(self._gathered)
        self._gathered = Grew(self._turn.id, self._gathered.phase, "", 0)

    def _hear_reply(self, event: PhaseEnded) -> None:
        """A phase that ended is saved: a crash loses no more than the one that runs."""
        reply = event.reply
        if isinstance(reply, Completion):
            self._written.clear()
        if isinstance(reply, (Completion, Scores)):
            text = reply.text if isinstance(reply, Completion) else ""
            self._grow(phases=(*self._turn.phases, _phase(event.phase, text, reply.usage)))
        elif isinstance(reply, EngineDied):
            self._died = True

    def _hear_trace(self, trace: Trace) -> None:
        self._grow(trace=trace, answer=trace.answer)

    def _grow(self, **changes: object) -> None:
        self._turn = msgspec.structs.replace(self._turn, **changes)
        self._keep()
        self._post(Changed(self._turn))

    def _so_far(self) -> Turn:
        """The turn with what the running phase has written, which is the last that is known of it if it is cut off."""
        if not self._written:
            return self._turn
        name, text = self._gathered.phase, "".join(self._written)
        running = Phase(name=name, text=text, generated=len(self._written), cut_off=True)
        return msgspec.structs.replace(self._turn, phases=(*self._turn.phases, running))

    def _keep(self) -> None:
        try:
            self._save(self._so_far())
            self._keep_from = time.monotonic() + KEEP
        except UserError as error:  # the lock of another app may have cost seconds: not again before the phase ends
            self._keep_from = math.inf
            self._post(Told(str(error)))


def _phase(name: str, text: str, usage: Usage) -> Phase:
    return Phase(
        name=name,
        text=text,
        seconds=usage.seconds,
        generated=usage.generated,
        prompt=usage.prompt,
        reused=usage.reused,
    )
