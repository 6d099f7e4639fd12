"""What goes over the wire to an OpenAI-compatible server and what comes back, as pure functions: no sockets here.

Chat completions as llama-server and vLLM serve them: their `top_k`, `min_p` and `chat_template_kwargs` are sent too.
"""

from __future__ import annotations

import email.utils
import math
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec

from score_local.engine.protocol import Completion, Finish, Generate, Message, Score, Scores, Usage
from score_local.engine.repetition import LoopWatch
from score_local.errors import EngineError

TOP_LOGPROBS = 20  # the most that vLLM and OpenAI give


class _PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None


class _Candidate(msgspec.Struct, frozen=True):
    """A token that the server thought of."""

    token: str
    logprob: float


class _Position(msgspec.Struct, frozen=True):
    top_logprobs: tuple[_Candidate, ...] = ()


class _Logprobs(msgspec.Struct, frozen=True):
    content: tuple[_Position, ...] | None = None


class _Delta(msgspec.Struct, frozen=True):
    """A piece of the reply. Servers that part the reasoning from it call it by one of two names."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Chunk(msgspec.Struct, frozen=True):
    """An event of a stream, or the whole of a reply that is not streamed."""

    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: Any = None


def generate_body(request: Generate, model: str) -> bytes:
    """The JSON of a streamed chat completion. A prefix is an assistant's turn that the server is to go on with, as vLLM
    and llama-server do; they send what they add to it."""
    sampling = request.sampling
    begun = (Message("assistant", request.prefix),) if request.prefix else ()
    body = _body((*request.messages, *begun), model, request.thinking) | {
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
    }
    if sampling.temperature > 0:
        body |= {"top_p": sampling.top_p, "min_p": sampling.min_p, "top_k": sampling.top_k}
    if begun:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    if sampling.stop:
        body["stop"] = sampling.stop
    return msgspec.json.encode(body)


def score_body(request: Score, model: str) -> bytes:
    """The JSON that asks for one token and what else the server might have said in its place."""
    body = _body(request.messages, model, thinking=False) | {
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": TOP_LOGPROBS,
    }
    return msgspec.json.encode(body)


def _body(messages: Sequence[Message], model: str, thinking: bool) -> dict[str, Any]:
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return {"model": model, "messages": turns, "chat_template_kwargs": {"enable_thinking": thinking}}


class ReplyStream:
    """Collects a streamed reply, line by line, after the `prefix` that it began with. `ended`: the server has said why
    it stopped, or we know why to."""

    def __init__(self, loop_window: int, prefix: str = "") -> None:
        self.text = prefix
        self._finish: Finish | None = None
        self._done = self._reasoning = False
        self._usage: _Usage | None = None
        self._pieces = 0
        self._loop, self._looping = LoopWatch(loop_window), False  # to see loops, a piece is as good as a token

    @property
    def ended(self) -> bool:
        return self._finish is not None

    @property
    def done(self) -> bool:
        """Nothing more is worth waiting for."""
        return self._done or self._finish == "loop"

    def feed(self, line: bytes) -> str:
        """Takes one line of the event stream; the text it brought. Raises EngineError."""
        data = line.removeprefix(b"data:").strip()
        if not data or line.startswith(b":"):
            return ""
        if data == b"[DONE]":
            self._done = True
            return ""
        if line.startswith((b"event:", b"id:", b"retry:")):
            return ""
        if line.startswith(b"error:"):
            raise EngineError(f"the server failed: {error_message(data.removeprefix(b'error:'))}")
        chunk = _decode(data)
        self._usage = chunk.usage or self._usage
        before = len(self.text)
        for choice in chunk.choices[:1]:
            self._hear(choice)
        return self.text[before:]

    def completion(self, seconds: float) -> Completion:
        return Completion(self.text, finish=self._finish or "stop", usage=_usage(self._usage, self._pieces, seconds))

    def _hear(self, choice: _Choice) -> None:
        delta = choice.delta or _Delta()
        thought = delta.reasoning_content or delta.reasoning or ""
        if thought:
            self._add(thought if self._reasoning else "<think>" + thought)
            self._reasoning = True
        if delta.content:
            self._add("</think>" + delta.content if self._reasoning else delta.content)
            self._reasoning = False
        if choice.finish_reason is not None:
            self._finish = "length" if choice.finish_reason == "length" else "stop"
        elif self._looping:
            self._finish = "loop"

    def _add(self, piece: str) -> None:
        self.text += piece
        self._pieces += 1
        self._looping = self._loop.hear(piece)


def scores_from(content: bytes, choices: Sequence[str], seconds: float) -> Scores:
    """The log-probability of each choice, from the candidates for the reply's first token.

    A choice that is no token of its own counts with the longest candidate that begins it and begins no other choice.
    One that is not among the candidates is less likely than each of them: it gets the least, an upper bound.
    Raises EngineError where the server gave no log-probabilities, or none that concern a choice.
    """
    reply = _decode(content)
    positions = reply.choices[0].logprobs.content if reply.choices and reply.choices[0].logprobs else None
    candidates = positions[0].top_logprobs if positions else ()
    if not candidates:
        raise EngineError("the server returns no log-probabilities, so nothing can be scored")
    found = [_logprob(choice, choices, candidates) for choice in choices]
    if all(logprob is None for logprob in found):
        raise EngineError(f"none of {', '.join(choices)} is among the {len(candidates)} tokens that the server lists")
    least = min(candidate.logprob for candidate in candidates)
    known = tuple(least if logprob is None else logprob for logprob in found)
    if not all(math.isfinite(logprob) for logprob in known):
        raise EngineError("the server returns log-probabilities that are not finite")
    return Scores(known, _usage(reply.usage, 0, seconds))


def _logprob(choice: str, choices: Sequence[str], candidates: Sequence[_Candidate]) -> float | None:
    others = [other for other in choices if other != choice]
    begins = [
        candidate
        for candidate in candidates
        if candidate.token
        and choice.startswith(candidate.token)
        and not any(other.startswith(candidate.token) for other in others)
    ]
    return max(begins, key=lambda candidate: len(candidate.token)).logprob if begins else None


def _usage(usage: _Usage | None, counted: int, seconds: float) -> Usage:
    """What the server says it cost; where it says nothing, `counted` tokens were heard."""
    if usage is None:
        return Usage(generated=counted, seconds=seconds)
    details = usage.prompt_tokens_details
    cached = details.cached_tokens if details and details.cached_tokens else 0
    return Usage(usage.prompt_tokens, cached, usage.completion_tokens, seconds)


def _decode(data: bytes) -> _Chunk:
    try:
        chunk = msgspec.json.decode(data, type=_Chunk)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EngineError(f"the server sent what is no chat completion: {_shown(data)}") from error
    if chunk.error is not None:
        raise EngineError(f"the server failed: {error_message(data)}")
    return chunk


def error_message(content: bytes) -> str:
    """What a server says went wrong, on one line: the message in its JSON, else the beginning of what it sent."""
    try:
        body = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _shown(content)
    for key in ("error", "message", "detail"):
        while isinstance(body, dict) and key in body:
            body = body[key]
    return " ".join(str(body).split())[:300]


def _shown(content: bytes) -> str:
    return repr(" ".join(content[:200].decode("utf-8", "replace").split())[:80])


def retry_after(header: str | None, now: datetime | None = None) -> float:
    """Seconds that a Retry-After header asks for, as a number or as a date; 0 where it says nothing that is clear."""
    if header is None:
        return 0.0
    if header.strip().isdecimal():
        return float(header)
    try:
        date = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - (now or datetime.now(timezone.utc))).total_seconds())
