"""Attention of few new tokens over many cached ones, on a CPU, as plain matrix products.

torch's fused attention is made for long sequences: with 36 new tokens over 580 cached ones it took 30% of a training
step (0.5B model, one core). Here the heads that share keys are one matrix, so the keys are not repeated for each. All
scores exist at once: for an activated LoRA's few tokens that is little.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

GROUPED = "score_local_grouped"


def grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Softmax attention; `query` is (B, heads, S, D), `key` and `value` (B, KV heads, T, D), `attention_mask` is added
    to the scores. Gives (B, S, heads, D). `module` and other options are what transformers passes to all its kinds."""
    rows, heads, new, dimension = query.shape
    shared = (rows, key.shape[1], heads // key.shape[1] * new)
    scores = (query.reshape(*shared, dimension) @ key.transpose(2, 3)).view(rows, heads, new, -1).float() * scaling
    if softcap:
        scores = torch.tanh(scores / softcap) * softcap
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores, dim=-1).to(query.dtype)
    mixed = weights.view(*shared, -1) @ value
    return mixed.view(rows, heads, new, dimension).transpose(1, 2).contiguous(), None


AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, eager_mask)
