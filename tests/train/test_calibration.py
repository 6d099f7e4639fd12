from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.train.calibration import calibrate


def test_temperature_and_bias_are_recovered() -> None:
    random = np.random.default_rng(0)
    odds = random.normal(size=20_000) * 6
    incorrect = random.random(20_000) < 1 / (1 + np.exp(-(odds / 3 + 0.5)))
    scale = calibrate(odds.tolist(), incorrect.tolist())
    assert scale.temperature == pytest.approx(3, rel=0.05)
    assert scale.bias == pytest.approx(0.5, abs=0.06)


def test_the_threshold_is_the_lowest_of_the_best() -> None:
    odds = [-4.0, -3.0, -2.0, 2.0, 3.0, 4.0]
    scale = calibrate(odds, [False, False, False, True, True, True])
    assert (scale.threshold, scale.accuracy) == (0.5, 1.0)


def test_a_verifier_that_cries_wolf_gets_a_higher_threshold() -> None:
    odds = [1.0] * 30 + [5.0] * 10 + [-5.0] * 5
    scale = calibrate(odds, [False] * 12 + [True] * 18 + [True] * 10 + [False] * 5)
    assert scale.p_incorrect(1.0) >= 0.5, "three of five are incorrect there"
    assert scale.threshold == 0.5
    assert scale.n == 45


@pytest.mark.parametrize("shift", [-30.0, 0.0, 30.0])
@pytest.mark.parametrize("base_rate", [0.25, 0.5, 0.8])
def test_a_verifier_that_tells_the_contrary_says_the_base_rate(base_rate: float, shift: float) -> None:
    incorrect = [i < 100 * base_rate for i in range(100)]
    odds = [shift + (-8.0 if label else 8.0) + i % 3 for i, label in enumerate(incorrect)]
    scale = calibrate(odds, incorrect)
    assert [scale.p_incorrect(one) for one in odds] == pytest.approx([base_rate] * 100, abs=0.01)


@pytest.mark.parametrize("incorrect", [True, False])
def test_one_class_alone_calibrates_nothing(incorrect: bool) -> None:
    scale = calibrate([0.5, -0.2, 3.0], [incorrect] * 3)
    assert (scale.temperature, scale.bias, scale.threshold) == (1.0, 0.0, 0.5)


@given(st.lists(st.tuples(st.floats(-50, 50), st.booleans()), min_size=2, max_size=40))
def test_the_order_of_solutions_is_kept_and_everything_is_finite(rows: list[tuple[float, bool]]) -> None:
    scale = calibrate([odds for odds, _ in rows], [incorrect for _, incorrect in rows])
    assert scale.temperature > 0 and math.isfinite(scale.bias) and 0.5 <= scale.threshold <= 1
    ordered = sorted(odds for odds, _ in rows)
    ps = [scale.p_incorrect(odds) for odds in ordered]
    assert ps == sorted(ps) and all(0 <= p <= 1 for p in ps)
