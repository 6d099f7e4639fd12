from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.engine.shares import shares

RUNS = st.lists(st.integers(1, 300), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("runs", "taken", "why"),
    [
        ([1, 1, 1], [1, 1, 1], "all decode"),
        ([300], [128], "a piece of a long prompt"),
        ([1, 90, 80], [1, 90, 1], "one whole prompt, where two do not fit"),
        ([60, 1, 60, 60], [60, 1, 60, 1], "as many of a length as fit"),
        ([20, 21, 22, 19], [19, 19, 19, 19], "a little less of each is more in all"),
        ([3, 100, 1], [1, 100, 1], "of two lengths the longer"),
        ([3, 1], [3, 1], "a short piece, where nobody has a longer one"),
        ([130, 130, 1], [128, 1, 1], "the budget is of all"),
    ],
)
def test_shares(runs: list[int], taken: list[int], why: str) -> None:
    assert shares(runs, 128) == taken, why


@given(RUNS, st.integers(1, 128))
def test_pieces_have_one_length_and_stay_within_the_budget(runs: list[int], budget: int) -> None:
    taken = shares(runs, budget)
    assert len({share for share in taken if share > 1}) <= 1
    assert sum(share for share in taken if share > 1) <= budget
    assert all(1 <= share <= run for share, run in zip(taken, runs, strict=True))
