"""Chooses the next token from one row of logits, with numpy; knows nothing of llama.cpp.

Cutting to the top k first keeps the rest cheap: over 152,000 logits a full sort costs 14 ms, a partition 1.3, the
peaks of COLUMN logits each and a partition of those 0.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from score_local.engine.protocol import Sampling

Logits = NDArray[np.float32]
COLUMN = 64


def log_normalizer(logits: Logits) -> float:
    """log(sum(exp(logits))), computed without overflow."""
    top = logits.max()
    powers = logits - top
    np.exp(powers, out=powers)  # a second array of so many values would be fresh pages each time: twice as slow
    return float(top) + float(np.log(powers.sum()))


class Sampler:
    """One request's sampler: its own random state, so a seed gives the same tokens whatever else is in the batch."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)

    def choose(self, logits: Logits) -> tuple[int, float]:
        """Returns (token, its natural-log probability under the model, before temperature and cuts).

        `logits` has shape (vocabulary,) and must be finite somewhere.
        """
        token = int(logits.argmax()) if self._sampling.temperature <= 0 else self._draw(logits)
        return token, float(logits[token]) - log_normalizer(logits)

    def _draw(self, logits: Logits) -> int:
        tokens = self._top_k(logits)
        scaled = logits[tokens].astype(np.float64) / self._sampling.temperature
        weights = np.exp(scaled - scaled[0])
        weights = weights[: self._kept(weights / weights.sum())]
        return int(self._random.choice(tokens[: len(weights)], p=weights / weights.sum()))

    def _top_k(self, logits: Logits) -> NDArray[np.int64]:
        """The k likeliest tokens, best first; ties by token id, so that the order never depends on the platform."""
        k = self._sampling.top_k if 0 < self._sampling.top_k < len(logits) else len(logits)
        best: NDArray[Any] = np.flatnonzero(logits >= _within_top(k, logits))
        return best[np.lexsort((best, -logits[best]))][:k]

    def _kept(self, probabilities: NDArray[np.float64]) -> int:
        """How many of the tokens, sorted by falling probability, top-p and min-p leave (at least one)."""
        by_top_p = int(np.searchsorted(np.cumsum(probabilities), min(self._sampling.top_p, 1.0))) + 1
        by_min_p = int((probabilities >= self._sampling.min_p * probabilities[0]).sum())
        return max(1, min(by_top_p, by_min_p))


def _within_top(k: int, logits: Logits) -> float:
    """A bound that at least k logits reach, and seldom many more: the k-th highest of the peaks of many columns."""
    columns = len(logits) // COLUMN
    if columns <= k:
        return float(np.partition(logits, -k)[-k])
    peaks = logits[: columns * COLUMN].reshape(COLUMN, columns).max(axis=0)  # the rest can only add to them
    return float(np.partition(peaks, -k)[-k])
