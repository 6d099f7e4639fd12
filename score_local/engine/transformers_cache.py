"""KV streams for transformers' models: every stream has a row of its own in the keys and values of each layer.

A stream's cells stand at their positions, from the left, so nothing is padded: the mask hides what a stream does not
hold, and a cell that was forgotten is written over. Knows nothing of tokens, requests or adapters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


class KVStreams:
    """Keys and values of all layers, each of shape (streams, KV heads, context, head dimension)."""

    def __init__(self, streams: int, context: int) -> None:
        self._streams, self._context = streams, context
        self._layers: list[tuple[Tensor, Tensor]] = []
        self._held = [0] * streams  # cells of each stream: only these are copied

    def trim(self, stream: int, keep: int) -> None:
        self._held[stream] = min(self._held[stream], keep)

    @torch.inference_mode()
    def copy(self, source: int, target: int) -> None:
        held = self._held[target] = self._held[source]
        for tensor in (tensor for layer in self._layers for tensor in layer):
            tensor[target, :, :held] = tensor[source, :, :held]

    def rows(self, streams: Sequence[int], positions: Tensor, held: Sequence[int]) -> KVRows:
        """What one forward pass writes and sees: `positions`, shape (streams, tokens), of these streams, which then
        hold so many cells. (Asked of the tensor, the numbers would have the GPU waited for.)"""
        for stream, count in zip(streams, held, strict=True):
            self._held[stream] = count
        return KVRows(self, streams, positions, max(held))

    def layer(self, index: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The whole of a layer, made when the first pass shows what its heads are like."""
        if index == len(self._layers):
            self._layers.append((self._empty(keys), self._empty(values)))
        return self._layers[index]

    def _empty(self, states: Tensor) -> Tensor:
        _, heads, _, dimension = states.shape
        return states.new_zeros((self._streams, heads, self._context, dimension))


class KVRows:
    """What a model is given as `past_key_values` for one forward pass."""

    def __init__(self, streams: KVStreams, which: Sequence[int], positions: Tensor, length: int) -> None:
        self._streams, self._positions, self.length = streams, positions, length
        self._index = torch.tensor(which, device=positions.device)
        first, last = which[0], which[-1]
        neighbours = list(which) == list(range(first, last + 1))
        self._seen: Any = slice(first, last + 1) if neighbours else self._index  # neighbours are seen without a copy

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object) -> tuple[Tensor, Tensor]:
        """Writes what the pass computed, shape (streams, KV heads, tokens, head dimension); gives all that it may see.
        Called by the model, a layer at a time."""
        seen = []
        for tensor, states in zip(self._streams.layer(layer, keys, values), (keys, values), strict=True):
            tensor[self._index[:, None], :, self._positions] = states.transpose(1, 2)
            seen.append(tensor[self._seen, :, : self.length])
        return seen[0], seen[1]


def attention_masks(config: Any, positions: Tensor, length: int, dtype: torch.dtype) -> Tensor | Mapping[str, Tensor]:
    """What each position may attend to, as numbers to add to the scores, shape (streams, 1, tokens, length): itself and
    what stands before it, in layers with a sliding window only the nearest. A mapping where layers differ."""
    columns, own = torch.arange(length, device=positions.device), positions[:, None, :, None]
    full = columns <= own
    window = getattr(config, "sliding_window", None)
    near = full & (columns > own - window) if window else full
    kinds = getattr(config, "layer_types", None)
    if not kinds:  # one mask for all layers
        return _additive(near, dtype)
    if "sliding_attention" not in kinds:
        return _additive(full, dtype)
    return {"full_attention": _additive(full, dtype), "sliding_attention": _additive(near, dtype)}


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill(~visible, torch.finfo(dtype).min)
