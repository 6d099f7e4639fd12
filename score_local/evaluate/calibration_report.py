"""What a calibration is worth, on problems that it was not fitted on: each number with its n, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from score_local.engine.protocol import Usage
from score_local.evaluate import metrics
from score_local.evaluate.bootstrap import BINS, quality
from score_local.evaluate.calibration_rows import Row, with_probability
from score_local.evaluate.cascade import stops
from score_local.evaluate.gate import GatePoint
from score_local.evaluate.logistic import Array
from score_local.evaluate.summary import Share, Summary, summarize
from score_local.loop import decide, opens
from score_local.trace import Trace
from score_local.verifiers.calibration import Quality, Stage
from score_local.verifiers.combine import combined

OUT_OF_FOLD = "the same problems, out of fold"
Curve = tuple[tuple[float, float], ...]


class Spent(msgspec.Struct, frozen=True):
    """Means a problem: prompt tokens that were not reused, tokens generated, seconds of a sequence."""

    evaluated: float
    generated: float
    seconds: float


class SignalReport(msgspec.Struct, frozen=True):
    """One verifier: its own number where it `spoke`, and calibrated `alone` over all, where silence counts as well."""

    verifier: str
    spoke: Quality
    alone: Quality
    cost: Spent


class StageReport(msgspec.Struct, frozen=True):
    """A stage for all problems, and at how many of them the asking ended with it."""

    signals: tuple[str, ...]
    quality: Quality
    low: float
    high: float
    ended: int


class Bin(msgspec.Struct, frozen=True):
    """The attempts with P(incorrect) from `low` to `high`: its mean, and how many were incorrect."""

    low: float
    high: float
    believed: float
    incorrect: Share


class Costs(msgspec.Struct, frozen=True):
    """What each phase takes; `refining` behind the gate of the cascade."""

    solving: Spent
    asking_all: Spent
    asking_cascade: Spent
    refining: Spent


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`everyone` is all signals together, `answered` the same where the attempt holds an answer, `cascade` what is
    believed where the asking ends, `mean` the mean of those that spoke, without a calibration.

    `decided` and `decided_by_cascade` are the numbers of the gate, each row at a threshold that was chosen without it;
    problems without a solution count as not right. `gate` is what each threshold does to all rows, also where one of
    them was chosen on these. `roc` is (false alarms, hits) by name of what doubts, where it spoke.
    """

    fitted_on: str
    reported_on: str
    signals: tuple[SignalReport, ...]
    stages: tuple[StageReport, ...]
    everyone: Quality
    answered: Quality
    cascade: Quality
    mean: Quality
    decided: Summary
    decided_by_cascade: Summary
    costs: Costs
    gate: tuple[GatePoint, ...]
    reliability: tuple[Bin, ...]
    roc: dict[str, Curve]


def signal_report(name: str, rows: Sequence[Row], alone: Array) -> SignalReport:
    """`alone` holds the probability of each row by this signal alone."""
    labels, ps = _spoke(rows, [row.signal(name).p_incorrect for row in rows])
    cost = _spent([row.spent_on([name]) for row in rows], len(rows))
    return SignalReport(name, quality(labels, ps), quality(incorrect(rows), alone), cost)


def stage_reports(rows: Sequence[Row], stages: Sequence[Stage], ps: Array) -> tuple[StageReport, ...]:
    """`ps` (stages, rows) is what each stage believes of each row."""
    ended = stops(rows, stages, ps)
    return tuple(
        StageReport(stage.signals, quality(incorrect(rows), p), stage.low, stage.high, ended.count(k))
        for k, (stage, p) in enumerate(zip(stages, ps, strict=True))
    )


def cascade_probabilities(rows: Sequence[Row], stages: Sequence[Stage], ps: Array) -> Array:
    """(rows,): what is believed where the asking ends."""
    return ps[stops(rows, stages, ps), np.arange(len(rows))]


def costs(rows: Sequence[Row], stages: Sequence[Stage], ps: Array, thresholds: Sequence[float]) -> Costs:
    """The means over all rows, of what was measured when everybody was asked; a threshold for each row."""
    ended, believed = stops(rows, stages, ps), cascade_probabilities(rows, stages, ps).tolist()
    refined = [
        row.spent_behind_gate()
        for row, p, threshold in zip(rows, believed, thresholds, strict=True)
        if opens(threshold, p, row.attempt.answer)
    ]
    return Costs(
        solving=_spent([row.attempt.usage for row in rows], len(rows)),
        asking_all=_spent([row.spent_on(stages[-1].signals) for row in rows], len(rows)),
        asking_cascade=_spent([row.spent_on(stages[k].signals) for row, k in zip(rows, ended, strict=True)], len(rows)),
        refining=_spent(refined, len(rows)),
    )


def decided(
    rows: Sequence[Row], ps: Array, thresholds: Sequence[float], threshold: float, unsolved: Sequence[Trace]
) -> Summary:
    """The numbers of the gate, each row decided at its own of `thresholds`; `threshold` is the one that a run will use.
    `unsolved` problems have no solution, and count as not right."""
    pairs = [*zip(ps.tolist(), thresholds, strict=True)]
    judged = [decide(with_probability(row, p), own) for row, (p, own) in zip(rows, pairs, strict=True)]
    summary = summarize([*judged, *unsolved], threshold=threshold, wall_seconds=0.0)
    labels, doubted = incorrect(rows).tolist(), [float(p >= own) for p, own in pairs]
    verdict = msgspec.structs.replace(
        summary.verdict,
        f1_incorrect=metrics.f1_incorrect(labels, doubted, 1.0),
        balanced_accuracy=metrics.balanced_accuracy(labels, doubted, 1.0),
    )
    return msgspec.structs.replace(summary, verdict=verdict)


def mean_quality(rows: Sequence[Row], signals: Sequence[str]) -> Quality:
    """What the uncalibrated mean is worth where any of the signals spoke."""
    return quality(*_spoke(rows, [combined(row.signals, signals) for row in rows]))


def reliability(labels: NDArray[np.bool_], ps: Array) -> tuple[Bin, ...]:
    """Ten bins of equal width, those without an attempt left out."""
    bins, found = np.minimum((ps * BINS).astype(int), BINS - 1), list[Bin]()
    for index in np.unique(bins).tolist():
        here = bins == index
        n, count = int(here.sum()), int(labels[here].sum())
        share = Share(count, n, count / n, metrics.wilson(count, n))
        found.append(Bin(index / BINS, (index + 1) / BINS, float(ps[here].mean()), share))
    return tuple(found)


def roc_curves(rows: Sequence[Row], signals: Sequence[str], believed: Mapping[str, Array]) -> dict[str, Curve]:
    """A curve for each signal where it spoke, and for each of `believed`, over all rows; none for one class only."""
    heard = {name: _spoke(rows, [row.signal(name).p_incorrect for row in rows]) for name in signals}
    heard |= {name: (incorrect(rows), ps) for name, ps in believed.items()}
    return {name: roc(labels, ps) for name, (labels, ps) in heard.items() if 0 < labels.sum() < len(labels)}


def incorrect(rows: Sequence[Row]) -> NDArray[np.bool_]:
    """(rows,): the label."""
    return np.array([not row.right for row in rows], dtype=bool)


def roc(labels: NDArray[np.bool_], ps: Array) -> Curve:
    """(false alarms, hits) as shares, for every threshold from above the highest probability down; ties are one."""
    order = np.argsort(-ps, kind="stable")
    last = np.flatnonzero(np.diff(ps[order], append=-1.0))  # the last row of each tie
    hits, alarms = np.cumsum(labels[order])[last], np.cumsum(~labels[order])[last]
    shares = zip((alarms / (~labels).sum()).tolist(), (hits / labels.sum()).tolist(), strict=True)
    return ((0.0, 0.0), *shares)


def _spoke(rows: Sequence[Row], beliefs: Sequence[float | None]) -> tuple[NDArray[np.bool_], Array]:
    """(labels, probabilities) of the rows where there is a belief."""
    known = [(not row.right, p) for row, p in zip(rows, beliefs, strict=True) if p is not None]
    return np.array([label for label, _ in known], dtype=bool), np.array([p for _, p in known], dtype=float)


def _spent(usages: Sequence[Usage], problems: int) -> Spent:
    total, n = sum(usages, Usage()), max(1, problems)
    return Spent((total.prompt - total.reused) / n, total.generated / n, total.seconds / n)
