"""Small models run into loops, and a loop would fill the rest of its budget for nothing."""

from __future__ import annotations

from collections.abc import Sequence


def in_a_loop(tokens: Sequence[int], window: int) -> bool:
    """Whether the last `window` tokens are one cycle, repeated three times or more."""
    if window < 3 or len(tokens) < window:
        return False
    tail = list(tokens[-window:])
    return any(tail[period:] == tail[:-period] for period in range(1, window // 3 + 1))
