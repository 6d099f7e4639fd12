"""What a card says of where its answer comes from."""

from __future__ import annotations

import pytest

from score_local.trace import Attempt, Candidate, Method, Round, Trace
from tui.widgets.answer import origin

HALVES = (("initial", "0.5"), ("sample", "1/2"), ("sample", "3"), ("program", "0.50"))
ROUNDED = (("initial", "33.33"), *[("program", "33.3333333333")] * 4, ("program", "30"))


def voted(
    candidates: tuple[tuple[str, str], ...], answer: str, method: Method = "majority", refined: str = ""
) -> Trace:
    rounds = (Round(0.9, (), refinement=Attempt(refined, refined)),) if refined else ()
    return Trace(
        id="p",
        question="?",
        method=method,
        initial=Attempt(candidates[0][1], candidates[0][1]),
        candidates=tuple(Candidate(source, value, 1.0) for source, value in candidates),  # type: ignore[arg-type]
        rounds=rounds,
        refined=bool(refined),
        initial_answer=candidates[0][1],
        answer=answer,
        status="solved",
    )


@pytest.mark.parametrize(
    ("trace", "answer", "told"),
    [
        (voted(HALVES, "0.5"), "0.5", "from a vote: 3 of 4"),
        (voted(ROUNDED, "33.33"), "33.33", "from a vote: 5 of 6"),
        (voted(HALVES, "3", refined="3"), "3", "from the refined solution"),
        (voted((("initial", "5"), ("sample", "4")), "4", "best-of-n"), "5", "the best of 2"),
        (voted(HALVES, "0.5"), None, "no answer could be read"),
    ],
    ids=["spellings", "rounded", "refined after the vote", "best of n", "none"],
)
def test_where_an_answer_comes_from(trace: Trace, answer: str | None, told: str) -> None:
    assert origin(trace, answer).startswith(told)
