"""Votes over the answers of one problem, as tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local import votes
from score_local.problem import AnswerKind
from score_local.trace import Candidate, Source

Ballot = tuple[str | None, float]

# (ballots, who wins, what it shows)
ELECTIONS: list[tuple[list[Ballot], str | None, str]] = [
    ([], None, "nobody voted"),
    ([(None, 9.0)], None, "no answer is no vote, whatever its weight"),
    ([("5", 1.0), ("4", 1.0), ("4", 1.0)], "4", "the more"),
    ([("5", 1.0), ("4", 1.0)], "5", "of equals the first"),
    ([("5", 1.0), ("4", 0.4), ("4", 0.5)], "5", "weights count, not heads"),
    ([("0.5", 1.0), ("1/2", 1.0), ("3", 1.5)], "0.5", "the same number in other words is one answer"),
]


def candidates(ballots: list[Ballot]) -> list[Candidate]:
    return [Candidate("sample", answer, weight) for answer, weight in ballots]


@pytest.mark.parametrize(("ballots", "elected", "reason"), ELECTIONS)
def test_elections(ballots: list[Ballot], elected: str | None, reason: str) -> None:
    assert votes.winner(candidates(ballots), "number") == elected, reason


@pytest.mark.parametrize(("kind", "left", "right"), [("choice", "A", "A"), ("expression", "x+1", "x + 1")])
def test_answers_are_grouped_by_their_kind(kind: AnswerKind, left: str, right: str) -> None:
    assert len(votes.tally(candidates([(left, 1.0), (right, 1.0)]), kind)) == 1


# (ballots, what the programs compute, the answers and their weights, reason)
COMPUTED: list[tuple[list[str], list[str], list[tuple[str, float]], str]] = [
    (["33.33"], ["33.3333333333"], [("33.33", 2.0)], "the sample rounds"),
    (["33.33"], ["33.34"], [("33.33", 1.0), ("33.34", 1.0)], "another number"),
    (["33.3333333333", "33.33"], [], [("33.3333333333", 1.0), ("33.33", 1.0)], "samples are not rounded"),
    (["33.3", "33.33"], ["33.33"], [("33.3", 1.0), ("33.33", 2.0)], "equality goes before rounding"),
]


# (candidates in the order that they spoke: p, a program; s, a sample; the answers and their weights, reason)
SPOKEN: list[tuple[list[tuple[str, str]], list[tuple[str, float]], str]] = [
    ([("s", "30"), ("p", "33.3333333333"), ("s", "33.33")], [("30", 1.0), ("33.33", 2.0)], "a sample after it"),
    ([("p", "33.3333333333"), ("s", "30"), ("s", "33.33")], [("33.33", 2.0), ("30", 1.0)], "who spoke first stays"),
    ([("p", "5"), ("s", "4")], [("5", 1.0), ("4", 1.0)], "a program alone"),
]


@pytest.mark.parametrize(("spoken", "totals", "reason"), SPOKEN)
def test_a_program_counts_whenever_it_speaks(
    spoken: list[tuple[str, str]], totals: list[tuple[str, float]], reason: str
) -> None:
    sources: dict[str, Source] = {"p": "program", "s": "sample"}
    candidates = [Candidate(sources[who], answer, 1.0) for who, answer in spoken]
    assert votes.tally(candidates, "number") == totals, reason


@pytest.mark.parametrize(("stated", "computed", "totals", "reason"), COMPUTED)
def test_a_program_counts_for_the_answer_that_it_rounds_to(
    stated: list[str], computed: list[str], totals: list[tuple[str, float]], reason: str
) -> None:
    programs = [Candidate("program", value, 1.0) for value in computed]
    ballots = [Candidate("sample", answer, 1.0) for answer in stated]
    assert votes.tally([*ballots, *programs], "number") == totals, reason


def test_best_is_one_candidate_and_not_the_sum_of_a_group() -> None:
    assert votes.best(candidates([("4", 0.6), ("4", 0.6), ("5", 0.9), (None, 1.0)])) == "5"
    assert votes.best([]) is None


@pytest.mark.parametrize(
    ("ballots", "to_come", "settled"),
    [
        ([("4", 3.0), ("5", 1.0)], 1, True),
        ([("4", 3.0), ("5", 1.0)], 2, False),
        ([("4", 3.0)], 3, False),
        ([], 0, False),
    ],
)
def test_an_election_is_settled_when_the_rest_cannot_change_it(
    ballots: list[Ballot], to_come: float, settled: bool
) -> None:
    assert votes.settled(candidates(ballots), "number", to_come) is settled


@given(st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=9), st.lists(st.sampled_from(["1", "2", "3"])))
def test_a_settled_election_stays_settled(counted: list[str], to_come: list[str]) -> None:
    ballots = candidates([(answer, 1.0) for answer in counted])
    if votes.settled(ballots, "number", len(to_come)):
        more = candidates([(answer, 1.0) for answer in to_come])
        assert votes.winner(ballots + more, "number") == votes.winner(ballots, "number")


def test_confidence_grows_with_the_lead() -> None:
    def confidence(*counts: int) -> float:
        return votes.confidence(candidates([(str(i), float(n)) for i, n in enumerate(counts)]), "number")

    assert confidence(1, 1) == 0.5, "a tie says nothing"
    assert confidence(1) == 0.75, "Beta(2, 1) above one half"
    assert confidence(2) < confidence(3) < confidence(4) < 1
    assert confidence(3, 1) < confidence(4, 1) < confidence(4)
