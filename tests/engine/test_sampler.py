"""The sampler: greedy, cuts, seeds, and log-probabilities under the model."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.engine.protocol import Sampling
from score_local.engine.sampler import Sampler, log_normalizer

PROBABILITIES = [0.5, 0.2, 0.15, 0.1, 0.05]
LOGITS = np.log(np.array(PROBABILITIES, dtype=np.float32)) + 3.0


def drawn(sampling: Sampling, n: int = 4000) -> Counter[int]:
    sampler = Sampler(sampling)
    return Counter(sampler.choose(LOGITS)[0] for _ in range(n))


def test_greedy_takes_the_best_with_its_probability() -> None:
    token, logprob = Sampler(Sampling()).choose(LOGITS)
    assert token == 0 and logprob == pytest.approx(np.log(0.5), abs=1e-6)


def test_sampling_follows_the_distribution() -> None:
    counts = drawn(Sampling(temperature=1.0, top_p=1.0, seed=7))
    for token, probability in enumerate(PROBABILITIES):
        assert counts[token] / 4000 == pytest.approx(probability, abs=0.03)


@pytest.mark.parametrize(
    ("sampling", "left", "why"),
    [
        (Sampling(temperature=1, top_k=2, top_p=1), {0, 1}, "top-k keeps two"),
        (Sampling(temperature=1, top_p=0.69), {0, 1}, "top-p keeps what is needed to reach it"),
        (Sampling(temperature=1, top_p=0.71), {0, 1, 2}, "and one more when it is not reached"),
        (Sampling(temperature=1, top_p=1, min_p=0.25), {0, 1, 2}, "min-p counts from the best"),
        (Sampling(temperature=1, top_p=0.0), {0}, "at least one is left"),
        (Sampling(temperature=1, top_k=0, top_p=1), {0, 1, 2, 3, 4}, "top-k 0 keeps all"),
        (Sampling(temperature=1e-6, top_p=1), {0}, "almost no temperature is greedy, without overflow"),
    ],
)
def test_cuts(sampling: Sampling, left: set[int], why: str) -> None:
    assert set(drawn(sampling)) == left, why


def test_the_logprob_is_the_models_not_the_cut_ones() -> None:
    sampler = Sampler(Sampling(temperature=2.0, top_k=2, seed=1))
    for _ in range(20):
        token, logprob = sampler.choose(LOGITS)
        assert logprob == pytest.approx(np.log(PROBABILITIES[token]), abs=1e-5)


def test_a_seed_repeats_and_another_differs() -> None:
    draws = [[Sampler(Sampling(temperature=1, seed=s)).choose(LOGITS)[0] for s in range(50)] for _ in range(2)]
    assert draws[0] == draws[1] and len(set(draws[0])) > 1


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50), st.integers(0, 60), st.floats(0.01, 5))
def test_any_logits_give_a_token(values: list[float], top_k: int, temperature: float) -> None:
    logits = np.array(values, dtype=np.float32)
    token, logprob = Sampler(Sampling(temperature=temperature, top_k=top_k)).choose(logits)
    assert 0 <= token < len(values) and logprob <= 1e-4


@pytest.mark.parametrize(("vocabulary", "top_k"), [(50, 7), (6_400, 99), (6_500, 100), (20_001, 100), (20_001, 20_000)])
def test_the_top_k_are_those_of_a_full_sort_ties_by_token(vocabulary: int, top_k: int) -> None:
    for seed in range(5):
        logits = np.random.default_rng(seed).normal(0, 2, vocabulary).round(2).astype(np.float32)  # rounded: ties
        expected = np.lexsort((np.arange(vocabulary), -logits))[:top_k]
        assert (Sampler(Sampling(top_k=top_k))._top_k(logits) == expected).all()


def test_the_normalizer_does_not_overflow() -> None:
    assert log_normalizer(np.array([3e4, 3e4], dtype=np.float32)) == pytest.approx(3e4 + np.log(2))
