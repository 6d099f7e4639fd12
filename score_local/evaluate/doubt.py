"""How far a policy's P(incorrect) of first solutions can be believed, and what each threshold would do with it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from score_local.evaluate import calibration_report
from score_local.evaluate.calibration_report import Bin, Curve
from score_local.evaluate.calibration_rows import rows_of
from score_local.evaluate.gate import GatePoint, gate_curve
from score_local.trace import Attempt, Trace


class Doubt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of the attempts on which a verdict is known. `roc` is (false alarms, hits), empty with one class only; `gate` is
    empty where it is not known of every attempt what stands behind an open gate."""

    reliability: tuple[Bin, ...]
    roc: Curve
    gate: tuple[GatePoint, ...]


def doubt_of(traces: Sequence[Trace], refinements: Sequence[Attempt | None]) -> Doubt | None:
    """`refinements` holds that of each trace's first attempt, whoever had it written. None where nobody doubts."""
    known = [(not trace.initial_correct, trace.p_incorrect) for trace in traces if trace.initial_correct is not None]
    labels = np.array([label for label, p in known if p is not None], dtype=bool)
    ps = np.array([p for _, p in known if p is not None], dtype=float)
    if not len(labels):
        return None
    return Doubt(
        reliability=calibration_report.reliability(labels, ps),
        roc=calibration_report.roc(labels, ps) if 0 < labels.sum() < len(labels) else (),
        gate=_gate(traces, refinements),
    )


def _gate(traces: Sequence[Trace], refinements: Sequence[Attempt | None]) -> tuple[GatePoint, ...]:
    pairs = [(trace, refinement) for trace, refinement in zip(traces, refinements, strict=True) if trace.rounds]
    lent = [_lent(trace, refinement) for trace, refinement in pairs if refinement]
    if len(lent) < len(pairs) or any(trace.method != "refine" for trace in lent):
        return ()
    rows = rows_of(lent, "report")
    return tuple(gate_curve(rows, [row.trace.p_incorrect for row in rows], lowest=0.0))


def _lent(trace: Trace, refinement: Attempt) -> Trace:
    first = msgspec.structs.replace(trace.rounds[0], refinement=refinement)
    return msgspec.structs.replace(trace, rounds=(first,))
