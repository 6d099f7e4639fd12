"""How many tokens each stream evaluates in a step of the engine.

llama.cpp evaluates a batch in passes over the weights: the next token of every stream is one pass; what remains of
streams that have equally many more tokens is another; and so on. A pass has a price of its own (80 ms, where a row of
a prompt costs 4 and one that decodes 8: two cores, a 0.5B model), so the pieces of prompts of a step have one length.
Nobody waits: a stream without a row is a gap, and a gap is another pass.
"""

from __future__ import annotations

from collections.abc import Sequence


def shares(runs: Sequence[int], budget: int) -> list[int]:
    """For each stream that could evaluate `runs[i]` tokens next (at least 1), how many it does: one, or a piece of its
    prompt. The pieces have the length with which most of the `budget` is used."""
    reading = [run for run in runs if run > 1]
    length = max(set(reading), key=lambda size: (_used(size, reading, budget), size), default=1)
    length = min(length, max(1, budget))
    places, taken = max(1, budget // length), list[int]()
    for run in runs:
        chosen = run > 1 and run >= length and places > 0
        places -= chosen
        taken.append(length if chosen else 1)
    return taken


def _used(size: int, reading: Sequence[int], budget: int) -> int:
    size = min(size, budget)
    return size * min(max(1, budget // size), sum(run >= size for run in reading))
