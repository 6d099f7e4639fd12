"""The statistics, against published values, brute force, and what must not change them."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.evaluate import metrics
from score_local.evaluate.metrics import Difference

PROBABILITIES = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.7, 0.99, 1.0])  # few values, so that many tie
VERDICTS = st.lists(st.tuples(st.booleans(), PROBABILITIES), min_size=1, max_size=40)

# Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3.
WILSON = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0000, 0.1611),
    (1, 29, 0.0061, 0.1718),
]

# (both right, fixed, broken, neither), points, low, high
NEWCOMBE = [
    ((36, 12, 2, 0), 20.00, 5.69, 34.04, "Newcombe 1998b, method 10: a negative correlation"),
    ((14, 5, 0, 22), 12.20, 1.15, 22.65, "Altman et al. 2000, Statistics with confidence, table 6.2: 0.01 to 0.23"),
    ((1, 1, 7, 12), -28.57, -50.69, -2.56, "Bentur et al. 2009, in Fagerland, Lydersen, Laake 2014: -0.507 to -0.026"),
]

MCNEMAR = [
    (1, 7, 0.0703125, "Bentur et al. 2009, in Fagerland, Lydersen, Laake 2013: 0.0703"),
    (6, 16, 0.052478790283203125, "Cavo et al. 2012, in the same: 0.0525"),
    (0, 5, 0.0625, "2 / 2**5"),
    (3, 3, 1.0, "the two tails overlap"),
    (0, 0, 1.0, "nothing changed"),
]


@pytest.mark.parametrize(("successes", "n", "low", "high"), WILSON)
def test_wilson_as_published(successes: int, n: int, low: float, high: float) -> None:
    interval = metrics.wilson(successes, n)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_proportion_and_mirrors(case: tuple[int, int]) -> None:
    successes, n = case
    interval, mirrored = metrics.wilson(successes, n), metrics.wilson(n - successes, n)
    assert interval is not None and mirrored is not None
    assert 0 <= interval.low <= successes / n + 1e-12 and successes / n - 1e-12 <= interval.high <= 1
    assert (interval.low, interval.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


@pytest.mark.parametrize(("fixed", "broken", "p", "why"), MCNEMAR)
def test_mcnemar(fixed: int, broken: int, p: float, why: str) -> None:
    assert metrics.mcnemar_p(fixed, broken) == pytest.approx(p, abs=1e-12), why
    assert metrics.mcnemar_p(broken, fixed) == metrics.mcnemar_p(fixed, broken)


def test_mcnemar_of_many_changes_neither_overflows_nor_vanishes() -> None:
    assert 0 < metrics.mcnemar_p(1000, 1200) < 1e-4
    assert metrics.mcnemar_p(0, 2000) == 0.0  # 2**-1999 is below the smallest float


@pytest.mark.parametrize(("cells", "points", "low", "high", "why"), NEWCOMBE)
def test_paired_difference_as_published(
    cells: tuple[int, int, int, int], points: float, low: float, high: float, why: str
) -> None:
    found = difference(*cells)
    assert (found.points, found.low, found.high) == pytest.approx((points, low, high), abs=0.005), why
    assert found.p == metrics.mcnemar_p(cells[1], cells[2])


@given(st.tuples(*[st.integers(0, 60)] * 4).filter(any))
def test_paired_difference_holds_its_estimate_and_mirrors(cells: tuple[int, int, int, int]) -> None:
    both, fixed, broken, neither = cells
    there, back = difference(both, fixed, broken, neither), difference(both, broken, fixed, neither)
    assert -100 - 1e-9 <= there.low <= there.points + 1e-9 and there.points - 1e-9 <= there.high <= 100 + 1e-9
    assert (there.points, there.low, there.high) == pytest.approx((-back.points, -back.high, -back.low))


def test_paired_difference_without_a_change_still_has_a_width() -> None:
    found = difference(10, 0, 0, 10)
    assert found.points == 0 and found.p == 1
    assert found.low < 0 < found.high


def test_auroc_of_hanley_and_mcneil() -> None:
    """Their 109 CT images, rated 1 to 5 (Hanley, McNeil 1982, table I): area 0.893, standard error 0.032."""
    labels = [False] * 58 + [True] * 51
    ratings = [1, 2, 3, 4, 5]
    normal = [r for r, n in zip(ratings, (33, 6, 6, 11, 2), strict=True) for _ in range(n)]
    abnormal = [r for r, n in zip(ratings, (3, 2, 2, 11, 33), strict=True) for _ in range(n)]
    area = metrics.auroc(labels, normal + abnormal)
    assert area is not None
    assert area == pytest.approx(0.893, abs=5e-4)
    assert metrics.auroc_error(0.893, 51, 58) == pytest.approx(0.032, abs=5e-4)
    interval = metrics.auroc_interval(labels, normal + abnormal)
    assert interval is not None
    for limit in (interval.low, interval.high):
        assert abs(limit - area) == pytest.approx(metrics.Z * metrics.auroc_error(limit, 51, 58))


@given(VERDICTS)
def test_auroc_is_the_share_of_pairs_in_order(verdicts: list[tuple[bool, float]]) -> None:
    labels, ps = [label for label, _ in verdicts], [p for _, p in verdicts]
    pairs = list(product([p for label, p in verdicts if label], [p for label, p in verdicts if not label]))
    wins = sum(1.0 if bad > good else 0.5 if bad == good else 0.0 for bad, good in pairs)
    assert metrics.auroc(labels, ps) == (pytest.approx(wins / len(pairs)) if pairs else None)


@given(VERDICTS)
def test_auroc_sees_only_the_order(verdicts: list[tuple[bool, float]]) -> None:
    labels, ps = [label for label, _ in verdicts], [p for _, p in verdicts]
    area = metrics.auroc(labels, ps)
    assert metrics.auroc(labels, [math.exp(3 * p) - 7 for p in ps]) == area
    if area is not None:
        assert metrics.auroc(labels, [-p for p in ps]) == pytest.approx(1 - area)
        assert metrics.auroc([not label for label in labels], ps) == pytest.approx(1 - area)


@given(VERDICTS)
def test_auroc_interval_holds_the_area(verdicts: list[tuple[bool, float]]) -> None:
    labels, ps = [label for label, _ in verdicts], [p for _, p in verdicts]
    area, interval = metrics.auroc(labels, ps), metrics.auroc_interval(labels, ps)
    assert (area is None) == (interval is None)
    if area is not None and interval is not None:
        assert 0 <= interval.low <= area <= interval.high <= 1
        assert interval.low < interval.high


def test_a_perfect_auroc_is_not_certain() -> None:
    few = metrics.auroc_interval([True] * 3 + [False] * 3, [0.9] * 3 + [0.1] * 3)
    many = metrics.auroc_interval([True] * 300 + [False] * 300, [0.9] * 300 + [0.1] * 300)
    assert few is not None and many is not None
    assert few.high == many.high == 1
    assert few.low < 0.7 and many.low > 0.95


def test_f1_and_balanced_accuracy_by_hand() -> None:
    """3 incorrect, of which 2 flagged; 3 correct, of which 1 flagged. p = threshold is flagged."""
    labels = [True, True, True, False, False, False]
    ps = [0.9, 0.5, 0.2, 0.6, 0.4, 0.0]
    assert metrics.f1_incorrect(labels, ps, 0.5) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert metrics.balanced_accuracy(labels, ps, 0.5) == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert metrics.f1_incorrect(labels, ps, 0.51) == pytest.approx(2 * 1 / (2 * 1 + 1 + 2))


def test_expected_calibration_error_by_hand() -> None:
    """Bins of 0.1: {0.05, 0.05: none incorrect}, {0.95: incorrect}, {1.0 is in the last bin: not incorrect}."""
    labels, ps = [False, False, True, False], [0.05, 0.05, 0.95, 1.0]
    assert metrics.expected_calibration_error(labels, ps) == pytest.approx((2 * 0.05 + 2 * abs(1.95 / 2 - 1 / 2)) / 4)
    assert metrics.expected_calibration_error(labels, ps, bins=1) == pytest.approx(abs(2.05 - 1) / 4)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_a_verdict_that_is_the_truth_is_calibrated(labels: list[bool]) -> None:
    assert metrics.expected_calibration_error(labels, [float(label) for label in labels]) == 0
    assert metrics.expected_calibration_error(labels, [1.0 - label for label in labels]) == 1


def test_what_has_no_value_is_none() -> None:
    assert metrics.wilson(0, 0) is None
    assert metrics.ratio(0, 0) is None
    assert metrics.paired_difference([], []) is None
    assert metrics.expected_calibration_error([], []) is None
    for labels, ps in (([], []), ([True], [0.5]), ([False, False], [0.1, 0.2])):
        assert metrics.auroc(labels, ps) is None
        assert metrics.auroc_interval(labels, ps) is None
        assert metrics.balanced_accuracy(labels, ps, 0.5) is None
    assert metrics.f1_incorrect([False], [0.1], 0.5) is None
    assert metrics.f1_incorrect([True], [0.1], 0.5) == 0


def test_sequences_of_different_length_are_a_bug_that_shows() -> None:
    with pytest.raises(ValueError):
        metrics.auroc([True], [0.5, 0.6])
    with pytest.raises(ValueError):
        metrics.paired_difference([True], [])


def difference(both: int, fixed: int, broken: int, neither: int) -> Difference:
    before = [True] * both + [False] * fixed + [True] * broken + [False] * neither
    after = [True] * both + [True] * fixed + [False] * broken + [False] * neither
    found = metrics.paired_difference(before, after)
    assert found is not None
    return found
