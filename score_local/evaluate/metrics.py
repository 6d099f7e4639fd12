"""The statistics of a report, as pure functions on sequences. All intervals are 95%.

The positive class is *incorrect*: that is what a verifier has to find. What has no value (no data, one class only) is
None, never 0. Nothing here knows of traces; unknown verdicts and answers are the caller's to count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from statistics import NormalDist
from typing import NamedTuple

import msgspec

Z = NormalDist().inv_cdf(0.975)


class Interval(msgspec.Struct, frozen=True):
    """A 95% interval."""

    low: float
    high: float


class Difference(msgspec.Struct, frozen=True):
    """After minus before in percentage points (-100 to 100) with a 95% interval, and McNemar's exact p."""

    points: float
    low: float
    high: float
    p: float


class _Pairs(NamedTuple):
    """How often both, only the later, only the earlier, or neither was right."""

    both: int
    fixed: int
    broken: int
    neither: int


class _Confusion(NamedTuple):
    """Incorrect and flagged, correct and flagged, incorrect and passed, correct and passed."""

    hits: int
    false_alarms: int
    misses: int
    passes: int


def ratio(part: float, whole: float) -> float | None:
    """`part / whole`; None where there is no whole."""
    return part / whole if whole else None


def wilson(successes: int, n: int) -> Interval | None:
    """Wilson's score interval of a proportion, not continuity-corrected (Wilson 1927; Newcombe 1998a, method 3)."""
    if n == 0:
        return None
    share, z2 = successes / n, Z * Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def mcnemar_p(fixed: int, broken: int) -> float:
    """McNemar's test, two-sided and exact: of the problems that changed, half would have changed either way.

    Twice the binomial tail of the rarer change, at most 1; 1 where nothing changed (McNemar 1947; Fagerland, Lydersen,
    Laake 2013). Whole numbers until the division, so thousands of changes neither overflow nor round.
    """
    n = fixed + broken
    tail = sum(math.comb(n, k) for k in range(min(fixed, broken) + 1))
    return min(1.0, 2 * tail / (1 << n))


def paired_difference(before: Sequence[bool], after: Sequence[bool]) -> Difference | None:
    """How much more often `after` is right than `before`, on the same problems in the same order.

    Newcombe's square-and-add interval for paired proportions, his method 10: two Wilson intervals joined through the
    correlation of the pairs, which is continuity-corrected (Newcombe 1998b, Statistics in Medicine 17, 2635-2650).
    """
    if not len(before):
        return None
    pairs = _pairs(before, after)
    n = sum(pairs)
    later, earlier = pairs.both + pairs.fixed, pairs.both + pairs.broken
    above, below = _distances(later, n), _distances(earlier, n)
    correlation, change = _correlation(pairs), (pairs.fixed - pairs.broken) / n
    low = change - _joined(above.low, below.high, correlation)
    high = change + _joined(above.high, below.low, correlation)
    return Difference(100 * change, 100 * low, 100 * high, mcnemar_p(pairs.fixed, pairs.broken))


def auroc(labels_incorrect: Sequence[bool], p_incorrect: Sequence[float]) -> float | None:
    """The probability that an incorrect attempt is doubted more than a correct one, ties counting half.

    The Mann-Whitney statistic with midranks (Hanley, McNeil 1982). None where one class is missing.
    """
    incorrect, correct = _classes(labels_incorrect)
    ranked = sorted(zip(p_incorrect, labels_incorrect, strict=True))
    halves, correct_below = 0, 0  # two for each pair in order, one for each tie
    for _, tied in groupby(ranked, key=lambda pair: pair[0]):
        ties = _classes([label for _, label in tied])
        halves += ties[0] * (2 * correct_below + ties[1])
        correct_below += ties[1]
    return ratio(halves, 2 * incorrect * correct)


def auroc_interval(labels_incorrect: Sequence[bool], p_incorrect: Sequence[float]) -> Interval | None:
    """The areas from which the one observed is within 1.96 of *their* standard errors.

    Newcombe 2006 (Statistics in Medicine 25, 559-573), method 5: the variance of Hanley and McNeil 1982 at the area
    in question instead of the observed one. So it stays within 0 and 1, and has a width where the area is 0 or 1.
    """
    area = auroc(labels_incorrect, p_incorrect)
    if area is None:
        return None
    incorrect, correct = _classes(labels_incorrect)

    def low_enough(candidate: float) -> bool:
        return area - candidate >= Z * auroc_error(candidate, incorrect, correct)

    def high_enough(candidate: float) -> bool:
        return candidate - area >= Z * auroc_error(candidate, incorrect, correct)

    return Interval(_boundary(0.0, area, low_enough), _boundary(1.0, area, high_enough))


def auroc_error(area: float, incorrect: int, correct: int) -> float:
    """Standard error of an area under the ROC curve (Hanley, McNeil 1982), both classes of their mean size
    in the two correction terms, which makes it the same for `area` and `1 - area` (Newcombe 2006, methods 4 and 5).
    """
    others = (incorrect + correct) / 2 - 1
    spread = 1 + others * ((1 - area) / (2 - area) + area / (1 + area))
    return math.sqrt(area * (1 - area) * spread / (incorrect * correct))


def f1_incorrect(labels_incorrect: Sequence[bool], p_incorrect: Sequence[float], threshold: float) -> float | None:
    """F1 for the class "incorrect", where p >= threshold flags. None where none is incorrect and none flagged."""
    seen = _confusion(labels_incorrect, p_incorrect, threshold)
    return ratio(2 * seen.hits, 2 * seen.hits + seen.false_alarms + seen.misses)


def balanced_accuracy(labels_incorrect: Sequence[bool], p_incorrect: Sequence[float], threshold: float) -> float | None:
    """Mean of the share of incorrect that is flagged and of correct that is not. None where one class is missing."""
    seen = _confusion(labels_incorrect, p_incorrect, threshold)
    sensitivity = ratio(seen.hits, seen.hits + seen.misses)
    specificity = ratio(seen.passes, seen.passes + seen.false_alarms)
    return None if sensitivity is None or specificity is None else (sensitivity + specificity) / 2


def expected_calibration_error(
    labels_incorrect: Sequence[bool], p_incorrect: Sequence[float], bins: int = 10
) -> float | None:
    """Mean distance between what was believed and what happened, over `bins` of equal width, weighted by their size.

    Naeini, Cooper, Hauskrecht 2015, on P(incorrect) itself, not on the confidence in the likelier class.
    """
    gaps = [0.0] * bins
    for label, p in zip(labels_incorrect, p_incorrect, strict=True):
        gaps[min(int(p * bins), bins - 1)] += p - label
    return ratio(sum(abs(gap) for gap in gaps), len(p_incorrect))


def _pairs(before: Sequence[bool], after: Sequence[bool]) -> _Pairs:
    both = sum(old and new for old, new in zip(before, after, strict=True))
    fixed, broken = sum(after) - both, sum(before) - both
    return _Pairs(both, fixed, broken, len(before) - both - fixed - broken)


def _distances(successes: int, n: int) -> Interval:
    """How far the Wilson limits lie below and above the proportion; `n` is not 0."""
    limits, share = wilson(successes, n), successes / n
    assert limits is not None
    return Interval(share - limits.low, limits.high - share)


def _correlation(pairs: _Pairs) -> float:
    """Newcombe's phi: a positive one is corrected by n/2, but not below 0; 0 where a margin is empty."""
    both, fixed, broken, neither = pairs
    product = both * neither - fixed * broken
    margins = (both + fixed) * (broken + neither) * (both + broken) * (fixed + neither)
    corrected = max(product - sum(pairs) / 2, 0.0) if product > 0 else product
    return corrected / math.sqrt(margins) if margins else 0.0


def _joined(one: float, other: float, correlation: float) -> float:
    """Two distances as the sides of a triangle; never below 0, where rounding would take a square root of -1e-18."""
    return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))


def _classes(labels_incorrect: Sequence[bool]) -> tuple[int, int]:
    incorrect = sum(labels_incorrect)
    return incorrect, len(labels_incorrect) - incorrect


def _boundary(holds: float, fails: float, condition: Callable[[float], bool]) -> float:
    """Where a condition that holds at one end and fails at the other changes, by bisection."""
    for _ in range(60):
        middle = (holds + fails) / 2
        holds, fails = (middle, fails) if condition(middle) else (holds, middle)
    return holds


def _confusion(labels_incorrect: Sequence[bool], p_incorrect: Sequence[float], threshold: float) -> _Confusion:
    flagged = [p >= threshold for p in p_incorrect]
    hits = sum(label and flag for label, flag in zip(labels_incorrect, flagged, strict=True))
    incorrect, correct = _classes(labels_incorrect)
    false_alarms = sum(flagged) - hits
    return _Confusion(hits, false_alarms, incorrect - hits, correct - false_alarms)
