"""The pictures of a report as PNG: accuracy against generated tokens, and what each threshold fixes and breaks.

Reliability diagrams and ROC curves are those of the calibrations (`calibration_plots`).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from score_local.evaluate.report import Fit, Report, Result

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


def gate_plot(fits: dict[str, Fit]) -> bytes:
    """How many wrong answers the gate of each calibration fixes, and how many right ones it breaks, by threshold."""
    figure = _figure()
    axes = figure.subplots()
    for number, (name, fit) in enumerate(fits.items()):
        thresholds = [point.threshold for point in fit.gate]
        axes.plot(thresholds, [point.fixed for point in fit.gate], color=f"C{number}", label=f"{name}: fixed")
        axes.plot(thresholds, [p.broken for p in fit.gate], color=f"C{number}", linestyle="--", label=f"{name}: broken")
        axes.axvline(fit.threshold, color=f"C{number}", linewidth=0.6, linestyle=":")
    axes.set(xlabel="threshold: the gate opens at P(incorrect) or above", ylabel="problems")
    axes.legend(frameon=False, fontsize="small")
    return _png(figure)


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
