"""What makes training an activated LoRA fast: what stands before the invocation is computed by the frozen base, so its
KV cache is a constant. It is computed once and kept; training then sees only the tokens from the invocation on.

With causal attention earlier positions depend on nothing later, so LoRA on the rest, over this cache, *is* the
activated LoRA of PEFT (a test compares logits and gradients). With a plain LoRA nothing stands before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache

from score_local.train.network import Network
from score_local.train.samples import Sample, shared_length

Piece = tuple[int, tuple[int, ...]]  # where it begins, and all tokens up to its end


class Prefixes:
    """Caches of samples' prefixes, each of shape (layers, 2, KV heads, tokens, head dimension): keys, then values.

    A prefix is made of pieces: what all samples begin with (the worked examples), what those of a problem do (its
    question), the rest. Up to `budget` bytes of pieces are kept in memory; what is not is computed again, with the same
    result: a piece is always computed after the same pieces, by itself.
    """

    def __init__(self, network: Network, samples: Sequence[Sample], budget: int) -> None:
        self._network, self._samples, self._room = network, samples, budget
        self._kept: dict[Piece, Tensor] = {}
        self._of_all = shared_length([sample.before for sample in samples])
        problems: dict[str, list[tuple[int, ...]]] = defaultdict(list)
        for sample in samples:
            problems[sample.example.problem].append(sample.before)
        self._of_problem = {problem: shared_length(before) for problem, before in problems.items()}

    def of(self, sample: Sample) -> Tensor | None:
        """The cache of what stands before `sample.begin`; None where nothing does."""
        cells: Tensor | None = None
        for start, end in pairwise(self._ends(sample)):
            piece = self._piece(sample.before[:end], start, cells)
            cells = piece if cells is None else torch.cat([cells, piece], dim=3)
        return cells

    @property
    def still_to_keep(self) -> int:
        """Bytes that keeping all pieces, or as many as are allowed, will yet take."""
        pieces = {(start, s.before[:end]) for s in self._samples for start, end in pairwise(self._ends(s))}
        cell = next((cells.nbytes // cells.shape[3] for cells in self._kept.values()), 0)
        return min(max(self._room, 0), cell * sum(len(tokens) - start for start, tokens in pieces - self._kept.keys()))

    def _ends(self, sample: Sample) -> list[int]:
        """Where the pieces of a prefix begin and end."""
        return sorted({0, self._of_all, self._of_problem[sample.example.problem], sample.begin})

    def _piece(self, tokens: tuple[int, ...], start: int, past: Tensor | None) -> Tensor:
        """The cells of `tokens` from `start` on, kept or computed."""
        if (start, tokens) in self._kept:
            return self._kept[start, tokens].to(self._network.device)
        cells = self._computed(tokens[start:], past)
        self._room -= cells.nbytes
        if self._room >= 0:
            self._kept[start, tokens] = cells.cpu()
        return cells

    def _computed(self, tokens: Sequence[int], past: Tensor | None) -> Tensor:
        """The cells of `tokens` after those of `past`."""
        length = 0 if past is None else past.shape[3]
        cache = cache_of([past])
        row = torch.tensor([list(tokens)], device=self._network.device)
        positions = torch.arange(length, length + len(tokens), device=self._network.device)[None]
        with self._network.inference(adapter=False):
            self._network.hidden(row, positions, None, cache)
        layers: list[Any] = cache.layers
        return torch.stack([torch.stack([kv.keys[0, :, length:], kv.values[0, :, length:]]) for kv in layers])


def cache_of(prefixes: Sequence[Tensor | None]) -> DynamicCache:
    """A cache for a batch, a row a prefix, padded on the left with zeros."""
    longest = max(0 if prefix is None else prefix.shape[3] for prefix in prefixes)
    cache = DynamicCache()
    if longest == 0:
        return cache
    rows = torch.stack([functional.pad(p, (0, 0, longest - p.shape[3], 0)) for p in prefixes if p is not None], dim=2)
    for layer, (keys, values) in enumerate(rows):
        cache.update(keys, values, layer)
    return cache
