"""*arithmetic*: every equation of every step, recomputed exactly; no model."""

from __future__ import annotations

from score_local.engine.steps import Steps, immediately
from score_local.trace import Signal
from score_local.verifiers.case import Case
from score_local.verifiers.equations import check_steps, first_wrong, split_steps

P_WRONG_EQUATION = 0.95  # not 1: the solution's answer may be right in spite of a slip on the way


def arithmetic_verifier(case: Case) -> Steps[Signal]:
    """P(incorrect) is high where an equation does not hold. Where all hold it is unknown: right arithmetic says
    little about right reasoning."""
    return immediately(arithmetic_signal(case.attempt.text))


def arithmetic_signal(solution: str) -> Signal:
    """The signal for the text of a solution."""
    checks = check_steps(split_steps(solution))
    details: dict[str, float | int | str] = {
        "checked": sum(check.holds is not None for check in checks),
        "wrong": sum(check.holds is False for check in checks),
    }
    wrong = first_wrong(checks)
    if wrong is None:
        reason = "all equations hold" if details["checked"] else "no equation could be checked"
        return Signal("arithmetic", None, reason, details=details)
    return Signal(
        "arithmetic",
        P_WRONG_EQUATION,
        f"step {wrong.step}: {wrong.text} (it is {wrong.expected})",
        wrong_step=wrong.step,
        details=details,
    )
