"""A model for every prefix of the signals in order of cost, and the bands in which the next signal is asked.

While a stage's probability lies in its band, the rest is worth its cost; outside of it, at most a stated share of the
decisions would be another after asking everybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from score_local.evaluate import metrics
from score_local.evaluate.calibration_rows import Row
from score_local.evaluate.gate import GatePoint, best_point, gate_curve
from score_local.evaluate.logistic import Array, Model, cross_validated, folds_of
from score_local.verifiers.calibration import Stage, Term
from score_local.verifiers.combine import ATTEMPT_TERMS, probability, values_of

CLIP = 0.01  # a verifier that is certain is taken for 99% certain
_DIGITS = 6  # of a fitted number, in the file
_HUNDREDTHS = [hundredths / 100 for hundredths in range(101)]


@dataclass(frozen=True, slots=True)
class Cascade:
    """The stages; what each believed of each row, (stages, rows), fitted without it; and the gate that was best."""

    stages: tuple[Stage, ...]
    out_of_fold: Array
    strengths: tuple[float, ...]
    curve: tuple[GatePoint, ...]

    @property
    def threshold(self) -> float:
        return best_point(self.curve).threshold


class FittedStage(NamedTuple):
    """A stage whose band is all of 0 to 1, the probabilities of each row out of fold, and the penalty's strength."""

    stage: Stage
    out_of_fold: Array
    strength: float


class _Column(NamedTuple):
    """A term on the scale it is fitted on: (value - centre) / spread where known."""

    name: str
    centre: float
    spread: float


def fit_cascade(rows: Sequence[Row], signals: Sequence[str], lowest: float, tolerance: float) -> Cascade:
    """Fits every stage, chooses the threshold on the last one's probabilities out of fold, then the bands.

    `lowest` is the lowest threshold that is tried, `tolerance` the share of decisions that may be another.
    """
    names = tuple(signals)
    fitted = [fit_stage(rows, names[:k]) for k in range(len(names) + 1)]
    out_of_fold = np.vstack([stage.out_of_fold for stage in fitted])
    curve = tuple(gate_curve(rows, out_of_fold[-1].tolist(), lowest))
    bands = _bands(rows, out_of_fold, best_point(curve).threshold, tolerance)
    stages = (
        msgspec.structs.replace(f.stage, low=low, high=high) for f, (low, high) in zip(fitted, bands, strict=True)
    )
    return Cascade(tuple(stages), out_of_fold, tuple(f.strength for f in fitted), curve)


def fit_stage(rows: Sequence[Row], signals: Sequence[str], free: bool = True) -> FittedStage:
    """Fits the model for these signals; without `free`, for them alone and not for what an attempt shows."""
    values = [values_of(row.attempt, [row.signal(name) for name in signals], CLIP) for row in rows]
    layout = [_column(name, values) for name in (*signals, *(ATTEMPT_TERMS if free else ()))]
    labels = np.array([not row.right for row in rows], dtype=float)
    folds = folds_of([row.trace.id for row in rows], [row.right for row in rows])
    result = cross_validated(_columns(layout, values), labels, folds)
    return FittedStage(_stage(tuple(signals), layout, result.model), result.out_of_fold, result.strength)


def stage_probabilities(stages: Sequence[Stage], rows: Sequence[Row]) -> Array:
    """(stages, rows): what each stage believes of each row, as at run time."""
    values = [values_of(row.attempt, row.signals, CLIP) for row in rows]
    return np.array([[probability(stage, known) for known in values] for stage in stages])


def stops(rows: Sequence[Row], stages: Sequence[Stage], ps: Array) -> list[int]:
    """At which stage the asking ends, for each row, by what each stage believes of it (`ps`, (stages, rows))."""
    return [
        next(k for k, stage in enumerate(stages) if _ends(row, stage, p[k]) or k == len(stages) - 1)
        for row, p in zip(rows, ps.T.tolist(), strict=True)
    ]


def _ends(row: Row, stage: Stage, p: float) -> bool:
    return row.attempt.answer is None or not stage.low < p < stage.high


def _column(name: str, values: Sequence[Mapping[str, float | None]]) -> _Column:
    """Shares and logits are scaled to a spread of 1, so that one penalty is fair to all; a yes or no stays 0 or 1, or a
    rare one would escape the penalty."""
    known = np.array([value for row in values if (value := row[name]) is not None], dtype=float)
    if not len(known) or np.isin(known, (0.0, 1.0)).all():
        return _Column(name, 0.0, 1.0)
    spread = float(known.std())
    return _Column(name, _rounded(float(known.mean())), spread if spread > 1e-9 else 1.0)


def _columns(layout: Sequence[_Column], values: Sequence[Mapping[str, float | None]]) -> Array:
    """(rows, 2 * terms): for each term its scaled value, 0 where it is missing, and whether it is."""
    pairs = [[x for column in layout for x in _scaled(column, row[column.name])] for row in values]
    return np.array(pairs, dtype=float).reshape(len(values), 2 * len(layout))


def _scaled(column: _Column, value: float | None) -> tuple[float, float]:
    return (0.0, 1.0) if value is None else ((value - column.centre) / column.spread, 0.0)


def _stage(signals: tuple[str, ...], layout: Sequence[_Column], model: Model) -> Stage:
    pairs = model.weights.reshape(len(layout), 2).tolist()
    terms = (
        Term(column.name, _rounded(weight / column.spread), column.centre, _rounded(missing))
        for column, (weight, missing) in zip(layout, pairs, strict=True)
    )
    return Stage(signals, 0.0, 1.0, _rounded(model.bias), tuple(terms))


def _rounded(value: float) -> float:
    """To six digits, and without a zero's sign: what a file can show and be read back from, exactly."""
    return float(f"{value:.{_DIGITS}g}") + 0.0


def _bands(rows: Sequence[Row], ps: Array, threshold: float, tolerance: float) -> list[tuple[float, float]]:
    """The band of every stage, each from the answered rows that the stages before it leave undecided.

    After the last stage there is nobody to ask: its band is empty.
    """
    alive = np.array([row.attempt.answer is not None for row in rows])
    opened = ps[-1] >= threshold
    bands = []
    for p in ps[:-1]:
        low, high = _band(p[alive], opened[alive], threshold, tolerance)
        alive = alive & (low < p) & (p < high)
        bands.append((low, high))
    return [*bands, (threshold, threshold)]


def _band(p: Array, opened: NDArray[np.bool_], threshold: float, tolerance: float) -> tuple[float, float]:
    """The narrowest band around the threshold, in hundredths, outside of which decisions are kept; 0 or 1 where there
    is no limit on that side."""
    low = [cut for cut in _HUNDREDTHS if cut < threshold and _kept(opened[p <= cut], tolerance)]
    high = [cut for cut in _HUNDREDTHS if cut >= threshold and _kept(~opened[p >= cut], tolerance)]
    return max(low, default=0.0), min(high, default=1.0)


def _kept(others: NDArray[np.bool_], tolerance: float) -> bool:
    """Whether the share of other decisions is at most `tolerance` by the upper limit of Wilson's interval: a few rows
    that happen to agree prove nothing."""
    limits = metrics.wilson(int(others.sum()), len(others))
    return limits is not None and limits.high <= tolerance
