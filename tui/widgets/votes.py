"""A vote: each answer with its weight, the heaviest first."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from score_local import votes
from score_local.trace import Trace
from tui.literal import one_line

BAR = 16
WIDTH = 30


class VotesView(Static):
    def show(self, trace: Trace) -> None:
        weights = votes.tally(trace.candidates, trace.kind)
        unread = [candidate.weight for candidate in trace.candidates if candidate.answer is None]
        weights += [("no answer", sum(unread))] if unread else []
        total = sum(weight for _, weight in weights) or 1
        width = min(WIDTH, max((len(answer) for answer, _ in weights), default=0))
        rows = [
            Content.assemble(
                f"{one_line(answer, WIDTH):{width}} ",
                ("█" * round(BAR * weight / total), "$text-primary"),
                f" {weight:g}",
            )
            for answer, weight in sorted(weights, key=lambda entry: -entry[1])
        ]
        self.update(Content("\n").join(rows))
