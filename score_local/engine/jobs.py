"""What becomes of a request inside the engine: a sequence of cells that grows, and the reply that comes of it.

A *cell* is a token together with the weights it is computed under (the base model or an adapter): the KV cache of a
cell can be reused only where both are the same.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from score_local.engine.backend import Backend
from score_local.engine.protocol import Completion, Finish, Generate, Listener, Reply, Score, Scores, Usage
from score_local.engine.repetition import LoopWatch
from score_local.engine.sampler import Logits, Sampler, log_normalizer
from score_local.engine.text import TextStream
from score_local.errors import EngineError

NO_PROBABILITIES = "the model computed no finite log-probabilities"  # no JSON holds them, and nothing follows from them


class Cell(NamedTuple):
    token: int
    weights: str | None


@cache  # as many as there are tokens, and adapters
def cell(token: int, weights: str | None) -> Cell:
    """One object for each cell there is: sequences of them are compared by identity, five times faster."""
    return Cell(token, weights)


def prompt_cells(tokens: Sequence[int], adapter: str | None, invocation: tuple[int, ...]) -> list[Cell]:
    """The cells of a prompt. An activated LoRA (aLoRA, arXiv 2504.12397) takes effect from its last invocation on:
    what stands before was, and stays, computed by the base model."""
    start = 0
    if invocation:
        last = len(tokens) - len(invocation)
        start = next(
            (i for i in range(last, -1, -1) if tuple(tokens[i : i + len(invocation)]) == invocation), len(tokens)
        )
    return [cell(t, None if i < start else adapter) for i, t in enumerate(tokens)]


class Job(ABC):
    """A request on its way. `cells` is all that its stream must hold; logits are wanted of the last cell only."""

    def __init__(self, cells: list[Cell], adapter: str | None, listener: Listener) -> None:
        self.cells, self.adapter, self.listener = cells, adapter, listener
        self.prompt_length = len(cells)
        self.reused = 0
        self.reply: Reply | None = None
        self.began = time.perf_counter()

    def hear(self, logits: Logits) -> None:
        """Takes the logits of the last cell; grows (or rewinds) `cells`, or sets `reply`."""
        if math.isfinite(logits.max()):  # it is NaN where any logit is
            self._go_on(logits)
        else:
            self.reply = EngineError(NO_PROBABILITIES)

    @abstractmethod
    def _go_on(self, logits: Logits) -> None:
        """The same for logits that make probabilities."""

    def usage(self, generated: int = 0) -> Usage:
        return Usage(self.prompt_length, self.reused, generated, time.perf_counter() - self.began)


class GenerateJob(Job):
    """Samples a token at a time until the turn ends, a stop string comes, it runs in a loop, or no room is left."""

    def __init__(
        self, request: Generate, cells: list[Cell], prefix: list[int], backend: Backend, listener: Listener
    ) -> None:
        super().__init__(cells, request.adapter, listener)
        self._backend, self._sampler = backend, Sampler(request.sampling)
        self._room = min(request.sampling.max_tokens, backend.context - len(cells))
        self._stream = TextStream(request.sampling.stop)
        self._loop = LoopWatch(request.sampling.loop_window)
        self._prefix, self._tokens, self._logprobs = prefix, list[int](), list[float]()
        self._prefix_text = request.prefix

    def _go_on(self, logits: Logits) -> None:
        token, logprob = self._sampler.choose(logits)
        if self._backend.ends_turn(token):
            return self._finish("stop")
        self._tokens.append(token)
        self._logprobs.append(logprob)
        piece = self._backend.piece(token)
        self._tell(self._stream.feed(piece))
        looping = self._loop.hear(piece.decode("latin-1"))  # half a character, too, is a piece of its own
        if self._stream.stopped:
            return self._finish("stop")
        if len(self._tokens) >= self._room:
            return self._finish("length")
        if looping:
            return self._finish("loop")
        self.cells.append(cell(token, self.adapter))

    def _tell(self, text: str) -> None:
        if text:
            self.listener.token(text)

    def _finish(self, finish: Finish) -> None:
        self._tell(self._stream.finish())
        self.reply = Completion(
            self._prefix_text + self._stream.text,
            self._kept_tokens(),
            tuple(self._logprobs),
            finish,
            self.usage(len(self._tokens)),
        )

    def _kept_tokens(self) -> tuple[int, ...]:
        """The ids whose bytes make the text; () where a stop string cut a token in two (the text is then tokenised)."""
        if not self._stream.stopped:
            return tuple(self._prefix + self._tokens)
        size = len(self._stream.text.encode())
        for count, token in enumerate(self._tokens):
            if size == 0:
                return tuple(self._prefix + self._tokens[:count])
            size -= len(self._backend.piece(token))
        return ()


class ScoreJob(Job):
    """Sums the log-probabilities of each choice's tokens, a token a step; single-token choices take one step in all."""

    def __init__(self, request: Score, cells: list[Cell], choices: list[list[int]], listener: Listener) -> None:
        super().__init__(cells, request.adapter, listener)
        self._choices = choices
        self._logprobs = [0.0] * len(choices)
        self._open = [i for i, tokens in enumerate(choices) if len(tokens) > 1]
        self._at: tuple[int, int] | None = None  # (choice, how many of its tokens stand in the cells)

    def _go_on(self, logits: Logits) -> None:
        normalizer = log_normalizer(logits)
        if self._at is None:
            for i, tokens in enumerate(self._choices):
                self._logprobs[i] = float(logits[tokens[0]]) - normalizer
        else:
            choice, depth = self._at
            self._logprobs[choice] += float(logits[self._choices[choice][depth]]) - normalizer
        self._advance()

    def _advance(self) -> None:
        if self._at is not None and self._at[1] + 1 < len(self._choices[self._at[0]]):
            choice, depth = self._at
            self.cells.append(cell(self._choices[choice][depth], self.adapter))
            self._at = (choice, depth + 1)
        elif self._open:
            choice = self._open.pop()
            self.cells = [*self.cells[: self.prompt_length], cell(self._choices[choice][0], self.adapter)]
            self._at = (choice, 1)
        elif all(map(math.isfinite, self._logprobs)):
            self.reply = Scores(tuple(self._logprobs), self.usage())
        else:
            self.reply = EngineError(NO_PROBABILITIES)
