"""Self-consistency at the same number of generated tokens: what a policy has to beat to be worth its tokens.

Self-consistency is measured at a few numbers of samples (the rungs of a ladder). Between two rungs it is interpolated:
using the upper one for the share w of the problems, drawn by lot, costs the interpolated tokens and gives the
interpolated accuracy. The two are those that give the most: one sample seldom outvotes the first solution, so it costs
and gives nothing, and whoever has the tokens for one does better with none or four. Below the first and above the best
rung it is that rung, and the report says so.
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
    names = list(rungs)
    tokens = np.vstack([_tokens(policy), *(_tokens(rungs[name]) for name in names)])
    right = np.vstack([_right(policy), *(_right(rungs[name]) for name in names)])
    spent, shares = tokens.mean(axis=1), right.mean(axis=1)
    best = _envelope(spent[1:], shares[1:])
    ladder = spent[1:][best]
    upper = min(int(np.searchsorted(ladder, spent[0])), len(best) - 1)
    lower = upper if spent[0] > ladder[-1] else max(upper - 1, 0)
    accuracy, points = _compared(spent, shares)
    drawn = [_compared(tokens @ share, right @ share)[1] for share in _resamples(tokens.shape[1])]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return EqualTokens(
        generated=float(np.clip(spent[0], ladder[0], ladder[-1])),
        accuracy=accuracy,
        lower=names[best[lower]],
        upper=names[best[upper]],
        points=points,
        interval=Interval(float(low), float(high)),
    )


def _compared(spent: Array, shares: Array) -> tuple[float, float]:
    """(the ladder's accuracy at the policy's tokens, the policy's accuracy above it in points), from the mean tokens
    and the share of right answers of the policy and, after it, of each rung."""
    best = 1 + np.array(_envelope(spent[1:], shares[1:]))
    accuracy = float(np.interp(spent[0], spent[best], shares[best]))
    return accuracy, 100 * (float(shares[0]) - accuracy)


def _envelope(spent: Array, shares: Array) -> list[int]:
    """The rungs, by rising tokens, that no mixture of others beats: each gains less for its tokens than the one before
    it, and all gain."""
    best: list[int] = []
    for rung in np.lexsort((-shares, spent)):
        while len(best) > 1 and _gain(spent, shares, best[-2], best[-1]) <= _gain(spent, shares, best[-2], rung):
            best.pop()
        if not best or shares[rung] > shares[best[-1]]:
            best.append(int(rung))
    return best


def _gain(spent: Array, shares: Array, lower: int, upper: int) -> float:
    """The share of right answers gained for a token."""
    return float((shares[upper] - shares[lower]) / (spent[upper] - spent[lower]))


def _resamples(n: int) -> Array:
    """(RESAMPLES, n): the share of n draws that each of n problems is. The same in every report."""
    return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n


def _tokens(traces: Sequence[Trace]) -> Array:
    return np.array([trace.usage.generated for trace in traces], dtype=float)


def _right(traces: Sequence[Trace]) -> Array:
    return np.array([trace.final_correct is True for trace in traces], dtype=float)
