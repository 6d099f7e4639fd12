"""A batch that the terminal app runs: a problem file, its run folder, and the thread that solves one into the other.

It is the run folder of `score-local batch`: either goes on with what the other began. Knows nothing of screens; what
happens is told by calls from the solving thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from score_local.commands import setup
from score_local.commands.solving import solve_into, sum_up
from score_local.engine.protocol import Engine
from score_local.errors import EngineDied, InputError
from score_local.policy import Policy
from score_local.problem import CHOICE_LETTERS, Problem
from score_local.problem_files import read_problems
from score_local.runs import read_manifest, read_traces, start_run, traces_of
from score_local.schedule import Event, PhaseBegan, PhaseEnded, Scheduler
from score_local.trace import Trace
from tui.records import Turn, new_id
from tui.typed import path_of


class Batch(NamedTuple):
    """What is to be solved, and what of it is done: `traces` by id, the failed ones too."""

    folder: Path
    problems: tuple[Problem, ...]
    faults: tuple[InputError, ...]
    traces: dict[str, Trace]


class Solver(NamedTuple):
    """What the problems are solved with. `context` is how many tokens a sequence of the engine holds."""

    engine: Engine
    policy: Policy
    model: Path
    context: int


def open_batch(file: str, folder: Path) -> Batch:
    """Reads the problem file, and what the folder holds of a run. Raises InputError or RunError."""
    path = str(path_of(file))
    if path == "-":  # for a reader it is stdin, which here is the keyboard that the app reads
        raise InputError("problems cannot come from stdin here", file, "Name a .jsonl, .csv or .txt file of problems")
    found = read_problems(path)
    traces = traces_of(found.problems, {trace.id: trace for trace in read_traces(folder)})
    return Batch(folder, found.problems, found.faults, {trace.id: trace for trace in traces})


def gate_of(batch: Batch) -> float:
    """The threshold of the run. Raises RunError."""
    return read_manifest(batch.folder).policy.verify.gate


def turn_of(problem: Problem, trace: Trace) -> Turn:
    """A problem of a run as a turn that a person may go on with; its conversation is yet to be named."""
    choices = (f"{letter}. {text}" for letter, text in zip(CHOICE_LETTERS, problem.choices, strict=False))
    return Turn(
        id=new_id(),
        conversation="",
        question="\n".join([problem.question, *choices]),
        trace=trace,
        state="failed" if trace.status == "failed" else "done",
        answer=trace.answer,
        error=trace.error,
        created=time.time(),
    )


def folder_of(file: str) -> Path:
    """The run folder that `score-local batch` would take."""
    return Path("runs") / Path(file).stem


class BatchJob:
    """One go at a batch: until it is done, paused or cancelled. The next go is another job."""

    def __init__(self, batch: Batch, solver: Solver) -> None:
        self._batch, self._solver = batch, solver
        self._scheduler: Scheduler[Trace] | None = None
        self._stopped = threading.Event()
        self._death: EngineDied | None = None

    def run(self, began: Callable[[str, str], None], ended: Callable[[Trace], None]) -> None:
        """Solves what is not done; `began` hears of each phase (id, phase), `ended` of each trace.

        Raises RunError, PolicyError, ModelError or EngineDied; what was solved until then is kept.
        """
        engine, policy, model, context = self._solver
        setting = setup.setting_for(policy, model, context)
        with (
            start_run(self._batch.folder, setting.manifest, resume=True) as run,
            closing(setup.helpers_of(setting.policy)) as helpers,
        ):
            self._scheduler = scheduler = Scheduler[Trace](engine, lambda event: self._observe(event, began), helpers)
            if self._stopped.is_set():
                scheduler.stop()
            for trace in solve_into(run, run.todo(self._batch.problems), setting, scheduler):
                ended(trace)
            sum_up(run, run.traces_of(self._batch.problems))
        if self._death:
            raise self._death

    def _observe(self, event: Event, began: Callable[[str, str], None]) -> None:
        if isinstance(event, PhaseBegan):
            began(event.loop, event.phase)
        elif isinstance(event, PhaseEnded) and isinstance(event.reply, EngineDied):
            self._death = event.reply  # the others would only fail, too
            self.cancel()

    @property
    def stopped(self) -> bool:
        """Whether it was paused or cancelled, and so may have left problems."""
        return self._stopped.is_set()

    def pause(self) -> None:
        """Begins no further problem; those that run are finished."""
        self._stopped.set()
        if self._scheduler:
            self._scheduler.stop()

    def cancel(self) -> None:
        """Gives up the problems that run: the next go begins them again."""
        self.pause()
        if self._scheduler:
            self._scheduler.abort()
