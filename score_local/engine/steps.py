"""How a generator asks an engine without knowing it: it yields requests and is sent their replies.

reply = yield from generate(Generate(...))      # raises EngineError where the request failed
replies = yield from ask_all((Generate(...), Score(...)))  # side by side; a failed one is an EngineError in its place
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

from score_local.engine.protocol import Completion, Generate, Reply, Request, Score, Scores
from score_local.errors import EngineError

T = TypeVar("T")
Steps = Generator[tuple[Request, ...], tuple[Reply, ...], T]


def immediately(value: T) -> Steps[T]:
    """The steps of what needs no engine: none."""
    yield from ()
    return value


def ask_all(requests: Sequence[Request]) -> Steps[tuple[Reply, ...]]:
    """Replies in the order of the requests, which run side by side."""
    return (yield tuple(requests))


def generate(request: Generate) -> Steps[Completion]:
    """The completion of one request. Raises EngineError."""
    (reply,) = yield (request,)
    if isinstance(reply, EngineError):
        raise reply
    if not isinstance(reply, Completion):
        raise TypeError(f"the engine answered Generate with {type(reply).__name__}")
    return reply


def score(request: Score) -> Steps[Scores]:
    """The choices' log-probabilities. Raises EngineError."""
    (reply,) = yield (request,)
    if isinstance(reply, EngineError):
        raise reply
    if not isinstance(reply, Scores):
        raise TypeError(f"the engine answered Score with {type(reply).__name__}")
    return reply
