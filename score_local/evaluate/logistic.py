"""Logistic regression with an L2 penalty, by Newton's method (iteratively reweighted least squares), in numpy.

The penalty keeps the weights finite where the classes can be separated (le Cessie, van Houwelingen 1992); how strong it
is, cross-validation says. The bias is not penalised, so the mean of the fitted probabilities is the base rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
FOLDS = 5
_MOST_STEPS = 100
_CONVERGED = 1e-10  # of the gradient, a row
_SMALLEST_STEP = 1e-8


class Model(NamedTuple):
    """Log-odds = bias + columns @ weights."""

    bias: float
    weights: Array

    def probabilities(self, columns: Array) -> Array:
        return _sigmoid(self.bias + columns @ self.weights)


class CrossValidated(NamedTuple):
    """A model of all rows, the probabilities that each row got from a model fitted without it, and the strength."""

    model: Model
    out_of_fold: Array
    strength: float


def fit(columns: Array, labels: Array, strength: float) -> Model:
    """Minimises the log loss, summed over rows, plus half of `strength` times the squared weights.

    `columns` is (n, k), best on one scale; `labels` (n,) are 0 and 1, both present; `strength` is above 0.
    """
    design = np.column_stack([np.ones(len(labels)), columns])
    penalty = np.full(design.shape[1], strength)
    penalty[0] = 0.0
    weights = np.zeros(design.shape[1])
    weights[0] = np.log(labels.mean() / (1 - labels.mean()))
    for _ in range(_MOST_STEPS):
        p = _sigmoid(design @ weights)
        gradient = design.T @ (p - labels) + penalty * weights
        if np.abs(gradient).max() <= _CONVERGED * len(labels):
            break
        curvature = (design.T * (p * (1 - p))) @ design + np.diag(penalty)
        weights = _stepped(weights, np.linalg.solve(curvature, gradient), design, labels, penalty)
    return Model(float(weights[0]), weights[1:])


def cross_validated(columns: Array, labels: Array, folds: NDArray[np.int64]) -> CrossValidated:
    """Fits with the strength whose probabilities out of fold have the least log loss (the weakest of equal ones).

    The strength is one number chosen on the same rows: how optimistic that makes the probabilities is not seen in
    three digits.
    """
    tried = [(_out_of_fold(columns, labels, folds, strength), strength) for strength in STRENGTHS]
    out_of_fold, strength = min(tried, key=lambda pair: log_loss(labels, pair[0]))
    return CrossValidated(fit(columns, labels, strength), out_of_fold, strength)


def folds_of(ids: Sequence[str], labels: Sequence[bool], count: int = FOLDS) -> NDArray[np.int64]:
    """A fold for each row, both classes spread evenly; the same for a problem whatever the order of the rows."""
    order = sorted(range(len(ids)), key=lambda row: (labels[row], crc32(ids[row].encode()), ids[row]))
    folds = np.empty(len(ids), dtype=np.int64)
    folds[order] = np.arange(len(ids)) % count
    return folds


def log_loss(labels: Array, probabilities: Array) -> float:
    """Mean negative log-likelihood in nats; certainty is cut at 1e-12."""
    return float(losses(labels, probabilities).mean())


def losses(labels: Array, probabilities: Array) -> Array:
    """The log loss of each row."""
    believed = np.where(labels == 1, probabilities, 1 - probabilities)
    return np.asarray(-np.log(np.maximum(believed, 1e-12)))


def _out_of_fold(columns: Array, labels: Array, folds: NDArray[np.int64], strength: float) -> Array:
    out = np.empty(len(labels))
    for fold in np.unique(folds):
        held = folds == fold
        out[held] = fit(columns[~held], labels[~held], strength).probabilities(columns[held])
    return out


def _stepped(weights: Array, step: Array, design: Array, labels: Array, penalty: Array) -> Array:
    """A Newton step, halved until the objective falls; the weights themselves where no step lowers it further."""
    before, scale = _objective(weights, design, labels, penalty), 1.0
    while scale > _SMALLEST_STEP:
        shorter = weights - scale * step
        if _objective(shorter, design, labels, penalty) <= before:
            return shorter
        scale /= 2
    return weights


def _objective(weights: Array, design: Array, labels: Array, penalty: Array) -> float:
    odds = design @ weights
    return float(np.logaddexp(0.0, odds).sum() - labels @ odds + 0.5 * penalty @ weights**2)


def _sigmoid(odds: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * odds)))
