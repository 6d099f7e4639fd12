"""Loops of a small model are seen, ordinary text is not taken for one."""

from __future__ import annotations

import re

import numpy as np
import pytest

from score_local.engine.jobs import GenerateJob, prompt_cells
from score_local.engine.protocol import Completion, Generate, Message, Sampling
from score_local.engine.repetition import LoopWatch, in_a_loop
from score_local.engine.sampler import Logits
from tests.engine.fakes import VOCABULARY, Ear, FakeBackend

CASES = [
    ([7] * 12, 12, True, "one token again and again"),
    ([1, 2, 3, 4] * 3, 12, True, "a cycle, exactly three times"),
    ([*range(7)] * 3, 12, True, "a cycle longer than a third of the window, three times all the same"),
    ([0, *[*range(7)] * 2, *range(6)], 12, False, "not yet three times, and long enough"),
    ([*range(13)] * 3, 12, False, "a cycle longer than the window"),
    ([9, 9, *[1, 2, 3, 4] * 3], 12, True, "whatever came before"),
    ([*[1, 2, 3, 4] * 2, 1, 2, 3], 11, False, "not yet three times"),
    ([1, 2, 3, 4, 5, 6] * 2, 12, False, "twice is no loop: a step may be repeated as the answer"),
    ([*[1, 2, 3, 4] * 2, 1, 2, 3, 5], 12, False, "the last repetition went another way"),
    (list(range(12)), 12, False, "counting up"),
    ([7] * 11, 12, False, "too short to tell"),
    ([7] * 50, 0, False, "switched off"),
    ([], 0, False, "nothing"),
]


@pytest.mark.parametrize(("tokens", "window", "loops", "why"), CASES)
def test_in_a_loop(tokens: list[int], window: int, loops: bool, why: str) -> None:
    assert in_a_loop(tokens, window) is loops, why


def step(number: int, text: str = "She makes 4 cakes a day.") -> str:
    return f"Step {number}: {text}\n"


REPLIES = [
    ("".join(map(step, range(1, 30))), True, "one step for ever, counted on"),
    ("".join(f"{n}. Add up.\n" for n in range(8, 40)), True, "the same in a list"),
    ("".join(f"**Step {n}** Add up.\n" for n in range(8, 40)), True, "in bold"),
    ("".join(step(n, ("It costs 4.", "She has 8.")[n % 2]) for n in range(1, 40)), True, "two steps in turn"),
    ("".join(step(n, f"He has {n} + 1 = {n + 1} eggs.") for n in range(1, 40)), False, "steps that come to something"),
    ("".join(f"{n}\n" for n in range(1, 200)), False, "counting, a number a line"),
    ("".join(f"{n}, " for n in range(1, 200)), False, "counting in a line"),
    ("".join(f"{n} * 7 = {n * 7}\n" for n in range(1, 40)), False, "a table"),
    ("".join(map(step, range(1, 4))), False, "three times is too short to tell"),
    ("So the sum of 1 and 2 is 3. " * 40, True, "without numbered lines"),
]


@pytest.mark.parametrize(("reply", "loops", "why"), REPLIES)
@pytest.mark.parametrize(
    "pieces", [r"\*\*|\d|\s*[^\W\d]+|\s|\W", r"\*\*| ?\d+|\s*[^\W\d]+|\W"], ids=["digits", "numbers"]
)
def test_the_numbers_of_lines_are_no_progress(pieces: str, reply: str, loops: bool, why: str) -> None:
    watch = LoopWatch(96)
    found = re.findall(pieces, reply)
    assert "".join(found) == reply
    assert any(watch.hear(piece) for piece in found) is loops, why


def test_a_watch_that_is_switched_off_hears_nothing() -> None:
    watch = LoopWatch(0)
    assert not any(watch.hear("again ") for _ in range(500))


def spoken(reply: bytes, sampling: Sampling) -> Completion:
    """What a job answers where the model says `reply` again and again."""
    job = GenerateJob(
        Generate((Message("user", "q"),), sampling=sampling), prompt_cells([1], None, ()), [], FakeBackend(), Ear()
    )
    for i in range(sampling.max_tokens):
        logits: Logits = np.zeros(VOCABULARY, np.float32)
        logits[reply[i % len(reply)]] = 9.0
        job.hear(logits)
        if isinstance(job.reply, Completion):
            return job.reply
    raise AssertionError("never ended")


def test_a_reply_in_a_loop_ends_and_says_so() -> None:
    reply = spoken(b"again ", Sampling(max_tokens=300, loop_window=24))
    assert (reply.finish, reply.text) == ("loop", "again " * 4)


def test_a_loop_may_be_allowed() -> None:
    assert spoken(b"again ", Sampling(max_tokens=300, loop_window=0)).finish == "length"
