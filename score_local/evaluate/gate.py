"""What a gate does to a set of attempts: the threshold that is best for them, what it fixes and breaks, and whether it
does harm. One rule: it opens where p >= threshold, or where there is no answer (`loop.opens`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from score_local.evaluate.calibration_rows import Row
from score_local.loop import opens

SCORE_LOWEST = 0.5  # SCORE tries 0.50, 0.51, ... 1.00
SIGNIFICANT = 0.05


class GatePoint(msgspec.Struct, frozen=True):
    """What a threshold does to `n` attempts: how many gates open, wrong that become right, right that become wrong.

    `opened_on_answers` counts those that opened because of the probability, and not for want of an answer.
    """

    threshold: float
    n: int
    opened: int
    opened_on_answers: int
    fixed: int
    broken: int
    right: int

    @property
    def gain(self) -> int:
        return self.fixed - self.broken

    @property
    def p_harm(self) -> float:
        """One-sided exact sign test: how likely so many of the changes are breaks where fixes are as likely."""
        return sign_test_p(self.broken, self.fixed)

    @property
    def harmful(self) -> bool:
        return self.p_harm < SIGNIFICANT


def thresholds(lowest: float = SCORE_LOWEST) -> list[float]:
    """`lowest` to 1.00 in steps of 0.01. At 1.00 the gate is shut: no calibrated probability reaches it."""
    return [hundredths / 100 for hundredths in range(math.ceil(round(100 * lowest, 6)), 101)]


def gate_point(rows: Sequence[Row], ps: Sequence[float | None], threshold: float) -> GatePoint:
    """Counts what happens to the rows, whose probabilities are `ps`, at one threshold."""
    opened = [opens(threshold, p, row.attempt.answer) for row, p in zip(rows, ps, strict=True)]
    through = [row for row, open_ in zip(rows, opened, strict=True) if open_]
    fixed = sum(row.right_if_opened and not row.right for row in through)
    broken = sum(row.right and not row.right_if_opened for row in through)
    return GatePoint(
        threshold=threshold,
        n=len(rows),
        opened=len(through),
        opened_on_answers=sum(row.attempt.answer is not None for row in through),
        fixed=fixed,
        broken=broken,
        right=sum(row.right for row in rows) + fixed - broken,
    )


def gate_curve(rows: Sequence[Row], ps: Sequence[float | None], lowest: float = SCORE_LOWEST) -> list[GatePoint]:
    """A point for each threshold, the lowest first."""
    return [gate_point(rows, ps, threshold) for threshold in thresholds(lowest)]


def best_point(curve: Sequence[GatePoint]) -> GatePoint:
    """The point with the highest final accuracy; of equal ones the lowest threshold (SCORE)."""
    return max(curve, key=lambda point: (point.right, -point.threshold))


def sign_test_p(more: int, fewer: int) -> float:
    """P(at least `more` of all) where both are equally likely: the upper binomial tail, exact in whole numbers."""
    n = more + fewer
    return sum(math.comb(n, k) for k in range(more, n + 1)) / (1 << n)


def safety(curve: Sequence[GatePoint], held_out: GatePoint, held_out_on: str) -> tuple[bool, str]:
    """(whether refinement may stay on, why), from the curve it was chosen on and the chosen point on other problems.

    It is turned off where the gate, at the chosen threshold, does harm on the other problems, and where no threshold
    gains anything over a shut gate while the most open one does harm: "harm" is more breaks than fixes with 95%
    confidence by the one-sided sign test.
    """
    best, widest, shut = best_point(curve), curve[0], curve[-1]
    if held_out.harmful:
        return False, f"refinement is off: on {held_out_on} the gate does harm, {_told(held_out)}"
    if best.right <= shut.right and widest.harmful:
        return False, f"refinement is off: no threshold gains anything, and an open gate does harm, {_told(widest)}"
    if not best.opened_on_answers:
        return True, "no threshold gains anything: the gate opens only for attempts without an answer"
    return True, f"refinement is on; on {held_out_on} the gate did this: {_told(held_out)}"


def _told(point: GatePoint) -> str:
    p = "p < 0.001" if point.p_harm < 0.001 else f"p = {point.p_harm:.3f}"
    return (
        f"at p >= {point.threshold:.2f} it broke {point.broken} right answers and fixed {point.fixed} wrong ones "
        f"of {point.n} (one-sided sign test for harm: {p})"
    )
