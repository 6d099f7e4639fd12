"""SCORE inference (arXiv 2404.17140, section 3) as a plain generator: it yields requests and is sent replies.

    solution  ->  verdict  ->  if P(incorrect) >= threshold: a refinement replaces it

No I/O, no engine, no threads: a list drives it in a test, `schedule` drives dozens at once. What it returns is a
`Trace`; which answer is final is decided by `decide`, a pure function that can be called again with another gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from score_local import answers, prompts
from score_local.engine.protocol import Completion, Generate
from score_local.engine.steps import Steps, generate
from score_local.errors import EngineError
from score_local.policy import Policy, VerifierName
from score_local.problem import Problem
from score_local.prompts import Conversation
from score_local.trace import Attempt, Round, Signal, Trace
from score_local.verifiers.arithmetic import arithmetic_verifier
from score_local.verifiers.case import Case, Verifier
from score_local.verifiers.combine import combined
from score_local.verifiers.consistency import consistency_verifier
from score_local.verifiers.oracle import oracle_verifier
from score_local.verifiers.self_ import self_verifier

VERIFIERS: Mapping[VerifierName, Verifier] = {
    "self": self_verifier,
    "consistency": consistency_verifier,
    "arithmetic": arithmetic_verifier,
    "oracle": oracle_verifier,
}


class Solution(NamedTuple):
    """An attempt, and the conversation that ends with it."""

    attempt: Attempt
    conversation: Conversation


def self_correct(problem: Problem, policy: Policy) -> Steps[Trace]:
    """Solves, doubts and, where the policy says so, repairs one problem.

    Never raises EngineError: where the solution fails the trace says so, a verifier that fails is unknown, and a
    refinement that fails replaces nothing.
    """
    asked = prompts.solve_messages(problem)
    trace = Trace(id=problem.id, question=problem.question, kind=problem.kind, gold=problem.answer)
    try:
        solution = yield from _solve(problem, asked, policy)
    except EngineError as error:
        return msgspec.structs.replace(trace, status="failed", error=str(error))
    initial, rounds = solution.attempt, list[Round]()
    for _ in range(policy.refine.rounds):
        round_, refined = yield from _round(problem, asked, solution, policy)
        rounds.append(round_)
        if refined is None:
            break
        solution = refined
    usage = sum((r.refinement.usage for r in rounds if r.refinement), initial.usage)
    usage = sum((signal.usage for r in rounds for signal in r.signals), usage)
    trace = msgspec.structs.replace(trace, initial=initial, rounds=tuple(rounds), usage=usage)
    return decide(trace, policy.verify.threshold)


def opens(threshold: float, p_incorrect: float | None, answer: str | None) -> bool:
    """Whether a refinement may replace an attempt: SCORE's rule, one rule, p >= threshold.

    An attempt without an answer cannot be right, so there is nothing to lose. An unknown verdict opens nothing.
    """
    return answer is None or (p_incorrect is not None and p_incorrect >= threshold)


def decide(trace: Trace, threshold: float) -> Trace:
    """The trace with its final answer under `threshold`, from what is stored; no model call.

    A refinement replaces an attempt where the gate opens and the refinement holds an answer.
    """
    if trace.initial is None:
        return trace
    answer, refined, triggered = trace.initial.answer, False, False
    for round_ in trace.rounds:
        if not opens(threshold, round_.p_incorrect, answer):
            break
        triggered = True
        if round_.refinement is None or round_.refinement.answer is None:
            break
        answer, refined = round_.refinement.answer, True
    return msgspec.structs.replace(
        trace,
        answer=answer,
        initial_answer=trace.initial.answer,
        triggered=triggered,
        refined=refined,
        p_incorrect=trace.rounds[0].p_incorrect if trace.rounds else None,
        status="unknown" if answer is None else "solved",
        initial_correct=_correct(trace.initial.answer, trace),
        final_correct=_correct(answer, trace),
    )


def _solve(problem: Problem, asked: Conversation, policy: Policy) -> Steps[Solution]:
    request = Generate(
        asked,
        phase="solve",
        adapter=policy.adapter("solver"),
        sampling=policy.solve.sampling(policy.seed),
        thinking=policy.thinking,
    )
    completion = yield from generate(request)
    return Solution(_attempt(problem, completion), prompts.answered(asked, completion))


def _round(
    problem: Problem, asked: Conversation, solution: Solution, policy: Policy
) -> Steps[tuple[Round, Solution | None]]:
    """One verdict and, where it is called for, one refinement: what is stored, and what the next round goes on from."""
    case = Case(problem, solution.attempt, asked, solution.conversation, policy)
    signals: list[Signal] = []
    for name in policy.verify.verifiers:
        signals.append((yield from _signal(name, case)))
    p_incorrect = combined(signals)
    gate = opens(policy.verify.threshold, p_incorrect, solution.attempt.answer)
    if policy.refine.when == "never" or (policy.refine.when == "gated" and not gate):
        return Round(p_incorrect, tuple(signals)), None
    try:
        critique, refined = yield from _refine(case)
    except EngineError as error:
        return Round(p_incorrect, tuple(signals), error=str(error)), None
    return Round(p_incorrect, tuple(signals), critique, refined.attempt), refined


def _signal(name: VerifierName, case: Case) -> Steps[Signal]:
    try:
        return (yield from VERIFIERS[name](case))
    except EngineError as error:
        return Signal(name, None, f"failed: {error}")


def _refine(case: Case) -> Steps[tuple[str, Solution]]:
    asked = prompts.refine_messages(case.conversation)
    completion = yield from generate(
        Generate(
            asked,
            phase="refine",
            adapter=case.policy.adapter("refiner"),
            sampling=case.policy.refine.sampling.sampling(case.policy.seed),
            thinking=case.policy.thinking,
        )
    )
    thought, reply = answers.split_thought(completion.text)
    critique, text = prompts.split_refinement(reply)
    attempt = msgspec.structs.replace(_attempt(case.problem, completion), text=text, thought=thought)
    return critique, Solution(attempt, prompts.answered(asked, completion))


def _attempt(problem: Problem, completion: Completion) -> Attempt:
    thought, text = answers.split_thought(completion.text)
    return Attempt(
        text=text.strip(),
        answer=answers.extract(text, problem.kind, problem.choices),
        finish=completion.finish,
        thought=thought,
        mean_logprob=sum(completion.logprobs) / len(completion.logprobs) if completion.logprobs else None,
        usage=completion.usage,
    )


def _correct(answer: str | None, trace: Trace) -> bool | None:
    """None without a gold answer. An unknown answer is not correct, nor is one that could not be compared."""
    if trace.gold is None:
        return None
    return answers.equal(answer, trace.gold, trace.kind) is True
