"""What of a batch is shown: a row a problem, a line for the file, a line for how it goes."""

from __future__ import annotations

from collections.abc import Iterable

from score_local.commands.progress import Tally
from score_local.evaluate.tables import problem_row
from score_local.problem import Problem
from score_local.trace import Trace
from tui.batch_job import Batch

WAITING = "waiting"


def rows_of(batch: Batch) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Key and cells of each problem: id, question, initial, verdict, final, gold, mark, status."""
    for problem in batch.problems:
        trace = batch.traces.get(problem.id)
        yield problem.id, cells_of(trace) if trace else _waiting(problem)


def cells_of(trace: Trace) -> tuple[str, ...]:
    """The row of a problem that has ended."""
    id, _, initial, p, final, gold, mark = problem_row(trace)
    status = "refined" if trace.refined else trace.status
    return (id, trace.question, initial, p, final, gold, mark if trace.gold is not None else "", status)


def opened(batch: Batch) -> str:
    """What a file and its run folder hold."""
    parts = [f"{len(batch.problems)} problems, {len(batch.traces)} of them in {batch.folder}"]
    if batch.faults:
        lines = "1 line" if len(batch.faults) == 1 else f"{len(batch.faults)} lines"
        parts.append(f"{lines} cannot be read, the first: {batch.faults[0]}")
    parts.append(score_of(batch) or "s starts")
    return ". ".join(parts)


def score_of(batch: Batch) -> str:
    """How many are right, over all of them that the run folder holds, whenever they were solved."""
    tally = Tally(0)
    for trace in batch.traces.values():
        tally.count(trace)
    return tally.score()


def _waiting(problem: Problem) -> tuple[str, ...]:
    return (problem.id, problem.question, "", "", "", problem.answer or "", "", WAITING)
