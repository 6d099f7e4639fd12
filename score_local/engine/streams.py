"""The KV streams: what each holds, and where a new request had best begin.

Pure bookkeeping over a `Backend`'s `copy` and `trim`; the policy (who runs, when) is in `batched`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from score_local.engine.backend import Backend
from score_local.engine.jobs import Cell, Job

WORTH_IT = 16  # cells: to evaluate fewer is as cheap as to copy a stream, or to wait for another to read them


def common_prefix(left: Sequence[Cell], right: Sequence[Cell]) -> int:
    """How many cells two sequences share from their beginning (bisection over slices, which compare in C)."""
    limit = min(len(left), len(right))
    if left[:limit] == right[:limit]:
        return limit
    return bisect_left(range(1, limit + 1), True, key=lambda n: left[n - 1] != right[n - 1] or left[:n] != right[:n])


@dataclass
class Stream:
    """One KV sequence: the cells it holds, and the job that runs in it, if any."""

    index: int
    cells: list[Cell] = field(default_factory=list)
    job: Job | None = None
    last_used: int = 0

    @property
    def pending(self) -> list[Cell]:
        """The job's cells that are not in the cache yet."""
        return self.job.cells[len(self.cells) :] if self.job else []


class Streams:
    """All streams of a context."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.all = [Stream(i) for i in range(backend.streams)]
        self._clock = 0

    @property
    def live(self) -> list[Stream]:
        return [s for s in self.all if s.job]

    @property
    def reading(self) -> list[Stream]:
        """Those that have more of a prompt to read than its last token."""
        return [s for s in self.live if len(s.pending) > 1]

    @property
    def free(self) -> list[Stream]:
        return [s for s in self.all if not s.job]

    def found(self, job: Job) -> int:
        """How many of a job's cells the best stream holds."""
        usable = job.cells[:-1]
        return max(common_prefix(s.cells, usable) for s in self.all)

    def place(self, job: Job) -> bool:
        """Gives a job the free stream with which it has least to evaluate. False: none is free, or it should wait
        for a prompt that it shares with a job being read just now."""
        usable = job.cells[:-1]  # the last cell is always evaluated: its logits are wanted
        shared = {s.index: common_prefix(s.cells, usable) for s in self.all}
        source = max(self.all, key=lambda s: shared[s.index])
        if not self.free or self._promised(usable) >= shared[source.index] + WORTH_IT:
            return False
        target = self._target(source, shared)
        if shared[source.index] >= shared[target.index] + WORTH_IT:
            self._backend.copy(source.index, target.index)
            target.cells = list(source.cells)
        self.trim(target, min(common_prefix(target.cells, usable), len(usable)))
        job.reused = len(target.cells)
        target.job = job
        return True

    def compact(self) -> None:
        """Closes the gaps between live streams: llama.cpp evaluates neighbours in one pass over the weights, and
        takes another pass for whatever stands behind a gap (measured: eight of sixteen streams, every second one,
        take twice as long as eight neighbours; moving a stream takes milliseconds)."""
        for gap in self.all:
            last = max((s for s in self.live), key=lambda s: s.index, default=gap)
            if gap.job or last.index <= gap.index:
                continue
            self._backend.copy(last.index, gap.index)
            gap.cells, gap.job = list(last.cells), last.job
            self.release(last)

    def release(self, stream: Stream) -> None:
        """The job is over; what the stream holds stays, for whoever continues it."""
        self._clock += 1
        stream.job, stream.last_used = None, self._clock

    def trim(self, stream: Stream, keep: int) -> None:
        """Forgets a stream's cells from `keep` on (all of them, where the model can do no less)."""
        if keep < len(stream.cells):
            kept = keep if self._backend.trim(stream.index, keep) else 0
            del stream.cells[kept:]

    def repair(self, stream: Stream) -> None:
        """After a failed decode: makes the cache hold what `cells` says and no more."""
        if not self._backend.trim(stream.index, len(stream.cells)):
            stream.cells.clear()

    def _promised(self, usable: list[Cell]) -> int:
        """The longest prefix that a job still reading its prompt will have in its stream soon."""
        return max((common_prefix(s.job.cells, usable) for s in self.reading if s.job), default=0)

    def _target(self, source: Stream, shared: dict[int, int]) -> Stream:
        """The source itself if it is free and the job continues all of it; else the free stream longest unused."""
        if not source.job and shared[source.index] == len(source.cells):
            return source
        return min(self.free, key=lambda s: (s.last_used, -shared[s.index]))
