"""Samples as tensors: which tokens a step computes, at which positions, over which cached prefixes, and what is wanted
where. Only positions whose next token is a target are ever turned into logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache

from score_local.train.network import Network, padded
from score_local.train.prefixes import Prefixes, cache_of
from score_local.train.samples import Sample


class Batch(NamedTuple):
    """B rows of S tokens after P cached ones; `wanted`, shape (n, 2), are the rows and columns of the states whose next
    token is in `labels`, shape (n,)."""

    tokens: Tensor
    positions: Tensor
    mask: Tensor
    cache: DynamicCache | None
    wanted: Tensor
    labels: Tensor


def batch_of(samples: Sequence[Sample], prefixes: Prefixes, device: torch.device) -> Batch:
    """What teaches the targets of `samples`. The last token of each is a label only."""
    inputs = [sample.tokens[sample.begin : -1] for sample in samples]
    wanted = [
        (row, column)
        for row, sample in enumerate(samples)
        for column in range(sample.target - sample.begin - 1, len(sample.tokens) - sample.begin - 1)
    ]
    labels = [token for sample in samples for token in sample.tokens[sample.target :]]
    before = [prefixes.of(sample) for sample in samples]
    return Batch(
        tokens=padded(inputs, left=False).to(device),
        positions=padded([range(s.begin, len(s.tokens) - 1) for s in samples], left=False).to(device),
        mask=torch.cat([_mask([s.begin for s in samples], left=True), _mask(list(map(len, inputs)))], 1).to(device),
        cache=cache_of(before) if any(cells is not None for cells in before) else None,
        wanted=torch.tensor(wanted, device=device),
        labels=torch.tensor(labels, device=device),
    )


def wanted_states(network: Network, batch: Batch) -> Tensor:
    """The states whose next token is a label, shape (n, width)."""
    states = network.hidden(batch.tokens, batch.positions, batch.mask, batch.cache)
    rows, columns = batch.wanted.unbind(1)
    return states[rows, columns]


def micro_batches(samples: Sequence[Sample], size: int) -> Iterator[Sequence[Sample]]:
    """Samples of like length together, `size` at a time."""
    ordered = sorted(samples, key=lambda sample: (len(sample.tokens) - sample.begin, sample.example.id))
    return (ordered[start : start + size] for start in range(0, len(ordered), size))


def target_tokens(samples: Sequence[Sample]) -> int:
    return sum(len(sample.tokens) - sample.target for sample in samples)


def _mask(lengths: Sequence[int], *, left: bool = False) -> Tensor:
    return padded([[1] * length for length in lengths], left=left)
