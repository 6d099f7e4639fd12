"""What a verifier is: a generator that looks at a case and returns a signal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from score_local.attempts import Solution
from score_local.engine.steps import Steps
from score_local.policy import Policy
from score_local.problem import Problem
from score_local.prompts import Conversation
from score_local.sandbox.protocol import Ran
from score_local.trace import Attempt, Signal
from score_local.verifiers.calibration import NOTHING_KNOWN, Trust


@dataclass(eq=False, slots=True)
class Shared:
    """What was generated for a problem whatever the attempt, in the order of its seeds: drawn once, however many ask.

    A sample that failed is None, so that the next one keeps its seed.
    """

    samples: list[Solution | None] = field(default_factory=list)
    programs: list[Ran] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Case:
    """A solution to judge. `asked` is the conversation up to the problem, `conversation` goes on to the solution.

    `first` is the first attempt where one of the samples is judged in its place, else None.
    """

    problem: Problem
    attempt: Attempt
    asked: Conversation
    conversation: Conversation
    policy: Policy
    trust: Trust = NOTHING_KNOWN
    shared: Shared = field(default_factory=Shared)
    first: Attempt | None = None


Verifier = Callable[[Case], Steps[Signal]]
