"""The curves of a training as a picture: loss, the task's metric, learning rate, over steps."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from score_local.runs import write_whole
from score_local.train.training import Evaluated, Event, Stepped

CURVES = "curves.png"


def write_curves(folder: Path, events: Sequence[Event], metric: str) -> None:
    """Writes CURVES into `folder`, whole or not at all. Raises RunError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 1, sharex=True)
    _draw(axes, events, metric)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100, metadata={"Software": None})
    write_whole(folder / CURVES, picture.getvalue())


def _draw(axes: Any, events: Sequence[Event], metric: str) -> None:
    steps = [event for event in events if isinstance(event, Stepped)]
    evaluations = [event for event in events if isinstance(event, Evaluated)]
    at, looked_at = [event.step for event in steps], [event.step for event in evaluations]
    axes[0].plot(at, [event.loss for event in steps], linewidth=1, label="training")
    axes[0].plot(looked_at, [event.loss for event in evaluations], marker="o", label="dev")
    axes[0].set_ylabel("loss (nats)")
    axes[0].legend()
    axes[1].plot(looked_at, [event.metric for event in evaluations], marker="o")
    best = [event for event in evaluations if event.best][-1:]
    axes[1].plot([e.step for e in best], [e.metric for e in best], marker="*", markersize=14, linestyle="")
    axes[1].set_ylabel(metric)
    axes[2].plot(at, [event.learning_rate for event in steps])
    axes[2].set_ylabel("learning rate")
    axes[2].set_xlabel("step")
    for axis in axes:
        axis.grid(alpha=0.3)
