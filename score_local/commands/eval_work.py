"""What the policies of an evaluation share: one model, one record of replies, one sandbox, one judge."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from score_local import catalog
from score_local.commands import setup
from score_local.commands.interrupts import interrupts
from score_local.commands.progress import PLAIN_INTERVAL
from score_local.commands.setup import Setting
from score_local.engine.protocol import Engine, Generate, Score
from score_local.engine.recorded import RecordedEngine
from score_local.engine.reply_record import Identity, ReplyRecord
from score_local.engine.steps import Answer, Ask, Steps
from score_local.errors import PolicyError, RunError
from score_local.gguf_check import file_sha256
from score_local.helpers import Helpers
from score_local.methods import attempt
from score_local.policy import Judge, Policy
from score_local.problem import Problem
from score_local.runs import FileHash, writable
from score_local.sandbox.pool import Sandbox
from score_local.schedule import Scheduler
from score_local.trace import Trace

LOST_CAUSE = 20  # problems that failed one after another, for every policy: the engine is gone
REPLIES, JUDGE_REPLIES = "replies.jsonl", "judge-replies.jsonl"


class Contender(NamedTuple):
    """A policy, and all that it takes to run it."""

    name: str
    setting: Setting

    @property
    def adapters(self) -> dict[str, str]:
        """By role, the name under which the shared engine knows the adapter: its SHA-256."""
        return {role: file.sha256 for role, file in self.setting.manifest.adapters.items()}


Traces = dict[str, list[Trace]]
Loops = Iterator[tuple[str, Steps[Trace]]]


class Work:
    """Makes contenders, and runs them over problems: whatever was asked before, by whom ever, is not asked again.

    Close it. Raises RunError where the folder's replies are of another model, and ModelError where there is none.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options, self._folder, self._path = options, folder, setup.model_of(options)
        self.model = FileHash(writable(self._path.name), file_sha256(self._path))
        self._adapters: dict[str, Path] = {}
        self._judge: Judge | None = None
        record = ReplyRecord(folder / REPLIES, Identity(self.model.name, self.model.sha256, options.context))
        self.engine = RecordedEngine(self._open_engine, record, 1)

    def contender(self, name: str, policy: Policy) -> Contender:
        """Raises PolicyError or ModelError. Make all that have an adapter before the first is run: a model is loaded
        once, with all adapters."""
        if "model" in policy.verify.verifiers:
            self._judge = self._judge or policy.judge
            if policy.judge is None or policy.judge != self._judge:
                what = "the verifier 'model' needs one judge, the same in every policy that asks it"
                raise PolicyError(what, name, "Give each the same [judge]")
        setting = setup.setting_for(policy, self._path, self._options.context, self.model.sha256)
        found = Contender(name, setting)
        self._adapters |= {found.adapters[role]: file for role, file in setting.adapters.items()}
        return found

    def run(self, contenders: Sequence[Contender], problems: Sequence[Problem]) -> Traces:
        """The traces of each contender by its name, in the order of the problems. Problem by problem, so that requests
        of one problem find its prompt in the KV cache. Raises KeyboardInterrupt where the user interrupted."""
        self.engine.capacity = len(contenders) * self._at_once(contenders)
        with closing(self._helpers(contenders)) as helpers:
            scheduler: Scheduler[Trace] = Scheduler(self.engine, helpers=helpers)
            ticker = Ticker(self.engine, len(contenders) * len(problems), LOST_CAUSE * len(contenders))
            ended = self._drain(scheduler, _loops(contenders, problems), ticker)
        return {one.name: [ended[_key(one, problem)] for problem in problems] for one in contenders}

    def close(self) -> None:
        self.engine.close()

    def _drain(self, scheduler: Scheduler[Trace], loops: Loops, ticker: Ticker) -> dict[str, Trace]:
        ended: dict[str, Trace] = {}
        with interrupts(scheduler.stop, scheduler.abort) as seen:
            for key, trace in scheduler.run(loops):
                if self.engine.trouble:
                    raise self.engine.trouble
                ended[key] = trace
                ticker.ended(trace)
        if seen.count:
            print("score-local: every reply is kept; go on with the same command and --resume", file=sys.stderr)
            raise KeyboardInterrupt
        return ended

    def _open_engine(self) -> Engine:
        return setup.open_model(self._options, self._path, self._adapters, self._options.parallel)

    def _helpers(self, contenders: Sequence[Contender]) -> Helpers:
        asked = {name for contender in contenders for name in contender.setting.policy.verify.verifiers}
        judge = _recorded_judge(self._judge, self._folder) if self._judge and "model" in asked else None
        return Helpers(judge, Sandbox() if "program" in asked else None)

    def _at_once(self, contenders: Sequence[Contender]) -> int:
        """How many problems are worked on: enough to fill the sequences, although most wait for their first solution;
        few enough that a problem's prompt is still in the cache when its next request comes."""
        widest = max(setup.width_of(contender.setting.policy) for contender in contenders)
        parallel: int = self._options.parallel
        return min(parallel, 1 + 2 * parallel // widest)


@dataclass
class Ticker:
    """Tells on stderr how far it is: a line now and then, and one where all have ended."""

    engine: RecordedEngine
    total: int
    lost_cause: int
    done: int = 0
    failed_in_a_row: int = 0
    began: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    def ended(self, trace: Trace) -> None:
        """Raises RunError where nothing but failures has come for a while."""
        self.done += 1
        self.failed_in_a_row = self.failed_in_a_row + 1 if trace.status == "failed" else 0
        if self.failed_in_a_row >= self.lost_cause:
            what = f"{self.failed_in_a_row} attempts failed one after another, the last: {trace.error}"
            raise RunError(what, next="Mend that, then go on with --resume")
        if time.monotonic() - self.told >= PLAIN_INTERVAL or self.done == self.total:
            self._tell()

    def _tell(self) -> None:
        self.told = time.monotonic()
        minutes = (self.told - self.began) / max(self.done, 1) * (self.total - self.done) / 60
        left = f", {minutes:,.0f} min left" if 0 < self.done < self.total else ""
        told = f"{self.done:,}/{self.total:,} attempts, {self.engine.asked:,} replies from the model{left}"
        print(told, file=sys.stderr, flush=True)


def _recorded_judge(judge: Judge, folder: Path) -> RecordedEngine:
    whose = f"{judge.url}\n{judge.model}" if judge.url else file_sha256(catalog.resolve(judge.model))
    record = ReplyRecord(folder / JUDGE_REPLIES, Identity(judge.model, whose, 0))
    return RecordedEngine(lambda: setup.judge_of(judge), record, judge.parallel)


def _loops(contenders: Sequence[Contender], problems: Sequence[Problem]) -> Loops:
    for problem in problems:
        for contender in contenders:
            steps = attempt(problem, contender.setting.policy, contender.setting.trust)
            yield _key(contender, problem), renamed(steps, contender.adapters)


def _key(contender: Contender, problem: Problem) -> str:
    return f"{contender.name}\n{problem.id}"


def renamed(steps: Steps[Trace], adapters: Mapping[str, str]) -> Generator[tuple[Ask, ...], tuple[Answer, ...], Trace]:
    """The steps, with each adapter asked for by the name under which the shared engine knows it."""
    try:
        asks = next(steps)
        while True:
            asks = steps.send((yield tuple(_renamed(ask, adapters) for ask in asks)))
    except StopIteration as end:
        trace: Trace = end.value
        return trace


def _renamed(ask: Ask, adapters: Mapping[str, str]) -> Ask:
    if isinstance(ask, (Generate, Score)) and ask.adapter is not None:
        return replace(ask, adapter=adapters[ask.adapter])
    return ask
