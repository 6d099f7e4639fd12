"""Greedy replies of the network in training, many side by side: what a solver or a refiner writes on dev examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from score_local.engine.protocol import Sampling
from score_local.engine.repetition import in_a_loop
from score_local.train.network import Network, padded
from score_local.train.prefixes import Prefixes, cache_of
from score_local.train.samples import Sample

LOOP_WINDOW = Sampling().loop_window


def greedy(
    network: Network, prefixes: Prefixes, samples: Sequence[Sample], most: int, ends: Callable[[int], bool]
) -> list[list[int]]:
    """The tokens of each reply to `sample.prompt`, the end of turn left out; `most` tokens at most, and no endless
    cycle."""
    asked = [sample.tokens[sample.begin : sample.target] for sample in samples]
    before = [prefixes.of(sample) for sample in samples]
    cache = cache_of(before)
    mask = torch.cat([_left_mask([s.begin for s in samples]), _left_mask(list(map(len, asked)))], 1)
    tokens, positions = padded(asked, left=True), padded([range(s.begin, s.target) for s in samples], left=True)
    replies: list[list[int]] = [[] for _ in samples]
    open_rows = [True] * len(samples)
    with network.inference():
        for _ in range(most):
            chosen = _next(network, tokens, positions, mask, cache)
            looping = (in_a_loop(reply, LOOP_WINDOW) for reply in replies)
            open_rows = [
                going and not ends(token) and not loops
                for going, token, loops in zip(open_rows, chosen, looping, strict=True)
            ]
            for row, token in enumerate(chosen):
                replies[row] += [token] if open_rows[row] else []
            if not any(open_rows):
                break
            tokens, positions = torch.tensor(chosen)[:, None], positions[:, -1:] + 1
            mask = torch.cat([mask, torch.ones(len(samples), 1, dtype=mask.dtype)], 1)
    return replies


def _next(network: Network, tokens: Tensor, positions: Tensor, mask: Tensor, cache: object) -> list[int]:
    device = network.device
    states = network.hidden(tokens.to(device), positions.to(device), mask.to(device), cache)  # type: ignore[arg-type]
    chosen: list[int] = network.logits(states[:, -1]).argmax(-1).tolist()
    return chosen


def _left_mask(lengths: Sequence[int]) -> Tensor:
    return padded([[1] * length for length in lengths], left=True)
