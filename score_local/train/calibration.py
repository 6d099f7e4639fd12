"""What makes a verifier's number a probability, and from which on a solution is doubted; both from the dev examples.

P(incorrect) = sigmoid(log_odds / temperature + bias), log_odds = log P(No) - log P(Yes): temperature scaling (Guo et
al. 2017) with a bias, which is Platt's method, so it keeps the order of any two solutions.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from score_local.evaluate.gate import thresholds
from score_local.evaluate.logistic import fit

STRENGTH = 1.0  # of the penalty on 1 / temperature: a handful of examples must not make it a step
SMALLEST_SLOPE = 1e-3  # a verifier that tells nothing, or the contrary: almost one probability for all


class VerdictScale(msgspec.Struct, frozen=True):
    """The keys of `calibration` in `adapter.toml`. `threshold` is for p >= threshold; `accuracy` is that of the
    verdicts there, `n` the examples they were fitted on."""

    temperature: float
    bias: float
    threshold: float
    accuracy: float
    n: int

    def p_incorrect(self, log_odds: float) -> float:
        return float(1 / (1 + np.exp(-np.clip(log_odds / self.temperature + self.bias, -700, 700))))


def calibrate(log_odds: Sequence[float], incorrect: Sequence[bool]) -> VerdictScale:
    """Fits temperature and bias by maximum likelihood, then takes SCORE's threshold: of 0.50, 0.51, ... 1.00 the one
    with the most right verdicts, of equals the lowest. How often a refinement mends or breaks an answer is not known
    here, so a solution rightly doubted counts as much as one rightly trusted; `score-local calibrate` measures both.

    One class alone calibrates nothing: temperature 1, bias 0, threshold 0.5.
    """
    labels = np.array(incorrect, dtype=np.float64)
    if labels.min() == labels.max():
        return VerdictScale(1.0, 0.0, 0.5, _accuracy(np.array(log_odds) >= 0, labels), len(labels))
    model = fit(np.array(log_odds)[:, None], labels, STRENGTH)
    slope, bias = float(model.weights[0]), model.bias
    if slope < SMALLEST_SLOPE:
        slope, bias = SMALLEST_SLOPE, _bias_of_the_mean(log_odds, labels, SMALLEST_SLOPE)
    scale = VerdictScale(1 / slope, bias, 0.5, 0.0, len(labels))
    ps = np.array([scale.p_incorrect(odds) for odds in log_odds])
    accuracy, negative = max((_accuracy(ps >= threshold, labels), -threshold) for threshold in thresholds())
    return msgspec.structs.replace(scale, threshold=-negative, accuracy=accuracy)


def _bias_of_the_mean(log_odds: Sequence[float], labels: np.ndarray, slope: float) -> float:
    """The bias with which the mean log-odds get the base rate: the fitted one belongs to the fitted slope."""
    base_rate = labels.mean()
    return float(np.log(base_rate / (1 - base_rate)) - slope * np.mean(log_odds))


def _accuracy(doubted: np.ndarray, labels: np.ndarray) -> float:
    return float((doubted == (labels == 1)).mean())
