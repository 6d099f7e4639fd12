"""What a verifier is: a generator that looks at a case and returns a signal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from score_local.engine.steps import Steps
from score_local.policy import Policy
from score_local.problem import Problem
from score_local.prompts import Conversation
from score_local.trace import Attempt, Signal


@dataclass(frozen=True, slots=True)
class Case:
    """A solution to judge. `asked` is the conversation up to the problem, `conversation` goes on to the solution."""

    problem: Problem
    attempt: Attempt
    asked: Conversation
    conversation: Conversation
    policy: Policy


Verifier = Callable[[Case], Steps[Signal]]
