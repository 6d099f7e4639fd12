"""Fits a calibration from a run in which every verifier spoke and every refinement was written; no model call.

    traces -> rows -> a stage for every prefix of the signals -> threshold, bands -> safety rule -> report

All choices, the safety rule's too, are made on the rows that are fitted on, with probabilities out of fold; the report
is on the others, which decide nothing. Where there are no others, each row is reported on with a probability and a
threshold that it had no part in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from score_local.errors import RunError
from score_local.evaluate import calibration_report as reports
from score_local.evaluate.bootstrap import quality
from score_local.evaluate.calibration_report import Report
from score_local.evaluate.calibration_rows import (
    FitOn,
    Row,
    question_hash,
    require_enough,
    rows_of,
    signals_of,
    to_fit_on,
    to_report_on,
)
from score_local.evaluate.cascade import CLIP, Cascade, fit_cascade, fit_stage, stage_probabilities
from score_local.evaluate.gate import (
    SCORE_LOWEST,
    GatePoint,
    cross_fitted_point,
    cross_fitted_thresholds,
    gate_curve,
    gate_point,
    safety,
    seen,
)
from score_local.evaluate.logistic import FOLDS, Array, folds_of
from score_local.trace import Trace
from score_local.verifiers.calibration import Calibration, Fitted, Origin

TOLERANCE = 0.05
_HALVES = {
    "half": ("the first half", "the other half"),
    "other-half": ("the other half", "the first half"),
    "all": ("all problems", reports.OUT_OF_FOLD),
}


@dataclass(frozen=True, slots=True)
class Choices:
    """What may be chosen. `signals` None: all that spoke, cheap ones first; `lowest` is the lowest threshold tried;
    `tolerance` the share of decisions that may be another because the asking ended early."""

    fit_on: FitOn = "half"
    signals: tuple[str, ...] | None = None
    tolerance: float = TOLERANCE
    lowest: float = SCORE_LOWEST


def calibrate(
    traces: Sequence[Trace], origin: Origin, where: str, choices: Choices | None = None
) -> tuple[Calibration, Report]:
    """The calibration and what it is worth. Raises RunError where the run holds too little, naming `where`, and
    PolicyError for a signal that never spoke."""
    choices = choices or Choices()
    every = rows_of(traces, where)
    signals = signals_of(every, choices.signals, where)
    rows = [row for row in every if to_fit_on(row.trace.id, choices.fit_on)]
    held_out = [row for row in every if to_report_on(row.trace.id, choices.fit_on)]
    require_enough(rows, signals, where)
    if not held_out:
        what = "every problem is in the half that is fitted on, so nothing is left to report on"
        raise RunError(what, where, "Give --fit-on all, or a run of more problems")
    cascade = fit_cascade(rows, signals, choices.lowest, choices.tolerance)
    same = choices.fit_on == "all"
    ps = cascade.out_of_fold if same else stage_probabilities(cascade.stages, held_out)
    calibration = _calibration(rows, held_out, cascade, ps, origin=origin, choices=choices)
    alone = {name: _alone(name, rows, None if same else held_out) for name in signals}
    unsolved = [t for t in traces if t.gold is not None and t.initial is None and to_report_on(t.id, choices.fit_on)]
    thresholds = _thresholds(rows, cascade, choices.lowest) if same else [cascade.threshold] * len(held_out)
    return calibration, _report(
        calibration, held_out, ps, thresholds, alone=alone, unsolved=unsolved, lowest=choices.lowest
    )


def _calibration(
    rows: Sequence[Row], held_out: Sequence[Row], cascade: Cascade, ps: Array, *, origin: Origin, choices: Choices
) -> Calibration:
    fitted_on, reported_on = _HALVES[choices.fit_on]
    gated = reports.cascade_probabilities(held_out, cascade.stages, ps)
    refine, reason = safety(cascade.curve, _out_of_fold(rows, cascade, choices.lowest))
    if choices.fit_on != "all":
        reason += f"; {seen(gate_point(held_out, gated.tolist(), cascade.threshold), reported_on)}"
    incorrect = sum(not row.right for row in rows)
    return Calibration(
        threshold=cascade.threshold,
        refine=refine,
        verdict=reason,
        signals=cascade.stages[-1].signals,
        clip=CLIP,
        quality_on=reported_on,
        fitted=Fitted(
            on=fitted_on,
            n=len(rows),
            incorrect=incorrect,
            base_rate=incorrect / len(rows),
            folds=FOLDS,
            strength=cascade.strengths,
            tolerance=choices.tolerance,
            questions=tuple(question_hash(row.trace.question) for row in rows),
        ),
        quality=quality(reports.incorrect(held_out), ps[-1]),
        origin=origin,
        stages=cascade.stages,
    )


def _out_of_fold(rows: Sequence[Row], cascade: Cascade, lowest: float) -> GatePoint:
    """What the gate of the cascade does to rows that had no part in its weights and threshold."""
    gated = reports.cascade_probabilities(rows, cascade.stages, cascade.out_of_fold)
    return cross_fitted_point(rows, cascade.out_of_fold[-1].tolist(), gated.tolist(), _folds(rows), lowest)


def _thresholds(rows: Sequence[Row], cascade: Cascade, lowest: float) -> list[float]:
    """For each row the threshold that is best for rows of other folds."""
    return cross_fitted_thresholds(rows, cascade.out_of_fold[-1].tolist(), _folds(rows), lowest)


def _folds(rows: Sequence[Row]) -> list[int]:
    found: list[int] = folds_of([row.trace.id for row in rows], [row.right for row in rows]).tolist()
    return found


def _alone(name: str, rows: Sequence[Row], held_out: Sequence[Row] | None) -> Array:
    """What this signal alone believes of the rows held out; out of fold of the rows themselves, where none are."""
    fitted = fit_stage(rows, [name], free=False)
    return fitted.out_of_fold if held_out is None else np.ravel(stage_probabilities([fitted.stage], held_out))


def _report(
    calibration: Calibration,
    rows: Sequence[Row],
    ps: Array,
    thresholds: Sequence[float],
    *,
    alone: dict[str, Array],
    unsolved: Sequence[Trace],
    lowest: float,
) -> Report:
    """`thresholds` hold for each row the one that it is decided at."""
    stages, threshold, everyone = calibration.stages, calibration.threshold, ps[-1]
    gated = reports.cascade_probabilities(rows, stages, ps)
    answered = np.array([row.attempt.answer is not None for row in rows], dtype=bool)
    return Report(
        fitted_on=calibration.fitted.on,
        reported_on=calibration.quality_on,
        signals=tuple(reports.signal_report(name, rows, p) for name, p in alone.items()),
        stages=reports.stage_reports(rows, stages, ps),
        everyone=calibration.quality,
        answered=quality(reports.incorrect(rows)[answered], everyone[answered]),
        cascade=quality(reports.incorrect(rows), gated),
        mean=reports.mean_quality(rows, calibration.signals),
        decided=reports.decided(rows, everyone, thresholds, threshold, unsolved),
        decided_by_cascade=reports.decided(rows, gated, thresholds, threshold, unsolved),
        costs=reports.costs(rows, stages, ps, thresholds),
        gate=tuple(gate_curve(rows, everyone.tolist(), lowest)),
        reliability=reports.reliability(reports.incorrect(rows), everyone),
        roc=reports.roc_curves(rows, calibration.signals, {"all, calibrated": everyone, "cascade": gated}),
    )
