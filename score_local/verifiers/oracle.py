"""*oracle*: compares with the gold answer. For measuring the ceiling only; it knows what no user has."""

from __future__ import annotations

from score_local import answers
from score_local.engine.steps import Steps, immediately
from score_local.problem import Problem
from score_local.trace import Attempt, Signal
from score_local.verifiers.case import Case


def oracle_verifier(case: Case) -> Steps[Signal]:
    """P(incorrect) is 0 or 1; unknown without a gold answer. A solution without an answer is incorrect."""
    return immediately(_signal(case.problem, case.attempt))


def _signal(problem: Problem, attempt: Attempt) -> Signal:
    if problem.answer is None:
        return Signal("oracle", None, "no gold answer")
    if attempt.answer is None:
        return Signal("oracle", 1.0, "the solution holds no answer")
    right = answers.is_right(attempt.answer, problem.answer, problem.kind)
    if right is None:
        return Signal("oracle", None, "the answers could not be compared")
    return Signal("oracle", 0.0 if right else 1.0)
