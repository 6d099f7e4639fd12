"""A policy against self-consistency that generates as much."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from score_local.engine.protocol import Usage
from score_local.evaluate.equal_tokens import equal_tokens
from score_local.trace import Trace
from tests.evaluate.runs import trace


def traces(right: str, tokens: float) -> list[Trace]:
    """One a character, "1" is right; each generated `tokens`."""
    return [
        msgspec.structs.replace(trace(str(i), "7" if mark == "1" else "6"), usage=Usage(generated=tokens))  # type: ignore[arg-type]
        for i, mark in enumerate(right)
    ]


LADDER = {"two": traces("1100000000", 200), "one": traces("1000000000", 100), "four": traces("1111110000", 400)}

CASES = [
    # tokens, accuracy of the ladder there, its tokens, lower, upper
    (100, 0.10, 100, "one", "one"),
    (160, 0.20, 160, "one", "four"),  # a fifth of the problems by four samples: twice as good as two for some
    (250, 0.35, 250, "one", "four"),
    (400, 0.60, 400, "one", "four"),
    (900, 0.60, 400, "four", "four"),  # nobody went so far: it is said which was compared with
    (20, 0.10, 100, "one", "one"),
]


@pytest.mark.parametrize(("tokens", "accuracy", "generated", "lower", "upper"), CASES)
def test_the_ladder_is_interpolated(tokens: int, accuracy: float, generated: int, lower: str, upper: str) -> None:
    found = equal_tokens(traces("1111100000", tokens), LADDER)
    assert found is not None
    assert found.accuracy == pytest.approx(accuracy) and found.generated == pytest.approx(generated)
    assert (found.lower, found.upper) == (lower, upper)
    assert found.points == pytest.approx(100 * (0.5 - accuracy))
    assert found.interval.low <= found.points <= found.interval.high


def test_the_interval_is_that_of_paired_problems() -> None:
    """The same problems right on both sides: what is common to both cancels out, and nothing is uncertain."""
    same = traces("1010101010" * 10, 100)
    found = equal_tokens(same, {"one": same})
    assert found is not None and (found.points, found.interval.low, found.interval.high) == (0.0, 0.0, 0.0)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Fifty samples of 80 problems whose true difference is 20 points: at most a tenth of the intervals miss it."""
    random = np.random.default_rng(1)
    missed = 0
    for _ in range(50):
        before, after = ("".join("01"[int(x)] for x in random.random(80) < p) for p in (0.4, 0.6))
        found = equal_tokens(traces(after, 100), {"one": traces(before, 100)})
        assert found is not None
        missed += not found.interval.low <= 20 <= found.interval.high
    assert missed <= 5


def test_a_report_is_the_same_every_time() -> None:
    assert equal_tokens(traces("1100110011", 150), LADDER) == equal_tokens(traces("1100110011", 150), LADDER)


def test_there_may_be_nothing_to_compare() -> None:
    assert equal_tokens([], LADDER) is None
    assert equal_tokens(traces("10", 100), {}) is None


def test_a_rung_that_loses_is_not_climbed() -> None:
    found = equal_tokens(traces("1111100000", 350), LADDER | {"eight": traces("1000000000", 800)})
    assert found is not None and (found.lower, found.upper) == ("one", "four")
    found = equal_tokens(traces("1111100000", 800), LADDER | {"eight": traces("1000000000", 800)})
    assert found is not None and (found.upper, found.accuracy, found.generated) == ("four", 0.6, 400.0)


def test_rungs_of_the_same_tokens() -> None:
    found = equal_tokens(traces("1111100000", 100), LADDER | {"as dear": traces("1100000000", 100)})
    assert found is not None and (found.upper, found.accuracy) == ("as dear", 0.2)
