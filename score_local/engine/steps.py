"""How a generator asks an engine without knowing it: it yields requests and is sent their replies.

reply = yield from generate(Generate(...))      # raises EngineError where the request failed
replies = yield from ask_all((Generate(...), Score(...)))  # side by side; a failed one is an EngineError in its place
replies = yield from generate_all((Generate(...), ...))    # the same, but a dead engine is raised: EngineDied

Beside what an engine answers, a generator may ask a judge (another engine) and have programs run in the sandbox.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar, Union

from score_local.engine.judge import ToJudge
from score_local.engine.protocol import Completion, Generate, Reply, Request, Score, Scores
from score_local.errors import EngineDied, EngineError
from score_local.sandbox.protocol import Ran, RunProgram

Ask = Union[Request, ToJudge, RunProgram]
Answer = Union[Reply, Ran]
T = TypeVar("T")
Steps = Generator[tuple[Ask, ...], tuple[Answer, ...], T]


def immediately(value: T) -> Steps[T]:
    """The steps of what needs no engine: none."""
    yield from ()
    return value


def ask_all(requests: Sequence[Ask]) -> Steps[tuple[Answer, ...]]:
    """Replies in the order of the requests, which run side by side."""
    return (yield tuple(requests)) if requests else ()


def generate(request: Generate) -> Steps[Completion]:
    """The completion of one request. Raises EngineError."""
    (reply,) = yield (request,)
    if isinstance(reply, EngineError):
        raise reply
    if not isinstance(reply, Completion):
        raise TypeError(f"the engine answered Generate with {type(reply).__name__}")
    return reply


def generate_all(requests: Sequence[Generate]) -> Steps[tuple[Answer, ...]]:
    """The same of one engine; a failed one is an EngineError in its place. Raises EngineDied: nothing can follow."""
    replies = yield from ask_all(requests)
    died = next((reply for reply in replies if isinstance(reply, EngineDied)), None)
    if died:
        raise died
    return replies


def score(request: Score) -> Steps[Scores]:
    """The choices' log-probabilities. Raises EngineError."""
    (reply,) = yield (request,)
    if isinstance(reply, EngineError):
        raise reply
    if not isinstance(reply, Scores):
        raise TypeError(f"the engine answered Score with {type(reply).__name__}")
    return reply
