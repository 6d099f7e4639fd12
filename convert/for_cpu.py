"""Chooses the type that decodes fastest on this machine, by trying.

Which type is fastest depends on the processor, on how many sequences run side by side, and on the model's widths,
which may not fill the blocks of a type: there is no table to look it up in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from convert.quantize import quantize
from score_local.bench import apart, decode_rate
from score_local.engine.llama import LlamaBackend
from score_local.errors import MemoryLimit, ModelError

CANDIDATES = ("q4_0", "q4_k_m", "q8_0")
# On a machine busy with other work (a load of 7 on two cores) single runs of SmolLM2-135M differed by a factor of 1.6,
# and the order of the medians stayed.
STEPS = 24  # tokens decoded in each sequence
REPEATS = 3


class Measured(msgspec.Struct, frozen=True):
    """A type tried: tokens/s of each repeat at so many sequences, and the file's bytes. `trouble` says why there is
    none."""

    type: str
    rates: tuple[float, ...] = ()
    bytes: int = 0
    trouble: str = ""

    @property
    def tokens_per_second(self) -> float:
        """The median; 0 where nothing could be measured."""
        return median(self.rates) if self.rates else 0.0


def fastest_type(
    source: Path,
    candidates: Sequence[str] = CANDIDATES,
    *,
    sequences: int = 16,
    threads: int | None = None,
    requantise: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Measured]:
    """Quantises `source` to each candidate in a temporary folder (of TMPDIR) and decodes `sequences` side by side, in
    alternation; the fastest first. `requantise` allows a source that is quantised already. `progress` hears (steps
    done, in all).

    Candidates that do not fit the disk or the memory come last, with 0 tokens/s. Raises ModelError where none could be
    measured.
    """
    steps, total = count(1), len(candidates) * (1 + REPEATS)
    with tempfile.TemporaryDirectory(prefix="score-convert-") as name:
        folder, tried = Path(name), list[Measured]()
        for type in candidates:
            tried.append(_made(source, folder / type, threads=threads, requantise=requantise))
            progress(next(steps), total)
        for _ in range(REPEATS):
            for i, candidate in enumerate(tried):
                tried[i] = _measured_again(candidate, folder / candidate.type, sequences, threads)
                progress(next(steps), total)
    tried.sort(key=lambda candidate: -candidate.tokens_per_second)
    if not tried[0].rates:
        raise ModelError(f"no type could be measured: {tried[0].trouble}", str(source), "Choose one with --to")
    return tried


def _made(source: Path, target: Path, **how: Any) -> Measured:
    try:
        return Measured(target.name, bytes=quantize(source, target, target.name, **how).bytes)
    except ModelError as error:
        return Measured(target.name, trouble=str(error))


def _measured_again(candidate: Measured, file: Path, sequences: int, threads: int | None) -> Measured:
    if candidate.trouble:
        return candidate
    try:
        rate = apart(_rate, file, sequences, threads)
    except MemoryLimit as error:
        return msgspec.structs.replace(candidate, rates=(), trouble=str(error))
    return msgspec.structs.replace(candidate, rates=(*candidate.rates, rate))


def _rate(model: Path, sequences: int, threads: int | None) -> float:
    """Tokens/s of one run from an empty KV cache, whose cost is the same for all types."""
    backend = LlamaBackend(model, streams=sequences, context=2 * STEPS, threads=threads)
    try:
        return decode_rate(backend, sequences, STEPS)
    finally:
        backend.close()
