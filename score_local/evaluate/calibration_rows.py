"""From the traces of a run to what a calibration is fitted on, and what is refused on the way.

A row is a first attempt: whether it is right, what the verifiers said, and what its refinement would change. Later
rounds are not looked at: SCORE refines once. Behind an open gate stands the refinement, or what is elected there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from score_local.engine.protocol import Usage
from score_local.errors import PolicyError, RunError
from score_local.loop import decide
from score_local.trace import Attempt, Signal, Trace
from score_local.verifiers.combine import ORACLE

FitOn = Literal["half", "other-half", "all"]
LEAST_PER_CLASS = 10
LEAST_PER_SIGNAL = 5


@dataclass(frozen=True, slots=True)
class Row:
    """A first attempt. `right` is whether it is, `right_if_opened` whether what stands behind an open gate is."""

    trace: Trace
    attempt: Attempt
    signals: tuple[Signal, ...]
    right: bool
    right_if_opened: bool

    def signal(self, name: str) -> Signal:
        return next(signal for signal in self.signals if signal.verifier == name)

    def spent_on(self, names: Sequence[str]) -> Usage:
        return sum((self.signal(name).usage for name in names), Usage())

    def spent_behind_gate(self) -> Usage:
        """On the refinement, and on what was drawn to vote on it."""
        refinement = self.trace.rounds[0].refinement
        drawn = (candidate.usage for candidate in self.trace.candidates)
        return sum(drawn, refinement.usage if refinement else Usage())


def rows_of(traces: Sequence[Trace], where: str) -> list[Row]:
    """The rows of the traces that have a gold answer and an attempt, in the order of their ids.

    Raises RunError where there are none, or where an attempt was never refined: its fate behind an open gate cannot
    be known.
    """
    judged = [trace for trace in traces if trace.gold is not None and trace.initial is not None and trace.rounds]
    if not judged:
        what = f"none of {len(traces)} problems has a gold answer and a solution"
        raise RunError(what, where, "Make a run of problems with gold answers")
    untried = [trace.id for trace in judged if not _tried(trace)]
    if untried:
        what = f"{len(untried)} of {len(judged)} solutions have no refinement, the first is that of {untried[0]!r}"
        raise RunError(what, where, "Calibrate a run that was made with --refine always")
    return [_row(trace) for trace in sorted(judged, key=lambda trace: trace.id)]


def to_fit_on(problem_id: str, fit_on: FitOn) -> bool:
    """Whether a problem is fitted on. Its half hangs on its id alone, so it is the same in every run."""
    return fit_on == "all" or _in_second_half(problem_id) == (fit_on == "other-half")


def to_report_on(problem_id: str, fit_on: FitOn) -> bool:
    """Whether a problem is reported on: the half that is not fitted on; with `all` each is both."""
    return fit_on == "all" or not to_fit_on(problem_id, fit_on)


def question_hash(question: str) -> str:
    """By which a question that was fitted on is known again, whatever its id in another file."""
    return hashlib.sha256(question.encode()).hexdigest()[:12]


def signals_of(rows: Sequence[Row], wanted: Sequence[str] | None, where: str) -> tuple[str, ...]:
    """The verifiers to calibrate: `wanted`, in that order, or all that ever spoke, cheap ones first.

    The oracle knows what no user has and is left out. Raises PolicyError where a wanted one never spoke, RunError where
    one was not asked of every row: a run in which the cheap ones had decided.
    """
    spoke = dict.fromkeys(s.verifier for row in rows for s in row.signals if s.p_incorrect is not None)
    spoke.pop(ORACLE, None)
    chosen = list(spoke if wanted is None else dict.fromkeys(wanted))
    for name in chosen:
        if name not in spoke:
            what = f"{name!r} said nothing that could be calibrated in this run"
            raise PolicyError(what, "--signals", f"Choose from: {', '.join(spoke)}")
        lacking = sum(all(s.verifier != name for s in row.signals) for row in rows)
        if lacking:
            what = f"{name!r} was not asked in {lacking} of {len(rows)} problems"
            raise RunError(what, where, "Calibrate a run made without verify.calibration: it asks every verifier")
    return tuple(chosen if wanted is not None else sorted(chosen, key=lambda name: _cost(rows, name)))


def require_problems(count: int, where: str) -> None:
    """Raises RunError where so few problems are fitted on that no model could solve enough of them."""
    if count < 2 * LEAST_PER_CLASS:
        least = f"at least {LEAST_PER_CLASS} right and {LEAST_PER_CLASS} incorrect first solutions"
        what = f"a calibration needs {least}, and there are {count} problems to fit on"
        raise RunError(what, where, "Evaluate more problems")


def require_enough(rows: Sequence[Row], signals: Sequence[str], where: str) -> None:
    """Raises RunError where there is too little of one class to learn from, naming the number that is needed."""
    least = max(LEAST_PER_CLASS, LEAST_PER_SIGNAL * len(signals))
    right = sum(row.right for row in rows)
    incorrect = len(rows) - right
    rarer, fewest = ("right", right) if right < incorrect else ("incorrect", incorrect)
    if fewest >= least:
        return
    what = (
        f"calibrating {len(signals)} verifiers needs at least {least} right and {least} incorrect first solutions to "
        f"fit on ({LEAST_PER_SIGNAL} of each a verifier and no fewer than {LEAST_PER_CLASS}: with less, chance sets "
        f"the weights), and there are {right} right and {incorrect} incorrect"
    )
    if not fewest:
        raise RunError(
            what, where, f"With one class there is nothing to tell apart: add problems with {rarer} solutions"
        )
    problems = -(-least * len(rows) // fewest)
    raise RunError(
        what, where, f"At this accuracy that takes about {problems} problems to fit on; --fit-on all uses all"
    )


def with_probability(row: Row, p_incorrect: float) -> Trace:
    """The row's trace as if the verdict on its first attempt had been this; one round."""
    return _believing(row.trace, p_incorrect)


def _row(trace: Trace) -> Row:
    assert trace.initial is not None
    first = trace.rounds[0]
    opened = decide(_believing(trace, 1.0), 1.0)
    return Row(trace, trace.initial, first.signals, trace.initial_correct is True, opened.final_correct is True)


def _tried(trace: Trace) -> bool:
    """Whether it is known what stands behind an open gate."""
    return bool(trace.candidates or trace.rounds[0].refinement or trace.rounds[0].error)


def _believing(trace: Trace, p_incorrect: float) -> Trace:
    first = msgspec.structs.replace(trace.rounds[0], p_incorrect=p_incorrect)
    return msgspec.structs.replace(trace, rounds=(first,))


def _in_second_half(problem_id: str) -> bool:
    return bool(hashlib.sha256(problem_id.encode()).digest()[0] & 1)


def _cost(rows: Sequence[Row], name: str) -> tuple[float, int, int, str]:
    """Seconds of a sequence, then tokens: what sorts verifiers, cheap ones first."""
    spent = sum((row.spent_on([name]) for row in rows), Usage())
    return spent.seconds, spent.generated, spent.prompt - spent.reused, name
