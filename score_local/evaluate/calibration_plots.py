"""The reliability diagram and the ROC curves of a calibration as PNG, where matplotlib is installed."""

from __future__ import annotations

import io
import itertools
from importlib.util import find_spec
from typing import TYPE_CHECKING

from score_local.evaluate.calibration_report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INCHES, _DPI = (5.0, 5.0), 150


def can_plot() -> bool:
    """Whether matplotlib is here; it is not loaded for that."""
    return find_spec("matplotlib") is not None


def reliability_diagram(report: Report) -> bytes:
    """A PNG: how many were incorrect against what was believed, with 95% intervals; its dots are as large as the bins
    are full."""
    figure, axes = _square("P(incorrect) that was believed", "share that was incorrect")
    for bin_ in report.reliability:
        share, limits = bin_.incorrect, bin_.incorrect.interval
        if share.share is None or limits is None:
            continue
        axes.vlines(bin_.believed, limits.low, limits.high, color="C0", linewidth=1)
        axes.scatter([bin_.believed], [share.share], s=20 + 200 * share.n / report.everyone.n, color="C0", zorder=2)
    error = report.everyone.calibration_error
    axes.set_title(f"n = {report.everyone.n}" + (f", calibration error {error.value:.3f}" if error else ""))
    return _png(figure)


def roc_diagram(report: Report) -> bytes:
    """A PNG: the ROC curve of each signal where it spoke, and of the combination; positive is *incorrect*."""
    figure, axes = _square("right solutions doubted", "incorrect solutions doubted")
    for name, curve in report.roc.items():
        area = sum((x - x0) * (y + y0) / 2 for (x0, y0), (x, y) in itertools.pairwise(curve))
        axes.plot(*zip(*curve, strict=True), label=f"{name} ({area:.2f})", linewidth=1.5)
    if report.roc:
        axes.legend(loc="lower right", fontsize="small", title="AUROC", frameon=False)
    return _png(figure)


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    """Axes from 0 to 1 with the diagonal. No pyplot: it keeps figures in global state and may want a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1), aspect="equal")
    return figure, axes


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
