"""Logistic regression against what is known of it."""

from __future__ import annotations

import numpy as np
import pytest

from score_local.evaluate.logistic import cross_validated, fit, folds_of, log_loss


def drawn(n: int, weights: list[float], bias: float) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(0)
    columns = chance.normal(size=(n, len(weights)))
    odds = bias + columns @ np.array(weights)
    return columns, (chance.random(n) < 1 / (1 + np.exp(-odds))).astype(float)


def test_it_finds_the_weights_that_made_the_labels() -> None:
    columns, labels = drawn(20_000, [1.5, -0.7, 0.0], 0.4)
    model = fit(columns, labels, 0.1)
    assert model.bias == pytest.approx(0.4, abs=0.08)
    assert model.weights.tolist() == pytest.approx([1.5, -0.7, 0.0], abs=0.08)


def test_the_mean_probability_is_the_base_rate() -> None:
    columns, labels = drawn(500, [2.0], -1.0)
    for strength in (0.1, 10.0, 1000.0):
        assert fit(columns, labels, strength).probabilities(columns).mean() == pytest.approx(labels.mean(), abs=1e-6)


def test_classes_that_can_be_separated_keep_finite_weights() -> None:
    columns = np.array([[-1.0], [-0.5], [0.5], [1.0]])
    model = fit(columns, np.array([0.0, 0.0, 1.0, 1.0]), 0.1)
    assert np.isfinite(model.weights).all() and 1 < model.weights[0] < 20


def test_noise_is_penalised_away() -> None:
    columns, labels = drawn(60, [0.0] * 8, 0.0)
    folds = folds_of([str(i) for i in range(60)], labels.astype(bool).tolist())
    chosen = cross_validated(columns, labels, folds)
    assert chosen.strength >= 30 and log_loss(labels, chosen.out_of_fold) < 0.75


def test_folds_are_even_and_do_not_hang_on_the_order() -> None:
    ids, labels = [f"p{i}" for i in range(103)], [i % 3 == 0 for i in range(103)]
    folds = folds_of(ids, labels)
    again = folds_of(ids[::-1], labels[::-1])[::-1]
    assert (folds == again).all()
    counts = [int((folds[np.array(labels)] == fold).sum()) for fold in range(5)]
    assert max(counts) - min(counts) <= 1
