"""The answer of a card, large, with where it comes from and how sure one may be of it."""

from __future__ import annotations

import re

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Digits, Static

from score_local import votes
from score_local.trace import Trace
from tui.literal import one_line
from tui.records import Turn

_LARGE = re.compile(r"[-+0-9.,:/%$€£]{1,14}")


class Answer(Vertical):
    """Hidden by its card until there is something to say."""

    DEFAULT_CSS = """
    Answer { height: auto; }
    Answer > Digits { width: 1fr; height: 3; text-style: bold; color: $text-success; display: none; }
    Answer > .words { height: auto; text-style: bold; color: $text-success; }
    Answer > .origin { height: auto; color: $text-muted; }
    Answer.-unknown > .words { color: $text-warning; }
    """

    def compose(self) -> ComposeResult:
        yield Digits()
        yield Static(classes="words", markup=False)
        yield Static(classes="origin", markup=False)

    def show(self, turn: Turn) -> None:
        assert turn.trace is not None
        self.add_class("-told")
        answer = one_line(turn.answer, 200) if turn.answer else "unknown"
        large = bool(_LARGE.fullmatch(answer)) and not self.app.has_class("-ascii")
        self.set_class(turn.answer is None, "-unknown")
        digits, words = self.query_one(Digits), self.query_one(".words", Static)
        digits.display, words.display = large, not large
        if large:
            digits.update(answer)
        words.update(Content(f"Answer: {answer}"))
        self.query_one(".origin", Static).update(Content(origin(turn.trace, turn.answer)))


def origin(trace: Trace, answer: str | None) -> str:
    """Which attempt an answer is of, and what is known of its being right."""
    if answer is None:
        return "no answer could be read"
    if trace.candidates and answer == votes.chosen(trace):
        return _elected(trace, answer)
    if answer != trace.initial_answer or _refined_to(trace, answer):
        doubted = (
            f"; the first solution was doubted at {trace.p_incorrect:.2f}" if trace.p_incorrect is not None else ""
        )
        return f"from the refined solution{doubted}"
    sure = "how sure it is, is unknown" if trace.p_incorrect is None else f"confidence {1 - trace.p_incorrect:.0%}"
    unanswered = any(round_.refinement and round_.refinement.answer is None for round_ in trace.rounds)
    return f"from the first solution; {sure}" + ("; the refined one holds no answer" if unanswered else "")


def _elected(trace: Trace, answer: str) -> str:
    if trace.method == "best-of-n":
        return f"the best of {len(trace.candidates)}"
    total = sum(candidate.weight for candidate in trace.candidates)
    return f"from a vote: {dict(votes.tally(trace.candidates, trace.kind))[answer]:g} of {total:g}"


def _refined_to(trace: Trace, answer: str) -> bool:
    return trace.refined and any(r.refinement and r.refinement.answer == answer for r in trace.rounds)
