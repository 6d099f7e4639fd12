"""How a training tells how far it is: a live panel on a terminal, a line now and then elsewhere. All on stderr."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from score_local.train.training import Evaluated, Event, Started, Stepped

PLAIN_INTERVAL = 10.0  # seconds between two lines where stderr is no terminal
SMOOTHED = 10  # steps


@dataclass
class Curve:
    """What has been heard so far, in this session."""

    metric: str
    total: int = 0
    steps: list[Stepped] = field(default_factory=list)
    evaluations: list[Evaluated] = field(default_factory=list)

    def hear(self, event: Event, total: int) -> None:
        self.total = total
        if isinstance(event, Stepped):
            self.steps.append(event)
        elif isinstance(event, Evaluated):
            self.evaluations.append(event)

    def facts(self) -> list[dict[str, str]]:
        """What to show of the steps and of the evaluations, by name."""
        return [facts for facts in (self._of_steps(), self._of_evaluations()) if facts]

    def seconds_left(self) -> float:
        """To the last step, if nothing ends it earlier, at the speed of this session."""
        spent = sum(event.seconds for event in self.steps) + sum(event.seconds for event in self.evaluations)
        return (self.total - self.steps[-1].step) * spent / len(self.steps)

    def _of_steps(self) -> dict[str, str]:
        if not self.steps:
            return {}
        last, recent = self.steps[-1], self.steps[-SMOOTHED:]
        speed = sum(event.tokens for event in recent) / max(sum(event.seconds for event in recent), 1e-9)
        return {
            "step": f"{last.step}/{self.total}",
            "loss": f"{sum(event.loss for event in recent) / len(recent):.3f}",
            "rate": f"{last.learning_rate:.1e}",
            "tokens/s": f"{speed:,.0f}",
            "MB": f"{last.memory / 2**20:,.0f}",
            "minutes left": f"{self.seconds_left() / 60:.0f}",
        }

    def _of_evaluations(self) -> dict[str, str]:
        if not self.evaluations:
            return {}
        last, best = self.evaluations[-1], [event for event in self.evaluations if event.best]
        found = {self.metric: f"{last.metric:.3f}", "dev loss": f"{last.loss:.3f}"}
        return found | ({"best": f"{best[-1].metric:.3f} at step {best[-1].step}"} if best else {})


def described(start: Started) -> str:
    """For example `on the CPU, where 4 bits gain nothing: plain activated LoRA over a bfloat16 base, ...`."""
    where = "on the CPU, where 4 bits gain nothing: plain" if start.device == "cpu" else f"on {start.device}:"
    kind = {"lora": "LoRA", "alora": "activated LoRA"}[start.kind]
    sizes = f"{start.factors:,} weights trained, {start.batch} samples a step, {start.micro_batch} at a time"
    return f"{where} {kind} over a {start.precision} base, {sizes}"


class View(Protocol):
    def __enter__(self) -> View: ...
    def __exit__(self, *error: object) -> None: ...
    def tell(self, event: Event, total: int) -> None: ...


def view_of(metric: str) -> View:
    return LiveView(metric) if sys.stderr.isatty() else PlainView(metric)


class PlainView:
    """A line every PLAIN_INTERVAL seconds, and one for each evaluation."""

    def __init__(self, metric: str) -> None:
        self._curve, self._told = Curve(metric), 0.0

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *error: object) -> None: ...

    def tell(self, event: Event, total: int) -> None:
        self._curve.hear(event, total)
        if isinstance(event, Started):
            print(described(event), file=sys.stderr, flush=True)
        elif isinstance(event, Evaluated) or time.monotonic() - self._told >= PLAIN_INTERVAL:
            self._told = time.monotonic()
            told = [f"{name} {value}" for facts in self._curve.facts() for name, value in facts.items()]
            print(", ".join(told), file=sys.stderr, flush=True)


class LiveView:
    """A bar, and under it the figures, redrawn in place."""

    def __init__(self, metric: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._curve = Curve(metric)
        self._live = Live(console=Console(stderr=True), refresh_per_second=4)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def tell(self, event: Event, total: int) -> None:
        self._curve.hear(event, total)
        if isinstance(event, Started):
            self._live.console.print(described(event), highlight=False)
        self._live.update(self._drawn())

    def _drawn(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        tables = []
        for facts in self._curve.facts():
            tables.append(Table(*facts, box=None, header_style="dim"))
            tables[-1].add_row(*facts.values())
        done = self._curve.steps[-1].step if self._curve.steps else 0
        return Group(ProgressBar(total=max(1, self._curve.total), completed=done, width=60), *tables)
