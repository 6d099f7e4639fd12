"""What makes training an activated LoRA fast: what stands before the invocation is computed by the frozen base, so its
KV cache is a constant. It is computed once and kept; training then sees only the tokens from the invocation on.

With causal attention earlier positions depend on nothing later, so LoRA on the rest, over this cache, *is* the
activated LoRA of PEFT (a test compares logits and gradients). The worked examples, which all samples share, are kept
once. With a plain LoRA there is nothing before, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache

from score_local.train.network import Network
from score_local.train.samples import Sample, shared_length


class Prefixes:
    """Caches of samples' prefixes, each of shape (layers, 2, KV heads, tokens, head dimension): keys, then values.

    Up to `budget` bytes are kept in memory; what is not is computed again, with the same result: a prefix is always
    computed in the same two pieces, by itself.
    """

    def __init__(self, network: Network, samples: Sequence[Sample], budget: int) -> None:
        self._network, self._room = network, budget
        before = [sample.tokens[: sample.begin] for sample in samples]
        self._length = shared_length(before)
        self._shared = self._computed(before[0][: self._length], None) if self._length else None
        self._kept: dict[tuple[int, ...], Tensor] = {}

    def of(self, sample: Sample) -> Tensor | None:
        """The cache of what stands before `sample.begin`; None where nothing does."""
        own = sample.tokens[self._length : sample.begin]
        if not own:
            return self._shared
        cells = self._kept.get(own)
        if cells is None:
            cells = self._computed(own, self._shared)
            self._keep(own, cells)
        cells = cells.to(self._network.device)
        return cells if self._shared is None else torch.cat([self._shared, cells], dim=3)

    def _keep(self, own: tuple[int, ...], cells: Tensor) -> None:
        self._room -= cells.nbytes
        if self._room >= 0:
            self._kept[own] = cells.cpu()

    def _computed(self, tokens: Sequence[int], past: Tensor | None) -> Tensor:
        """The cells of `tokens` after those of `past`."""
        length = 0 if past is None else past.shape[3]
        cache = cache_of([past])
        row = torch.tensor([list(tokens)], device=self._network.device)
        positions = torch.arange(length, length + len(tokens), device=self._network.device)[None]
        with self._network.inference(adapter=False):
            self._network.hidden(row, positions, None, cache)
        layers = [torch.stack([layer.keys[0, :, length:], layer.values[0, :, length:]]) for layer in cache.layers]
        return torch.stack(layers)


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
