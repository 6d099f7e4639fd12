"""Solves problems into a run folder: what `batch` and the terminal app's batch screen share."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import msgspec

from score_local.commands.setup import Setting
from score_local.engine.steps import Steps
from score_local.evaluate.summary import Summary, summarize
from score_local.methods import attempt
from score_local.problem import Problem
from score_local.runs import Run
from score_local.schedule import Scheduler
from score_local.trace import Trace


def solve_into(run: Run, problems: Sequence[Problem], setting: Setting, scheduler: Scheduler[Trace]) -> Iterator[Trace]:
    """Each trace, timed and written, in the order they end; fewer where the scheduler is stopped. Raises RunError."""
    began: dict[str, float] = {}
    last = time.monotonic()

    def loops() -> Iterator[tuple[str, Steps[Trace]]]:
        for problem in problems:
            began[problem.id] = time.monotonic()
            yield problem.id, attempt(problem, setting.policy, setting.trust)

    for key, trace in scheduler.run(loops()):
        now = time.monotonic()
        timed, last = msgspec.structs.replace(trace, seconds=now - began.pop(key), wall=now - last), now
        run.append(timed)
        yield timed


def sum_up(run: Run, traces: Sequence[Trace]) -> Summary:
    """The summary of a run, written into its folder. Raises RunError."""
    summary = summarize(
        traces, threshold=run.manifest.policy.verify.gate, wall_seconds=sum(trace.wall for trace in traces)
    )
    run.write_summary(summary)
    return summary
