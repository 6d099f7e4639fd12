"""A vote: each answer with its weight, the heaviest first."""

from __future__ import annotations

from collections import Counter

from textual.content import Content
from textual.widgets import Static

from score_local.trace import Trace
from tui.literal import one_line

BAR = 16
WIDTH = 30


class VotesView(Static):
    def show(self, trace: Trace) -> None:
        weights: Counter[str] = Counter()
        for candidate in trace.candidates:
            weights[candidate.answer or "no answer"] += candidate.weight  # type: ignore[assignment]
        total = sum(weights.values()) or 1
        width = min(WIDTH, max(map(len, weights), default=0))
        rows = [
            Content.assemble(
                f"{one_line(answer, WIDTH):{width}} ",
                ("█" * round(BAR * weight / total), "$text-primary"),
                f" {weight:g}",
            )
            for answer, weight in weights.most_common()
        ]
        self.update(Content("\n").join(rows))
