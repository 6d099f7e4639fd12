"""The pictures of a report as PNG: accuracy against generated tokens, what each threshold fixes and breaks, and how far
the verdicts can be believed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from score_local.evaluate import calibration_plots
from score_local.evaluate.doubt import Doubt
from score_local.evaluate.gate import GatePoint
from score_local.evaluate.report import Report, Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES, _DPI = (7.5, 5.0), 150


def accuracy_plot(report: Report) -> bytes:
    """Final accuracy with 95% intervals over generated tokens a problem; self-consistency is the line to beat."""
    figure = _figure()
    axes = figure.subplots()
    ladder = [result for result in report.results if result.same_tokens is None]
    axes.plot([_tokens(r) for r in ladder], [_accuracy(r) for r in ladder], color="grey", label="self-consistency")
    for result in report.results:
        share, colour = result.summary.final, "grey" if result.same_tokens is None else "C0"
        if share.interval is None:
            continue
        limits = (100 * share.interval.low, 100 * share.interval.high)
        axes.vlines(_tokens(result), *limits, color=colour, linewidth=0.8, alpha=0.5)
        axes.scatter([_tokens(result)], [_accuracy(result)], color=colour, s=18, zorder=2)
        axes.annotate(result.name, (_tokens(result), _accuracy(result)), (4, 3), textcoords="offset points", fontsize=7)
    axes.margins(x=0.12)
    axes.set(xlabel="generated tokens a problem", ylabel="right, %", title=f"n = {len(report.problems)}")
    axes.legend(loc="lower right", frameon=False)
    return _png(figure)


def gate_plot(gates: Mapping[str, Sequence[GatePoint]]) -> bytes:
    """How many wrong answers the gate of each policy fixes, and how many right ones it breaks, by threshold."""
    figure = _figure()
    axes = figure.subplots()
    for number, (name, gate) in enumerate(gates.items()):
        thresholds, colour = [point.threshold for point in gate], f"C{number}"
        axes.plot(thresholds, [point.fixed for point in gate], color=colour, label=f"{name}: fixed")
        axes.plot(thresholds, [point.broken for point in gate], color=colour, linestyle="--", label=f"{name}: broken")
    axes.set(xlabel="threshold: the gate opens at P(incorrect) or above", ylabel="problems")
    axes.legend(frameon=False, fontsize="small")
    return _png(figure)


def plots(report: Report) -> dict[str, bytes]:
    """All pictures of a report by file name, those left out for which nobody doubts."""
    doubts = _doubts(report)
    found = {"accuracy.png": accuracy_plot(report)}
    gates = {name: doubt.gate for name, doubt in doubts.items() if doubt.gate}
    gates |= {name: fit.gate for name, fit in report.fits.items()}
    if gates:
        found["gate.png"] = gate_plot(gates)
    if doubts:
        reliability = {name: doubt.reliability for name, doubt in doubts.items()}
        found["reliability.png"] = calibration_plots.reliability_diagram(reliability)
        found["roc.png"] = calibration_plots.roc_diagram({name: d.roc for name, d in doubts.items() if d.roc})
    return found


def _doubts(report: Report) -> dict[str, Doubt]:
    """By policy; of several that believe the same, the first. The oracle is no opinion."""
    found: dict[str, Doubt] = {}
    for result in report.results:
        asked = result.policy.method == "refine" and "oracle" not in result.policy.verify.verifiers
        if result.doubt and asked and result.doubt not in found.values():
            found[result.name] = result.doubt
    return found


def _tokens(result: Result) -> float:
    return result.summary.cost.generated_per_problem or 0.0


def _accuracy(result: Result) -> float:
    return 100 * (result.summary.final.share or 0.0)


def _figure() -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
