"""Reliability diagrams and ROC curves as PNG, where matplotlib is installed."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from score_local.evaluate.calibration_report import Bin, Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INCHES, _DPI = (5.0, 5.0), 150


def can_plot() -> bool:
    """Whether matplotlib is here; it is not loaded for that."""
    return find_spec("matplotlib") is not None


def reliability_diagram(series: Mapping[str, Sequence[Bin]]) -> bytes:
    """A PNG: how many were incorrect against what was believed, with 95% intervals; its dots are as large as the bins
    are full."""
    figure, axes = _square("P(incorrect) that was believed", "share that was incorrect")
    for number, (name, bins) in enumerate(series.items()):
        n, colour = sum(bin_.incorrect.n for bin_ in bins), f"C{number}"
        gaps = (abs(bin_.believed * bin_.incorrect.n - bin_.incorrect.count) for bin_ in bins)
        for bin_ in bins:
            share, limits = bin_.incorrect, bin_.incorrect.interval
            if share.share is not None and limits is not None:
                axes.vlines(bin_.believed, limits.low, limits.high, color=colour, linewidth=1)
                axes.scatter([bin_.believed], [share.share], s=20 + 200 * share.n / n, color=colour, zorder=2)
        axes.plot([], [], "o", color=colour, label=f"{name}, n = {n}, calibration error {sum(gaps) / max(n, 1):.3f}")
    axes.legend(loc="upper left", fontsize="x-small", frameon=False)
    return _png(figure)


def roc_diagram(curves: Mapping[str, Curve]) -> bytes:
    """A PNG: the ROC curve of each, (false alarms, hits) by name; positive is *incorrect*."""
    figure, axes = _square("right solutions doubted", "incorrect solutions doubted")
    for name, curve in curves.items():
        area = sum((x - x0) * (y + y0) / 2 for (x0, y0), (x, y) in itertools.pairwise(curve))
        axes.plot(*zip(*curve, strict=True), label=f"{name} ({area:.2f})", linewidth=1.5)
    if curves:
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
