"""A random sample of problems."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.problem import Problem, selected

QUESTIONS = st.lists(st.text(), max_size=30, unique=True)
SEEDS = st.integers(0, 2**32)


def problems(questions: Sequence[str]) -> list[Problem]:
    return [Problem(f"p{at}", question) for at, question in enumerate(questions)]


TEN = problems([f"How many are {n} and 1?" for n in range(10)])


@pytest.mark.parametrize("limit", [None, 1, 10, 11])
def test_without_a_seed_the_order_is_the_file_s(limit: int | None) -> None:
    assert selected(TEN, limit) == tuple(TEN[:limit])


def test_a_sample_is_that_of_its_seed() -> None:
    assert [problem.id for problem in selected(TEN, 4, shuffle=0)] == ["p8", "p1", "p3", "p4"]
    assert selected(TEN, 4, shuffle=0) != selected(TEN, 4, shuffle=1)


@given(QUESTIONS, SEEDS)
def test_a_shuffle_loses_nothing_and_hangs_on_no_order(questions: list[str], seed: int) -> None:
    shuffled = selected(problems(questions), shuffle=seed)
    assert sorted(problem.id for problem in shuffled) == sorted(problem.id for problem in problems(questions))
    backwards = selected(problems(questions)[::-1], shuffle=seed)
    assert [problem.question for problem in backwards] == [problem.question for problem in shuffled]


@given(QUESTIONS, SEEDS, st.integers(1, 30))
def test_a_larger_sample_holds_the_smaller_one(questions: list[str], seed: int, limit: int) -> None:
    larger = selected(problems(questions), limit + 1, shuffle=seed)
    assert larger[:limit] == selected(problems(questions), limit, shuffle=seed)


def test_every_place_is_as_likely_as_another() -> None:
    """Of 2,000 seeds each of ten problems comes first 200 times, give or take five standard deviations (13.4)."""
    firsts = [selected(TEN, 1, shuffle=seed)[0].id for seed in range(2000)]
    assert all(abs(firsts.count(problem.id) - 200) < 67 for problem in TEN)
