"""How far a conversion may be from its reference before it fails: KL divergence in nats a token, by type of weights.

Measured on SmolLM2-135M and Qwen2.5-Coder-0.5B against the merge in float32, on the texts of `convert.texts`: F16
0.000004 and 0.000001 (the base in F16 with the LoRA at run time: the same), BF16 0.0003 and 0.00007 (0.0016 on another
model), Q8_0 0.005 and 0.0008, Q6_K 0.012, Q5_K_M 0.054, Q4_K_M 0.07 and 0.012, Q4_0 0.36 and 0.06, Q3_K_M 0.2, Q2_K
0.5. A KV cache in F16 adds 0.000001, flash attention as much. The bounds leave room for models that rounding hurts
more; a mistake in a conversion (rows in another order, a wrong scale or offset) costs 0.1 to 10.
"""

from __future__ import annotations

import re

KL = {"F32": 1e-3, "F16": 1e-3, "BF16": 1e-2}
KL_BY_BITS = {8: 0.02, 6: 0.05, 5: 0.15, 4: 0.5, 3: 1.5, 2: 4.0, 1: 8.0}
# What two files of the same weights may differ by, where one of them has this type: an adapter that moves the logits
# by less cannot be told from none. Twice what was measured at least.
NOISE, NOISE_QUANTISED = {"F32": 1e-5, "F16": 1e-5, "BF16": 1e-3}, 1e-2
# An adapter has survived where at least half of its effect is left, and is too strong at one and a half.
KEPT, KEPT_MOST = 0.5, 1.5


def kl_bound(quantisation: str) -> float | None:
    """The bound for a file type such as Q4_K_M; None for one that is not known."""
    if quantisation in KL:
        return KL[quantisation]
    bits = re.search(r"\d", quantisation)
    return KL_BY_BITS.get(int(bits[0])) if bits else None


def noise(quantisation: str) -> float:
    """The KL divergence that says nothing yet, for a file type."""
    return NOISE.get(quantisation, NOISE_QUANTISED)


def is_quantised(quantisation: str) -> bool:
    return quantisation not in KL
