"""What the history keeps: conversations, and the turns they are made of. Typed, frozen, JSON-able.

Knows nothing of the database that holds them, nor of the screen that shows them.
"""

from __future__ import annotations

from typing import Literal
from uuid import uuid4

import msgspec

from score_local.trace import Trace

TurnKind = Literal["problem", "chat"]
TurnState = Literal["running", "done", "failed", "cancelled"]


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A thread of turns. `created` and `updated` are seconds since the epoch.

    A branch names its `parent` and the turn of the parent that it was `branched_at`; it has copies of the turns up to
    that one, so that neither changes with the other.
    """

    id: str
    title: str = ""
    created: float
    updated: float
    parent: str | None = None
    branched_at: str | None = None


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """A phase that ended: what it is called (solve, verify, sample, refine, chat), what it wrote, what it cost.

    One that was `cut_off` was cancelled, failed or killed half-way; it is the last of its turn, or was tried again.
    """

    name: str
    text: str = ""
    seconds: float = 0.0
    generated: int = 0
    prompt: int = 0
    reused: int = 0
    cut_off: bool = False


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the person and what came of it.

    `phases` are kept as they end, and what the running one has written every few seconds; a `problem` has its `trace`
    once all have ended, a `chat` its `reply`. `answer` is the one that the person or the policy chose. `hint` is what
    the person told the refiner. A turn that is `running` in a conversation just opened was cut off with its app, or
    another app runs it still.
    """

    id: str
    conversation: str
    kind: TurnKind = "problem"
    question: str
    hint: str = ""
    phases: tuple[Phase, ...] = ()
    trace: Trace | None = None
    reply: str = ""
    state: TurnState = "running"
    answer: str | None = None
    error: str = ""
    created: float = 0.0


def new_id() -> str:
    """An id that no other conversation or turn has, in this app or another."""
    return uuid4().hex
