"""From a completion to an attempt, and to the conversation that ends with it."""

from __future__ import annotations

from typing import NamedTuple

from score_local import answers, prompts
from score_local.engine.protocol import Completion
from score_local.problem import Problem
from score_local.prompts import Conversation
from score_local.trace import Attempt


class Solution(NamedTuple):
    """An attempt, and the conversation that ends with it."""

    attempt: Attempt
    conversation: Conversation


def solution_of(problem: Problem, asked: Conversation, completion: Completion) -> Solution:
    """What the model replied to `asked`."""
    return Solution(attempt_of(problem, completion), prompts.answered(asked, completion))


def attempt_of(problem: Problem, completion: Completion) -> Attempt:
    """The solution of a reply: its thought apart, its answer read."""
    thought, text = answers.split_thought(completion.text)
    return Attempt(
        text=text.strip(),
        answer=answers.extract(text, problem.kind, problem.choices),
        finish=completion.finish,
        thought=thought,
        mean_logprob=sum(completion.logprobs) / len(completion.logprobs) if completion.logprobs else None,
        usage=completion.usage,
    )
