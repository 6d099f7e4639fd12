"""SCORE inference (arXiv 2404.17140, section 3) as a plain generator: it yields requests and is sent replies.

    solution  ->  verdict  ->  if P(incorrect) >= threshold: a refinement replaces it

No I/O, no engine, no threads: a list drives it in a test, `schedule` drives dozens at once. What it returns is a
`Trace`; which answer is final is decided by `decide`, a pure function that can be called again with another gate.
`methods` builds the other policies from the same steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import msgspec

from score_local import answers, prompts, votes
from score_local.attempts import Solution, refinement_of, solution_of
from score_local.engine.protocol import Generate
from score_local.engine.steps import Steps, generate
from score_local.errors import EngineDied, EngineError
from score_local.policy import Policy, VerifierName
from score_local.problem import Problem
from score_local.trace import Candidate, Round, Signal, Trace
from score_local.verifiers.arithmetic import arithmetic_verifier
from score_local.verifiers.calibration import NOTHING_KNOWN, Trust
from score_local.verifiers.case import Case, Verifier
from score_local.verifiers.combine import calibrated, cheap_first, combined, undecided
from score_local.verifiers.consistency import consistency_verifier
from score_local.verifiers.model import model_verifier
from score_local.verifiers.oracle import oracle_verifier
from score_local.verifiers.program import program_hint, program_verifier
from score_local.verifiers.self_ import self_verifier

VERIFIERS: Mapping[VerifierName, Verifier] = {
    "self": self_verifier,
    "consistency": consistency_verifier,
    "arithmetic": arithmetic_verifier,
    "program": program_verifier,
    "model": model_verifier,
    "oracle": oracle_verifier,
}


def self_correct(problem: Problem, policy: Policy, trust: Trust = NOTHING_KNOWN) -> Steps[Trace]:
    """Solves, doubts and, where the policy says so, repairs one problem: the method *refine*, SCORE's own.

    Never raises EngineError: where the solution fails, or the engine dies, the trace says so; a verifier that fails is
    unknown, and a refinement that fails replaces nothing.
    """
    try:
        case = yield from solve(problem, policy, trust)
        return (yield from _corrected(case))
    except EngineError as error:
        return failed(problem, policy, error)


def _corrected(case: Case) -> Steps[Trace]:
    """The rounds after the first attempt, decided. Raises EngineDied: what it left out can be asked again."""
    initial, policy, rounds = case, case.policy, list[Round]()
    for _ in range(policy.refine.rounds):
        round_, refined = yield from correct(case)
        rounds.append(round_)
        if refined is None:
            break
        case = dataclasses.replace(case, attempt=refined.attempt, conversation=refined.conversation)
    return decide(traced(initial, rounds), policy.verify.gate)


def solve(
    problem: Problem, policy: Policy, trust: Trust = NOTHING_KNOWN, asked: prompts.Conversation = ()
) -> Steps[Case]:
    """The first attempt, as a case for the verifiers. Raises EngineError.

    `asked`: the conversation that ends with the problem, where it is not the first thing that is asked.
    """
    asked = asked or prompts.solve_messages(problem)
    request = Generate(
        asked,
        phase="solve",
        adapter=policy.adapter("solver"),
        sampling=policy.solve.sampling(policy.seed),
        thinking=policy.thinking,
    )
    completion = yield from generate(request)
    solution = solution_of(problem, asked, completion)
    return Case(problem, solution.attempt, asked, solution.conversation, policy, trust)


def correct(case: Case) -> Steps[tuple[Round, Solution | None]]:
    """One verdict and, where it is called for, one refinement: what is stored, and what the next round goes on from.
    Raises EngineDied."""
    p_incorrect, signals = yield from doubt(case)
    when, gate = case.policy.refine.when, opens(case.policy.verify.gate, p_incorrect, case.attempt.answer)
    if when == "never" or (when == "gated" and not gate):
        return Round(p_incorrect, signals), None
    hint = program_hint(case) if case.policy.refine.hint == "program" else ""
    try:
        critique, refined = yield from refine(case, hint)
    except EngineDied:
        raise
    except EngineError as error:
        return Round(p_incorrect, signals, error=str(error)), None
    return Round(p_incorrect, signals, critique, refined.attempt), refined


def doubt(case: Case) -> Steps[tuple[float | None, tuple[Signal, ...]]]:
    """P(incorrect) of an attempt, and what each verifier said. With a calibration the cheap ones are asked first, and
    the dear ones only while it is undecided. Raises EngineDied."""
    calibration, signals = case.trust.combined, list[Signal]()
    for name in cheap_first(calibration, case.policy.verify.verifiers):
        if calibration and not undecided(calibration, case.attempt, signals):
            break
        signals.append((yield from _signal(name, case)))
    told = calibrated(calibration, case.attempt, signals) if calibration else combined(signals)
    return told, tuple(signals)


def refine(case: Case, hint: str = "") -> Steps[tuple[str, Solution]]:
    """A critique of the attempt and another solution; `hint` is a person's or a program's. Raises EngineError."""
    asked = prompts.refine_messages(case.conversation, hint)
    completion = yield from generate(
        Generate(
            asked,
            phase="refine",
            adapter=case.policy.adapter("refiner"),
            sampling=case.policy.refine.sampling.sampling(case.policy.seed),
            thinking=case.policy.thinking,
        )
    )
    return refinement_of(case.problem, asked, completion)


def opens(threshold: float, p_incorrect: float | None, answer: str | None) -> bool:
    """Whether a refinement may replace an attempt: SCORE's rule, one rule, p >= threshold.

    An attempt without an answer cannot be right, so there is nothing to lose. An unknown verdict opens nothing.
    """
    return answer is None or (p_incorrect is not None and p_incorrect >= threshold)


def failed(problem: Problem, policy: Policy, error: EngineError) -> Trace:
    """The trace of a problem without a first attempt, or whose engine died later: it is to be tried again."""
    return msgspec.structs.replace(_untold(problem, policy), status="failed", error=str(error))


def traced(initial: Case, rounds: Sequence[Round] = (), candidates: Sequence[Candidate] = ()) -> Trace:
    """What happened to a problem, not yet decided. `initial` is the case of its first attempt."""
    spent = [initial.attempt.usage, *(signal.usage for round_ in rounds for signal in round_.signals)]
    spent += [round_.refinement.usage for round_ in rounds if round_.refinement]
    spent += [candidate.usage for candidate in candidates]
    return msgspec.structs.replace(
        _untold(initial.problem, initial.policy),
        initial=initial.attempt,
        rounds=tuple(rounds),
        candidates=tuple(candidates),
        usage=sum(spent[1:], spent[0]),
    )


def decide(trace: Trace, threshold: float) -> Trace:
    """The trace with its final answer under `threshold`, from what is stored; no model call."""
    if trace.initial is None:
        return trace
    first, p_incorrect = trace.initial.answer, trace.rounds[0].p_incorrect if trace.rounds else None
    gated = bool(trace.rounds)
    triggered = gated and opens(threshold, p_incorrect, first)
    if trace.method == "refine":
        answer, refined = _refined(trace, threshold)
    else:
        answer = votes.chosen(trace) if triggered or not gated else first
        refined = answer != first
    return msgspec.structs.replace(
        trace,
        answer=answer,
        initial_answer=first,
        triggered=triggered,
        refined=refined,
        p_incorrect=p_incorrect,
        status="unknown" if answer is None else "solved",
        initial_correct=_correct(first, trace),
        final_correct=_correct(answer, trace),
    )


def opened(trace: Trace, threshold: float) -> tuple[Round, ...]:
    """The rounds whose gate opens, one after another; each but the first judges the refinement of the one before."""
    found, attempt = list[Round](), trace.initial
    for round_ in trace.rounds:
        if attempt is None or not opens(threshold, round_.p_incorrect, attempt.answer):
            break
        found.append(round_)
        attempt = round_.refinement
    return tuple(found)


def _refined(trace: Trace, threshold: float) -> tuple[str | None, bool]:
    """The answer of the last refinement that the gate lets through and that holds one, and whether there is one."""
    answer, refined = trace.initial.answer if trace.initial else None, False
    for round_ in opened(trace, threshold):
        if round_.refinement and round_.refinement.answer is not None:
            answer, refined = round_.refinement.answer, True
    return answer, refined


def _signal(name: VerifierName, case: Case) -> Steps[Signal]:
    try:
        return (yield from VERIFIERS[name](case))
    except EngineDied:
        raise
    except EngineError as error:
        return Signal(name, None, f"failed: {error}")


def _untold(problem: Problem, policy: Policy) -> Trace:
    return Trace(
        id=problem.id,
        question=problem.question,
        kind=problem.kind,
        choices=problem.choices,
        gold=problem.answer,
        method=policy.method,
    )


def _correct(answer: str | None, trace: Trace) -> bool | None:
    """None without a gold answer. An unknown answer is not correct, nor is one that could not be compared."""
    if trace.gold is None:
        return None
    return answers.is_right(answer, trace.gold, trace.kind) is True
