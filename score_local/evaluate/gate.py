"""What a gate does to a set of attempts: the threshold that is best for them, what it fixes and breaks, and whether it
does harm. One rule: it opens where p >= threshold, or where there is no answer (`loop.opens`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import compress

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


def cross_fitted_point(
    rows: Sequence[Row], chosen_on: Sequence[float], applied_to: Sequence[float], folds: Sequence[int], lowest: float
) -> GatePoint:
    """What the gate does to the rows of each fold at the threshold that is best for the other folds: a threshold looks
    harmless on the very rows it was chosen on, as a gate that does harm to them would not have been chosen.

    All are a number a row, out of fold: a threshold is chosen on `chosen_on`, and the gate opened by `applied_to`. The
    point bears the threshold that is best for all.
    """
    learned = cross_fitted_thresholds(rows, chosen_on, folds, lowest)
    found = (gate_point([row], [p], threshold) for row, p, threshold in zip(rows, applied_to, learned, strict=True))
    return _joined(found, best_point(gate_curve(rows, chosen_on, lowest)).threshold)


def cross_fitted_thresholds(
    rows: Sequence[Row], chosen_on: Sequence[float], folds: Sequence[int], lowest: float
) -> list[float]:
    """For each row the threshold that is best for the rows of the other folds."""
    learned = {}
    for fold in set(folds):
        others = [one != fold for one in folds]
        learned[fold] = best_point(gate_curve([*compress(rows, others)], [*compress(chosen_on, others)], lowest))
    return [learned[fold].threshold for fold in folds]


def sign_test_p(more: int, fewer: int) -> float:
    """P(at least `more` of all) where both are equally likely: the upper binomial tail, exact in whole numbers."""
    n = more + fewer
    return sum(math.comb(n, k) for k in range(more, n + 1)) / (1 << n)


def safety(curve: Sequence[GatePoint], out_of_fold: GatePoint) -> tuple[bool, str]:
    """(whether refinement may stay on, why), from the rows that are fitted on alone: the curve of its thresholds, and
    what a fold's gate does whose threshold was chosen without it. Were it decided on the rows that are reported on,
    their report would hold no harm.

    It is turned off where the gate does harm out of fold, and where no threshold gains anything over a shut gate while
    the most open one does harm: "harm" is more breaks than fixes with 95% confidence by the one-sided sign test.
    """
    best, widest, shut = best_point(curve), curve[0], curve[-1]
    if out_of_fold.harmful:
        return False, f"refinement is off: out of fold the gate does harm, it {_told(out_of_fold)}"
    if best.right <= shut.right and widest.harmful:
        at = f"at p >= {widest.threshold:.2f} it {_told(widest)}"
        return False, f"refinement is off: no threshold gains anything, and an open gate does harm, {at}"
    if not best.opened_on_answers:
        return True, "no threshold gains anything: the gate opens only for attempts without an answer"
    return True, f"refinement is on: out of fold the gate {_told(out_of_fold)}"


def seen(point: GatePoint, where: str) -> str:
    """What the gate did to other problems, in words: nothing is decided by it."""
    harm = ", which is harm" if point.harmful else ""
    return f"on {where}, at p >= {point.threshold:.2f}, it {_told(point)}{harm}"


def _told(point: GatePoint) -> str:
    p = "p < 0.001" if point.p_harm < 0.001 else f"p = {point.p_harm:.3f}"
    return (
        f"broke {point.broken} right answers and fixed {point.fixed} wrong ones of {point.n} "
        f"(one-sided sign test for harm: {p})"
    )


def _joined(points: Iterable[GatePoint], threshold: float) -> GatePoint:
    """The counts of all; their own thresholds may differ."""
    counts = zip(*(msgspec.structs.astuple(point)[1:] for point in points), strict=True)
    return GatePoint(threshold, *map(sum, counts))
