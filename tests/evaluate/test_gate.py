"""The gate as tables: what a threshold does, which is best, and when it does harm."""

from __future__ import annotations

import pytest

from score_local.evaluate.calibration_rows import Row
from score_local.evaluate.gate import (
    best_point,
    cross_fitted_point,
    gate_curve,
    gate_point,
    safety,
    seen,
    sign_test_p,
    thresholds,
)
from score_local.trace import Attempt, Trace


def row(right: bool, right_if_opened: bool, answer: str | None = "1") -> Row:
    return Row(Trace(id="x", question="?"), Attempt("", answer), (), right, right_if_opened)


WRONG_FIXED, WRONG_STILL, RIGHT_BROKEN, RIGHT_KEPT = (
    row(False, True),
    row(False, False),
    row(True, False),
    row(True, True),
)


def test_a_point_counts_what_goes_through() -> None:
    rows = [WRONG_FIXED, WRONG_STILL, RIGHT_BROKEN, RIGHT_KEPT, row(False, True, None)]
    point = gate_point(rows, [0.7, 0.9, 0.7, 0.2, 0.0], 0.7)
    assert (point.opened, point.opened_on_answers, point.fixed, point.broken, point.right) == (4, 3, 2, 1, 3)


def test_the_best_threshold_is_the_lowest_of_equals() -> None:
    curve = gate_curve([WRONG_FIXED, RIGHT_BROKEN], [0.9, 0.6])
    assert best_point(curve).threshold == 0.61 and best_point(curve).right == 2
    assert best_point(gate_curve([RIGHT_KEPT], [0.6])).threshold == 0.5


def test_thresholds_are_those_of_the_paper() -> None:
    found = thresholds()
    assert (found[0], found[1], found[-1], len(found)) == (0.5, 0.51, 1.0, 51)
    assert thresholds(0.29)[0] == 0.29


@pytest.mark.parametrize(("more", "fewer", "p"), [(0, 0, 1.0), (5, 0, 1 / 32), (1, 1, 0.75), (8, 2, 56 / 1024)])
def test_the_sign_test_is_exact(more: int, fewer: int, p: float) -> None:
    assert sign_test_p(more, fewer) == pytest.approx(p)


def test_a_fold_has_no_say_in_its_own_threshold() -> None:
    """All five together would keep the gate shut; each fold is opened, or not, as the other one likes it."""
    rows, ps, folds = [RIGHT_BROKEN] * 5 + [WRONG_FIXED] * 2, [0.6] * 7, [0] * 5 + [1] * 2
    point = cross_fitted_point(rows, ps, ps, folds, 0.5)
    assert (point.opened, point.fixed, point.broken, point.n, point.right) == (5, 0, 5, 7, 0)
    assert point.threshold == 0.61 and point.harmful
    shut = cross_fitted_point(rows, ps, [0.0] * 7, folds, 0.5)
    assert (shut.opened, shut.threshold) == (0, 0.61), "chosen on the one, opened by the other"


def test_what_other_problems_saw_is_told() -> None:
    assert seen(gate_point([WRONG_FIXED], [0.8], 0.7), "the other half") == (
        "on the other half, at p >= 0.70, it broke 0 right answers and fixed 1 wrong ones of 1 "
        "(one-sided sign test for harm: p = 1.000)"
    )
    assert seen(gate_point([RIGHT_BROKEN] * 5, [0.8] * 5, 0.7), "the other half").endswith("p = 0.031), which is harm")


# (rows fitted on, those out of fold, whether refinement stays on, what is said)
SAFETY = [
    ([WRONG_FIXED] * 5, [WRONG_FIXED] * 5, True, "refinement is on"),
    ([WRONG_FIXED] * 5, [RIGHT_BROKEN] * 5, False, "out of fold the gate does harm"),
    ([RIGHT_BROKEN] * 5, [RIGHT_KEPT] * 5, False, "an open gate does harm"),
    ([RIGHT_BROKEN] * 2, [RIGHT_KEPT] * 5, True, "no threshold gains anything"),
]


@pytest.mark.parametrize(("fitted", "out_of_fold", "on", "told"), SAFETY)
def test_the_safety_rule(fitted: list[Row], out_of_fold: list[Row], on: bool, told: str) -> None:
    curve = gate_curve(fitted, [0.8] * len(fitted))
    refine, verdict = safety(curve, gate_point(out_of_fold, [0.8] * len(out_of_fold), best_point(curve).threshold))
    assert refine is on and told in verdict
