"""The judge's verdict, from whatever comes back."""

from __future__ import annotations

import math

import pytest

from score_local.engine.judge import ToJudge
from score_local.engine.protocol import Completion, Reply, Score, Scores, Usage
from score_local.errors import EngineError
from score_local.policy import Policy
from score_local.problem import Problem
from score_local.prompts import VERDICTS, answered, solve_messages
from score_local.trace import Attempt, Signal
from score_local.verifiers.case import Case
from score_local.verifiers.model import model_verifier

PROBLEM = Problem("p", "What is {solution} in a box of 12?", choices=("12", "{question}"), kind="choice")


def judged(reply: Reply) -> tuple[Signal, ToJudge]:
    asked = solve_messages(PROBLEM)
    conversation = answered(asked, Completion("Step 1: it is 12\n\\boxed{A}", (1, 2, 3)))
    verifier = model_verifier(Case(PROBLEM, Attempt("Step 1: it is 12", "A"), asked, conversation, Policy()))
    (request,) = next(verifier)
    assert isinstance(request, ToJudge)
    try:
        verifier.send((reply,))
    except StopIteration as end:
        assert isinstance(end.value, Signal)
        return end.value, request
    raise AssertionError("it asked again")


# (reply, P(incorrect), a word of the reason, what it shows)
VERDICTS_OF = [
    (Scores((math.log(0.6), math.log(0.2))), 0.25, "", "renormalised over the two words"),
    (Scores((math.log(0.01), math.log(0.9))), 0.989, "", "a doubt"),
    (Scores((-math.inf, math.log(0.9))), 1.0, "", "a word that the judge rules out"),
    (Scores((math.log(0.02), math.log(0.01))), None, "neither", "it was about to say something else"),
    (Scores((-math.inf, -math.inf)), None, "neither", "nothing at all"),
    (Scores((math.nan, -1.0)), None, "rubbish", "no number"),
    (Scores((-1.0,)), None, "rubbish", "one probability of two"),
    (Scores(()), None, "rubbish", "no probability"),
    (Completion("Yes"), None, "failed", "an answer to another question"),
    (EngineError("no answer within 120 seconds"), None, "no answer within", "a slow judge"),
]


@pytest.mark.parametrize(("reply", "p", "told", "reason"), VERDICTS_OF)
def test_verdicts(reply: Reply, p: float | None, told: str, reason: str) -> None:
    signal, _ = judged(reply)
    assert signal.verifier == "model" and told in signal.reason, reason
    assert signal.p_incorrect == (None if p is None else pytest.approx(p, abs=1e-3)), reason


def test_the_judge_sees_problem_and_solution_and_nothing_of_the_first_model() -> None:
    signal, request = judged(Scores((-0.1, -3.0), Usage(prompt=80)))
    assert isinstance(request.request, Score) and request.request.choices == VERDICTS
    (turn,) = request.request.messages
    assert turn.role == "user" and turn.tokens == (), "the tokens of another model mean nothing to this one"
    assert "What is {solution} in a box of 12?\nA. 12\nB. {question}" in turn.content
    assert "Step 1: it is 12" in turn.content
    assert signal.usage.prompt == 80
