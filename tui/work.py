"""What is done for one message of the person: the loop's own steps, telling what is known after each.

Pure generators, as the loop is: no engine, no threads, no screen. What `loop.self_correct` does in one go is done here
in steps, for the person watches and may go on differently.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib import resources

import msgspec

from score_local import answers, prompts
from score_local.engine.protocol import Completion, Generate, Message
from score_local.engine.steps import Steps, generate
from score_local.errors import EngineError
from score_local.loop import decide, doubt, failed, opens, refine, solve, traced
from score_local.methods import METHODS
from score_local.policy import Policy
from score_local.problem import Problem
from score_local.prompts import Conversation
from score_local.trace import Attempt, Round, Trace
from score_local.verifiers.calibration import NOTHING_KNOWN, Trust
from score_local.verifiers.case import Case
from score_local.verifiers.program import hint_of
from tui.turns import refinement_of

Tell = Callable[[Trace], None]


def solving(problem: Problem, policy: Policy, trust: Trust, context: Conversation, tell: Tell) -> Steps[Trace]:
    """A problem by the policy's method, in its conversation. Of the EngineErrors it raises EngineDied alone, and only
    after the first attempt, which has been told."""
    try:
        case = yield from solve(problem, policy, trust, _asked(problem, context))
    except EngineError as error:
        return failed(problem, policy, error)
    tell(decide(traced(case), policy.verify.gate))
    if policy.method == "refine":
        return (yield from _corrected(case, tell))
    return decide((yield from METHODS[policy.method](case)), policy.verify.gate)


def refining(problem: Problem, trace: Trace, policy: Policy, context: Conversation, *, hint: str = "") -> Steps[Trace]:
    """Another refinement of what a trace came to, because the person wants one, with a hint where there is one.

    Where programs won a vote there is no solution but the first: its refiner is told what they compute. Nobody doubts
    what it writes: where it holds an answer, that answer stands; where it holds none or failed, the one before does.
    """
    assert trace.initial is not None
    *before, last = trace.rounds or (Round(None, ()),)
    rounds = [*before, last] if last.refinement else before
    attempt, asked = refinement_of(trace) or trace.initial, _asked(problem, context)
    conversation = (*asked, Message("assistant", attempt.text))
    case = Case(problem, attempt, asked, conversation, policy, NOTHING_KNOWN)
    repaired = yield from _repaired(
        case, Round(None, ()) if last.refinement else last, hint or _computed(trace, attempt)
    )
    refined, grown = repaired.refinement, msgspec.structs.replace(trace, rounds=(*rounds, repaired))
    if refined is None:
        return grown
    grown = msgspec.structs.replace(grown, usage=trace.usage + refined.usage)
    if refined.answer is None:
        return grown
    correct = None if trace.gold is None else answers.is_right(refined.answer, trace.gold, trace.kind) is True
    return msgspec.structs.replace(grown, answer=refined.answer, refined=True, status="solved", final_correct=correct)


def _computed(trace: Trace, attempt: Attempt) -> str:
    """The hint of the answer that programs won with, where it is not the attempt's; else ""."""
    answer = trace.answer
    if answer is None or (attempt.answer is not None and answers.agrees(answer, attempt.answer, trace.kind)):
        return ""
    programs = (c.answer for c in trace.candidates if c.source == "program" and c.answer is not None)
    return hint_of(answer) if any(answers.agrees(found, answer, trace.kind) for found in programs) else ""


def replying(question: str, policy: Policy, context: Conversation) -> Steps[Completion]:
    """An ordinary reply, without a verdict. Raises EngineError."""
    messages = (Message("system", _chat_prompt()), *context, Message("user", question))
    sampling = policy.solve.sampling(policy.seed)
    return (yield from generate(Generate(messages, sampling=sampling, thinking=policy.thinking)))


def with_seed(policy: Policy, seed: int) -> Policy:
    """The policy under which another solution comes out: sampled, for a greedy one knows no seed."""
    tokens = msgspec.structs.replace(policy.verify.sampling, max_tokens=policy.solve.max_tokens)
    return msgspec.structs.replace(policy, seed=seed, solve=tokens)


def with_vote(policy: Policy, samples: int) -> Policy:
    """The policy under which `samples` solutions beside the first are drawn and vote."""
    vote = msgspec.structs.replace(policy.vote, samples=samples)
    return msgspec.structs.replace(policy, method="majority", vote=vote)


def _corrected(case: Case, tell: Tell) -> Steps[Trace]:
    """`loop.self_correct` after the first attempt, told round by round."""
    initial, policy, rounds = case, case.policy, list[Round]()
    for _ in range(policy.refine.rounds):
        rounds.append(Round(*(yield from doubt(case))))
        tell(decide(traced(initial, rounds), policy.verify.gate))
        if not _wanted(case, rounds[-1]):
            break
        rounds[-1] = repaired = yield from _repaired(case, rounds[-1])
        tell(decide(traced(initial, rounds), policy.verify.gate))
        if repaired.refinement is None:
            break
        conversation = (*case.conversation, Message("assistant", repaired.refinement.text))
        case = dataclasses.replace(case, attempt=repaired.refinement, conversation=conversation)
    return decide(traced(initial, rounds), policy.verify.gate)


def _wanted(case: Case, verdict: Round) -> bool:
    when, gate = case.policy.refine.when, case.policy.verify.gate
    return when == "always" or (when == "gated" and opens(gate, verdict.p_incorrect, case.attempt.answer))


def _repaired(case: Case, verdict: Round, hint: str = "") -> Steps[Round]:
    try:
        critique, refined = yield from refine(case, hint)
    except EngineError as error:
        return msgspec.structs.replace(verdict, error=str(error))
    return msgspec.structs.replace(verdict, critique=critique, refinement=refined.attempt, error="")


def _asked(problem: Problem, context: Conversation) -> Conversation:
    """The worked examples, what was said before, and the problem."""
    *examples, asked = prompts.solve_messages(problem)
    return (*examples, *context, asked)


def _chat_prompt() -> str:
    return resources.files("tui").joinpath("prompts/chat.txt").read_text(encoding="utf-8").rstrip("\n")
