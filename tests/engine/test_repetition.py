"""Loops of a small model are seen, ordinary text is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from score_local.engine.jobs import GenerateJob, prompt_cells
from score_local.engine.protocol import Completion, Generate, Message, Sampling
from score_local.engine.repetition import in_a_loop
from score_local.engine.sampler import Logits
from tests.engine.fakes import VOCABULARY, Ear, FakeBackend

CASES = [
    ([7] * 12, 12, True, "one token again and again"),
    ([1, 2, 3, 4] * 3, 12, True, "a cycle, exactly three times"),
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
