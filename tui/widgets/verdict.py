"""A verdict: the probability that an attempt is wrong as a bar, and what each verifier said of it."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content
from textual.widgets import Static

from score_local.trace import Round
from tui.literal import one_line
from tui.markup import one_line_of

BAR = 24
NAME = 12


class VerdictView(Static):
    """`show` it whole; there is nothing to stream in a verdict."""

    def show(self, round_: Round, gate: float) -> None:
        width = max(20, self.app.size.width)
        self.update(Content("\n").join(verdict_lines(round_, gate, width=width)))


def verdict_lines(round_: Round, gate: float, *, width: int) -> Iterator[Content]:
    """The bar with the threshold marked in it, then a row a verifier."""
    yield Content.assemble("P(incorrect) ", bar(round_.p_incorrect, gate), f" {_belief(round_.p_incorrect)}")
    for signal in round_.signals:
        style = _style(signal.p_incorrect, gate)
        reason = one_line(one_line_of(signal.reason), max(20, width - NAME - 14))
        yield Content.assemble(
            f"{signal.verifier:{NAME}} ", (_belief(signal.p_incorrect), style), (f"  {reason}", "dim")
        )
    if round_.error:
        yield Content.styled(f"no refinement: {one_line(round_.error, width)}", "$text-error")


def bar(p_incorrect: float | None, gate: float) -> Content:
    """BAR cells, filled up to the probability; the threshold is a mark in it. Empty where it is unknown."""
    filled = round(BAR * (p_incorrect or 0.0))
    cells = ["█" if i < filled else "░" for i in range(BAR)]
    at = min(BAR - 1, round(BAR * gate))
    style = _style(p_incorrect, gate)
    before, after = "".join(cells[:at]), "".join(cells[at + 1 :])
    return Content.assemble((before, style), ("┃", "bold"), (after, style))


def doubt(round_: Round, gate: float) -> str:
    """The verdict in words, for the title of its phase."""
    if round_.p_incorrect is None:
        return "unknown: no verifier can tell"
    opened = round_.p_incorrect >= gate
    return f"{'doubted' if opened else 'trusted'}, P(incorrect) {round_.p_incorrect:.2f}, threshold {gate:.2f}"


def _belief(p_incorrect: float | None) -> str:
    return "   ?" if p_incorrect is None else f"{p_incorrect:.2f}"


def _style(p_incorrect: float | None, gate: float) -> str:
    if p_incorrect is None:
        return "dim"
    return "$text-error" if p_incorrect >= gate else "$text-success"
