"""What comes out: the trace of one problem, typed, versioned, and JSON-able.

A trace stores what the model said and what the verifiers believed; the *decision* (which answer is final) is a pure
function of the trace and a gate, so that it can be taken again with another threshold and without the model.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from score_local.engine.protocol import Usage
from score_local.problem import AnswerKind

TRACE_VERSION = 1
Status = Literal["solved", "unknown", "failed"]
Method = Literal["refine", "majority", "weighted-vote", "best-of-n", "refine-then-vote", "budget"]


class Attempt(msgspec.Struct, frozen=True):
    """One solution: its text, the answer read from it (None: unknown), and what it cost."""

    text: str
    answer: str | None
    finish: str = "stop"
    thought: str = ""
    mean_logprob: float | None = None
    usage: Usage = Usage()


class Signal(msgspec.Struct, frozen=True):
    """What one verifier believes of one attempt.

    `p_incorrect` is None where the verifier cannot tell; `reason` then says why. `wrong_step` counts from 1.
    """

    verifier: str
    p_incorrect: float | None
    reason: str = ""
    wrong_step: int | None = None
    details: dict[str, float | int | str] = {}
    usage: Usage = Usage()


class Round(msgspec.Struct, frozen=True):
    """A verdict on the current attempt and, where one was made, the refinement of it."""

    p_incorrect: float | None
    signals: tuple[Signal, ...]
    critique: str = ""
    refinement: Attempt | None = None
    error: str = ""


Source = Literal["initial", "sample", "refinement", "program"]


class Candidate(msgspec.Struct, frozen=True):
    """An answer that was voted on, with the `weight` of its vote. `text`: its solution, if not kept elsewhere."""

    source: Source
    answer: str | None
    weight: float
    text: str = ""
    usage: Usage = Usage()


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that happened to one problem.

    `answer` is the final answer under the policy of the run, `triggered` whether the gate opened, `refined` whether the
    answer is another attempt's than the first (after a vote: another answer). `candidates` are what was voted on.
    `status`: solved (there is an answer), unknown (none could be read), failed (`error` says why).
    `seconds` is how long the problem took beside others; `wall` is the time since the run's last trace, so that the sum
    over a run is how long the run took, however often it was interrupted.
    """

    version: int = TRACE_VERSION
    id: str
    question: str
    kind: AnswerKind = "number"
    choices: tuple[str, ...] = ()
    gold: str | None = None
    method: Method = "refine"
    initial: Attempt | None = None
    rounds: tuple[Round, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    answer: str | None = None
    initial_answer: str | None = None
    triggered: bool = False
    refined: bool = False
    p_incorrect: float | None = None
    status: Status = "unknown"
    initial_correct: bool | None = None
    final_correct: bool | None = None
    error: str = ""
    usage: Usage = Usage()
    seconds: float = 0.0
    wall: float = 0.0
