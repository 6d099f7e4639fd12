"""Self-consistency at the same number of generated tokens: what a policy has to beat to be worth its tokens.

Self-consistency is measured at a few numbers of samples (the rungs of a ladder). Between two rungs it is interpolated:
using the upper one for the share w of the problems, drawn by lot, costs the interpolated tokens and gives the
interpolated accuracy. Below the first and above the last rung it is that rung, and the report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from score_local.evaluate.metrics import Interval
from score_local.trace import Trace

RESAMPLES = 4000
Array = NDArray[np.float64]


class EqualTokens(msgspec.Struct, frozen=True):
    """Self-consistency at `generated` tokens a problem: `accuracy` (0 to 1), between the rungs `lower` and `upper`.
    They are the same where the policy's tokens lie off the ladder: it then had `generated` and not the policy's.

    `points` is how much more often the policy is right, in percentage points, with a 95% bootstrap interval over
    problems (percentiles; tokens and interpolation are part of each resample).
    """

    generated: float
    accuracy: float
    lower: str
    upper: str
    points: float
    interval: Interval


def equal_tokens(policy: Sequence[Trace], rungs: Mapping[str, Sequence[Trace]]) -> EqualTokens | None:
    """The policy against the ladder, all over the same problems in the same order; None without a problem or a rung."""
    if not policy or not rungs:
        return None
    names = sorted(rungs, key=lambda name: float(_tokens(rungs[name]).mean()))
    tokens = np.vstack([_tokens(policy), *(_tokens(rungs[name]) for name in names)])
    right = np.vstack([_right(policy), *(_right(rungs[name]) for name in names)])
    means = tokens.mean(axis=1)
    spent, ladder = float(means[0]), means[1:]
    upper = min(int(np.searchsorted(ladder, spent)), len(names) - 1)
    lower = upper if spent > ladder[-1] else max(upper - 1, 0)
    accuracy, points = _compared(tokens, right, np.ones(tokens.shape[1]))
    drawn = [_compared(tokens, right, weights)[1] for weights in _resamples(tokens.shape[1])]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return EqualTokens(
        generated=float(np.clip(spent, ladder[0], ladder[-1])),
        accuracy=accuracy,
        lower=names[lower],
        upper=names[upper],
        points=points,
        interval=Interval(float(low), float(high)),
    )


def _compared(tokens: Array, right: Array, weights: Array) -> tuple[float, float]:
    """(the ladder's accuracy at the policy's tokens, the policy's accuracy above it in points). The policy comes first;
    `weights` (problems,) is how often each problem counts."""
    spent, shares = tokens @ weights / weights.sum(), right @ weights / weights.sum()
    order = 1 + np.argsort(spent[1:])
    accuracy = float(np.interp(spent[0], spent[order], shares[order]))
    return accuracy, 100 * (float(shares[0]) - accuracy)


def _resamples(n: int) -> Array:
    """(RESAMPLES, n): how often each of n problems is drawn, n draws a resample. The same in every report."""
    return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(float)


def _tokens(traces: Sequence[Trace]) -> Array:
    return np.array([trace.usage.generated for trace in traces], dtype=float)


def _right(traces: Sequence[Trace]) -> Array:
    return np.array([trace.final_correct is True for trace in traces], dtype=float)
