"""*model*: another model as the judge: a second GGUF, best of another family, or an OpenAI-compatible server.

It is asked as a stranger, about the problem and the solution's text alone, in a conversation of one turn. A judge that
fails, is slow or says neither Yes nor No is unknown; no judge is asked unless one is configured.
"""

from __future__ import annotations

import math
import re
from functools import cache
from importlib import resources

from score_local.engine.judge import ToJudge
from score_local.engine.protocol import Message, Score, Scores
from score_local.engine.steps import Steps, ask_all
from score_local.problem import CHOICE_LETTERS, Problem
from score_local.prompts import VERDICTS, Conversation
from score_local.trace import Signal
from score_local.verifiers.case import Case

LEAST_MASS = 0.05  # of P(Yes) + P(No): below, the judge was about to say something else


def model_verifier(case: Case) -> Steps[Signal]:
    """P(incorrect) from the judge's log-probabilities of the two verdict words, renormalised over the two."""
    (reply,) = yield from ask_all([ToJudge(Score(judge_messages(case.problem, case.attempt.text), VERDICTS))])
    if not isinstance(reply, Scores):
        return Signal("model", None, f"the judge failed: {reply}")
    return _signal(reply)


def judge_messages(problem: Problem, solution: str) -> Conversation:
    """The one turn that the judge is asked."""
    choices = "".join(f"\n{letter}. {text}" for letter, text in zip(CHOICE_LETTERS, problem.choices, strict=False))
    fields = {"{question}": problem.question.strip() + choices, "{solution}": solution.strip()}
    # In one pass: a question that holds "{solution}" keeps it.
    return (Message("user", re.sub(r"\{question\}|\{solution\}", lambda field: fields[field[0]], _text())),)


def _signal(scores: Scores) -> Signal:
    if len(scores.logprobs) != len(VERDICTS) or any(math.isnan(logprob) for logprob in scores.logprobs):
        return Signal("model", None, "the judge answers rubbish: no probabilities of Yes and No", usage=scores.usage)
    correct, incorrect = (math.exp(min(logprob, 0.0)) for logprob in scores.logprobs)
    mass = correct + incorrect
    details: dict[str, float | int | str] = {"mass": mass}
    if mass < LEAST_MASS:
        return Signal("model", None, "the judge says neither Yes nor No", details=details, usage=scores.usage)
    return Signal("model", incorrect / mass, details=details, usage=scores.usage)


@cache
def _text() -> str:
    file = resources.files("score_local.verifiers").joinpath("model_prompt").joinpath("judge.txt")
    return file.read_text(encoding="utf-8").rstrip("\n")
