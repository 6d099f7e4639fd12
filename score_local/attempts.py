"""From a completion to an attempt, and to the conversation that ends with it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from score_local import answers, prompts
from score_local.engine.protocol import Completion
from score_local.problem import Problem
from score_local.prompts import Conversation
from score_local.trace import Attempt

_CRITIQUE = ("Critique:", "**Critique")  # how a reply begins that holds one, as the prompt asks for it


class Solution(NamedTuple):
    """An attempt, and the conversation that ends with it."""

    attempt: Attempt
    conversation: Conversation


def solution_of(problem: Problem, asked: Conversation, completion: Completion) -> Solution:
    """What the model replied to `asked`."""
    return Solution(attempt_of(problem, completion), prompts.answered(asked, completion))


def refinement_of(problem: Problem, asked: Conversation, completion: Completion) -> tuple[str, Solution]:
    """The critique of a refiner's reply, and the solution that follows it: the answer is read from that part alone,
    because a critique quotes answers that it rejects.

    A reply that was cut off before the corrected solution began holds no answer.
    """
    solution = solution_of(problem, asked, completion)
    reply = solution.attempt.text
    critique, text = prompts.split_refinement(reply)
    unfinished = completion.finish != "stop" and not prompts.holds_correction(reply) and reply.startswith(_CRITIQUE)
    answer = None if unfinished else answers.extract(text, problem.kind, problem.choices)
    return critique, solution._replace(attempt=msgspec.structs.replace(solution.attempt, text=text, answer=answer))


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
