"""The seam between the algorithm and whatever computes: messages, two requests, their replies.

Knows nothing of llama.cpp, of threads or of SCORE. Every engine implements `Engine`, the fake for tests too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, Union

from score_local.errors import EngineError

Role = Literal["system", "user", "assistant"]
Phase = Literal["solve", "verify", "sample", "refine"]
Finish = Literal["stop", "length", "loop"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    `tokens` are the ids that the assistant's text was generated with, without the end-of-turn token: its text,
    tokenised again, may split differently and would miss the KV cache.
    """

    role: Role
    content: str
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen. `temperature` 0 is greedy; otherwise top-k cuts first (it is cheap), then top-p, min-p.

    A reply ends ("loop") where its last `loop_window` tokens or more are one cycle, three times at least, the numbers
    of its lines aside; 0: it goes on.
    """

    temperature: float = 0.0
    top_k: int = 100
    top_p: float = 0.95
    min_p: float = 0.0
    max_tokens: int = 512
    seed: int = 0
    stop: tuple[str, ...] = ()
    loop_window: int = 96


@dataclass(frozen=True, slots=True)
class Generate:
    """Continue `messages` with an assistant turn; answered by a `Completion`.

    `prefix` is text that the reply begins with (it is part of the reply); `thinking` asks templates that know the
    switch for a reasoning block.
    """

    messages: tuple[Message, ...]
    phase: Phase = "solve"
    adapter: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    prefix: str = ""
    thinking: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """Log-probability of each of `choices` as the beginning of the next assistant turn; answered by `Scores`."""

    messages: tuple[Message, ...]
    choices: tuple[str, ...]
    phase: Phase = "verify"
    adapter: str | None = None


Request = Union[Generate, Score]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request cost: prompt tokens, of which `reused` came from the KV cache, generated tokens, seconds.

    `seconds` runs from admission (a sequence is free) to the end, shared with whatever else was in the batch.
    """

    prompt: int = 0
    reused: int = 0
    generated: int = 0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.reused + other.reused,
            self.generated + other.generated,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """Reply to `Generate`: the text (prefix included), its token ids and their natural-log probabilities."""

    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish: Finish = "stop"
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Scores:
    """Reply to `Score`: natural-log probability of each choice, in the order asked."""

    logprobs: tuple[float, ...]
    usage: Usage = Usage()


Reply = Union[Completion, Scores, EngineError]


class Listener(Protocol):
    """Hears of one request, from the engine's thread: pieces of text as they come, then the reply, once.

    Must return at once: the engine decodes for everybody.
    """

    def token(self, text: str) -> None: ...

    def done(self, reply: Reply) -> None: ...


class Engine(Protocol):
    """Serves many requests at once.

    `submit` returns at once, may be called from any thread, and gives a function that cancels the request: the
    listener then hears `Cancelled`, unless the reply was already on its way.
    """

    @property
    def capacity(self) -> int:
        """How many requests run side by side; more are queued."""

    def submit(self, request: Request, listener: Listener) -> Callable[[], None]: ...

    def close(self) -> None: ...
