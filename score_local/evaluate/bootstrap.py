"""Measures of P(incorrect) with bootstrap intervals over problems (Efron 1979; percentiles, 95%).

A resample is how often each row is drawn, so every measure is computed for all resamples at once. The bootstrap of a
calibration error is known to lie high: bins of a resample are noisier than those of the sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from score_local.evaluate.logistic import Array, losses
from score_local.verifiers.calibration import Estimate, Quality

RESAMPLES = 1000
BINS = 10


def quality(labels_incorrect: Sequence[bool] | NDArray[np.bool_], p_incorrect: Sequence[float] | Array) -> Quality:
    """The measures of SCORE's evaluation that need no threshold. Intervals are the same for the same rows in order."""
    labels, p = np.asarray(labels_incorrect, dtype=float), np.asarray(p_incorrect, dtype=float)
    n, incorrect = len(labels), int(labels.sum())
    if not n:
        return Quality(n=0, incorrect=0)
    weights = _weights(n)
    return Quality(
        n=n,
        incorrect=incorrect,
        auroc=_estimate(_auroc(weights, labels, p)) if 0 < incorrect < n else None,
        brier=_estimate(weights @ (p - labels) ** 2 / n),
        log_loss=_estimate(weights @ losses(labels, p) / n),
        calibration_error=_estimate(_calibration_error(weights, labels, p)),
    )


def _weights(n: int) -> Array:
    """(1 + RESAMPLES, n): the sample itself, then how often each of its rows is drawn, n draws a resample."""
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return np.vstack([np.ones(n), drawn])


def _estimate(values: Array) -> Estimate:
    """The sample's value, and the percentiles of the resamples that have one (a class may be missing in some)."""
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return Estimate(float(values[0]), float(low), float(high))


def _auroc(weights: Array, labels: Array, p: Array) -> Array:
    """The Mann-Whitney statistic with midranks, as `metrics.auroc`, for each row of weights."""
    order = np.argsort(p, kind="stable")
    starts = np.flatnonzero(np.diff(p[order], prepend=-1.0))
    incorrect = np.add.reduceat((weights * labels)[:, order], starts, axis=1)
    correct = np.add.reduceat((weights * (1 - labels))[:, order], starts, axis=1)
    below = np.cumsum(correct, axis=1) - correct
    pairs = incorrect.sum(axis=1) * correct.sum(axis=1)
    pairs[pairs == 0] = np.nan
    return np.asarray((incorrect * (below + correct / 2)).sum(axis=1) / pairs)


def _calibration_error(weights: Array, labels: Array, p: Array) -> Array:
    """As `metrics.expected_calibration_error`, for each row of weights."""
    bins = np.eye(BINS)[np.minimum((p * BINS).astype(int), BINS - 1)]
    return np.asarray(np.abs((weights * (p - labels)) @ bins).sum(axis=1) / len(p))
