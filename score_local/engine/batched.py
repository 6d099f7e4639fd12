"""Continuous batching: many requests, one context, one thread.

Each step decodes one token of every live sequence and a chunk of the prompts that are being read. The steps are:
hear what was submitted, place requests into free streams, choose a group (one adapter), plan rows, decode, hand the
logits to the jobs, answer those that ended. Knows nothing of llama.cpp; a `Backend` computes.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from score_local.engine.backend import Backend, DecodeError, NoRoom, Row
from score_local.engine.chat import ChatTemplate
from score_local.engine.jobs import Cell, GenerateJob, Job, ScoreJob, prompt_cells
from score_local.engine.protocol import Generate, Listener, Reply, Request
from score_local.engine.shares import shares
from score_local.engine.streams import WORTH_IT, Stream, Streams
from score_local.errors import Cancelled, EngineDied, EngineError, TooLong

log = logging.getLogger("score_local.engine")
log.addHandler(logging.NullHandler())
PATIENCE = 60.0  # seconds that a request waits for others that the cache favours
GROUP_PATIENCE = 32  # steps that one adapter's group may run while another waits
FOLLOW_UP_WAIT = 0.005  # seconds: whoever got a reply mostly continues it, and finds its stream untouched if quick


@dataclass(frozen=True, slots=True)
class Submitted:
    ticket: int
    request: Request
    listener: Listener


@dataclass(frozen=True, slots=True)
class CancelOf:
    ticket: int


class BatchedEngine:
    """Serves `Generate` and `Score` over a `Backend`, which only this engine's thread touches from here on."""

    def __init__(self, backend: Backend, template: ChatTemplate) -> None:
        self._backend, self._template = backend, template
        self._streams = Streams(backend)
        self._inbox: queue.SimpleQueue[Submitted | CancelOf | None] = queue.SimpleQueue()
        self._tickets = itertools.count()
        self._jobs: dict[int, Job] = {}
        self._waiting: deque[Job] = deque()
        self._group: str | None = None
        self._group_age = 0
        self._steps = 0
        self._last_ran: dict[str | None, int] = {}  # the step that a group last ran in
        self._ended = 0  # jobs that ended in the last step
        self._dead: EngineError | None = None
        self._closing = False
        self._admission = threading.Lock()  # a request is either refused or heard, also while the engine dies
        self._thread = threading.Thread(target=self._run, name="score-local-engine", daemon=True)
        self._thread.start()

    @property
    def capacity(self) -> int:
        return self._backend.streams

    @property
    def backend(self) -> Backend:
        """For measuring only, and only after `close`-less idling: the engine's thread owns it."""
        return self._backend

    def submit(self, request: Request, listener: Listener) -> Callable[[], None]:
        ticket = next(self._tickets)
        with self._admission:
            if self._dead is None:
                self._inbox.put(Submitted(ticket, request, listener))
                return lambda: self._inbox.put(CancelOf(ticket))
        listener.done(self._dead)
        return lambda: None

    def close(self) -> None:
        """Cancels what is running, ends the thread, frees the model. May be called twice."""
        self._inbox.put(None)
        self._thread.join()

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closing:
                self._step()
            self._die(Cancelled("the engine was closed"))
        except Exception as error:
            log.exception("the engine's thread died")
            self._die(EngineDied(f"{self._backend.name}: the engine died: {error}"))
        finally:
            self._backend.close()

    def _step(self) -> None:
        self._hear()
        self._place()
        self._streams.compact()
        group = self._choose_group()
        if group:
            wanted, rows = self._plan(group)
            self._compute(group, wanted, rows)
        self._answer()

    def _hear(self) -> None:
        """Takes in what was submitted; waits where there is nothing to compute, or where a follow-up is likely."""
        expected, self._ended = self._ended, 0
        while not self._closing:
            wait = None if not self._jobs else FOLLOW_UP_WAIT if expected > 0 else 0.0
            try:
                item = self._inbox.get(block=wait != 0.0, timeout=wait)
            except queue.Empty:
                return
            expected -= 1
            self._take(item)

    def _take(self, item: Submitted | CancelOf | None) -> None:
        if item is None:
            self._closing = True
        elif isinstance(item, CancelOf):
            if item.ticket in self._jobs:
                self._end(item.ticket, Cancelled("cancelled"))
        else:
            try:
                job = self._new_job(item.request, item.listener)
            except EngineError as error:
                item.listener.done(error)
                return
            self._jobs[item.ticket] = job
            self._waiting.append(job)

    def _new_job(self, request: Request, listener: Listener) -> Job:
        if request.adapter is not None and not self._backend.has_adapter(request.adapter):
            raise EngineError(f"{self._backend.name}: no adapter {request.adapter!r} is loaded")
        thinking = isinstance(request, Generate) and request.thinking
        tokens = self._template.encode(request.messages, thinking)
        opening = self._backend.opening_token()
        if opening is not None and tokens[:1] != [opening]:
            tokens = [opening, *tokens]
        prefix = self._backend.tokenize(request.prefix, False) if isinstance(request, Generate) else []
        self._require_room(len(tokens) + len(prefix), request)
        cells = prompt_cells(tokens + prefix, request.adapter, self._backend.invocation(request.adapter))
        if isinstance(request, Generate):
            return GenerateJob(request, cells, prefix, self._backend, listener)
        choices = [self._backend.tokenize(choice, False) for choice in request.choices]
        if not all(choices):
            raise EngineError("a choice to score has no token")
        return ScoreJob(request, cells, choices, listener)

    def _require_room(self, prompt: int, request: Request) -> None:
        reply = 1 if isinstance(request, Generate) else max((len(c) for c in request.choices), default=1)
        if prompt + reply > self._backend.context:
            raise TooLong(
                f"the prompt has {prompt} tokens and a sequence holds {self._backend.context}:"
                " shorten it, or raise --context"
            )

    def _place(self) -> None:
        """Places what waits: first whoever finds most of its prompt in a stream, before another takes that stream; of
        equals the longest, whose reply is mostly long too and would else be the last that runs, alone. One that had
        better wait for another's prompt lets others pass; one that has waited long goes before all. Together those of
        a group that read have no more to read than a step allows, or there is only one."""
        if not (self._waiting and self._streams.free):
            return
        now, chunk = time.perf_counter(), self._backend.chunk
        found = {id(job): self._streams.found(job) for job in self._waiting}
        reading = [s.pending for s in self._streams.reading if s.pending[0].weights == self._group]
        room = chunk - sum(map(len, reading))
        waiting, self._waiting = self._waiting, deque()
        for job in sorted(
            waiting, key=lambda j: (now - j.began < PATIENCE, -(found[id(j)] // WORTH_IT), -len(j.cells))
        ):
            missing = len(job.cells) - found[id(job)]
            fits = missing == 1 or missing <= room or room == chunk  # the last cell of a prompt costs a decoding row
            if fits and self._streams.place(job):
                room -= missing
            else:
                self._waiting.append(job)

    def _choose_group(self) -> list[Stream]:
        """The live streams whose next cell is computed under one adapter. A group runs until it is empty, or until
        it has run for GROUP_PATIENCE steps while another waits; then comes who has not run for longest, of equals the
        largest: large groups, nobody starved."""
        groups: dict[str | None, list[Stream]] = {}
        for stream in self._streams.live:
            groups.setdefault(stream.pending[0].weights, []).append(stream)
        self._steps += 1
        self._group_age += 1
        if groups and (self._group not in groups or (len(groups) > 1 and self._group_age > GROUP_PATIENCE)):
            others = {key: group for key, group in groups.items() if key != self._group}
            self._group = min(others, key=lambda key: (self._last_ran.get(key, 0), -len(others[key])))
            self._group_age = 0
        if groups:
            self._last_ran[self._group] = self._steps
        return groups.get(self._group, [])

    def _plan(self, group: list[Stream]) -> tuple[list[Stream], list[Row]]:
        """The streams whose logits will come, and the rows of this step, by stream: llama.cpp batches neighbours."""
        rows, wanted = list[Row](), list[Stream]()
        ahead = [stream.pending for stream in group]
        portions = shares([_run(pending) for pending in ahead], self._backend.chunk)
        for stream, pending, share in zip(group, ahead, portions, strict=True):
            start, complete = len(stream.cells), share == len(pending)
            for i, cell in enumerate(pending[:share]):
                rows.append(Row(stream.index, start + i, cell.token, complete and i == share - 1))
            if complete:
                wanted.append(stream)
        return wanted, rows

    def _compute(self, group: list[Stream], wanted: list[Stream], rows: list[Row]) -> None:
        try:
            logits = self._backend.decode(rows, self._group)
        except NoRoom as error:
            return self._make_room(group, error)
        except DecodeError as error:
            for stream in group:
                self._fail(stream, error)
            return
        evaluated = Counter(row.stream for row in rows)
        for stream in group:
            stream.cells += stream.pending[: evaluated[stream.index]]
        for stream, its_logits in zip(wanted, logits, strict=True):
            assert stream.job
            stream.job.hear(its_logits)
            if stream.job.reply is None:  # a job may have gone back: to score another choice after the same prompt
                self._streams.trim(stream, len(stream.job.cells) - 1)

    def _make_room(self, group: list[Stream], error: NoRoom) -> None:
        """Sends the youngest job of the batch back to the queue; one that is alone can never pass."""
        for stream in group:
            self._streams.repair(stream)
        youngest = max(group, key=lambda s: s.job.began if s.job else 0.0)
        if len(self._streams.live) == 1:
            return self._fail(youngest, error)
        assert youngest.job
        self._waiting.append(youngest.job)
        self._streams.release(youngest)
        self._streams.trim(youngest, 0)

    def _fail(self, stream: Stream, error: EngineError) -> None:
        self._streams.repair(stream)
        self._streams.trim(stream, 0)
        assert stream.job
        stream.job.reply = error

    def _answer(self) -> None:
        for ticket in [ticket for ticket, job in self._jobs.items() if job.reply is not None]:
            reply = self._jobs[ticket].reply
            assert reply is not None
            self._end(ticket, reply)

    def _end(self, ticket: int, reply: Reply) -> None:
        job = self._jobs.pop(ticket)
        for stream in self._streams.live:
            if stream.job is job:
                self._streams.release(stream)
        if job in self._waiting:
            self._waiting.remove(job)
        self._ended += 1
        job.listener.done(reply)

    def _die(self, why: EngineError) -> None:
        """Answers everybody, those in the queue too, and refuses whoever comes later."""
        with self._admission:
            self._dead = why
        for ticket in list(self._jobs):
            self._end(ticket, why)
        while not self._inbox.empty():
            item = self._inbox.get_nowait()
            if isinstance(item, Submitted):
                item.listener.done(why)


def _run(pending: Sequence[Cell]) -> int:
    """How many of the next cells are computed under the same weights."""
    return next((i for i, cell in enumerate(pending) if cell.weights != pending[0].weights), len(pending))
