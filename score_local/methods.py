"""What may be done with a problem beside SCORE's one refinement: votes, each a few lines over the steps of `loop`.

majority          self-consistency (Wang et al. 2023): samples vote, and no more are drawn than can change the winner
weighted-vote     each sample's vote weighs what the verifiers believe of it, 1 - P(incorrect)
best-of-n         the sample that the verifiers believe most
refine-then-vote  an open gate calls for a refinement, which samples and programs then vote on
budget            the same, drawing one by one until the leader is certain or the tokens are spent

Whatever was generated for the verdict (samples, programs) votes as well, and is not drawn again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import msgspec

from score_local import votes
from score_local.engine.protocol import Usage
from score_local.engine.steps import Steps
from score_local.errors import EngineError
from score_local.loop import correct, decide, doubt, failed, opens, self_correct, solve, traced
from score_local.policy import Policy
from score_local.problem import Problem
from score_local.trace import Candidate, Method, Round, Trace
from score_local.verifiers.calibration import NOTHING_KNOWN, Trust
from score_local.verifiers.case import Case
from score_local.verifiers.draws import draw, drawn
from score_local.verifiers.program import stated_answers, write_programs

UNKNOWN_WEIGHT = 0.5  # of a sample that no verifier has an opinion of
LEAST_TOKENS = 32  # a budget with less left draws nothing more: no solution is that short


def attempt(problem: Problem, policy: Policy, trust: Trust = NOTHING_KNOWN) -> Steps[Trace]:
    """One problem by the policy's method. Never raises EngineError."""
    if policy.method == "refine":
        return (yield from self_correct(problem, policy, trust))
    try:
        case = yield from solve(problem, policy, trust)
        trace = yield from METHODS[policy.method](case)
    except EngineError as error:
        return failed(problem, policy, error)
    return decide(trace, policy.verify.gate)


def majority(case: Case) -> Steps[Trace]:
    candidates = yield from _drawn_until_settled(case, [_initial(case)])
    return traced(case, candidates=candidates)


def verified(case: Case) -> Steps[Trace]:
    """Every sample is judged as the first attempt is: for weighted-vote and best-of-n."""
    spent = yield from draw(case, case.policy.vote.samples)
    weight, cost = yield from _belief(case)
    candidates = [Candidate("initial", case.attempt.answer, weight, usage=cost + spent)]
    for judged, conversation in drawn(case, case.policy.vote.samples):
        sample = dataclasses.replace(case, attempt=judged, conversation=conversation, first=case.attempt)
        weight, cost = yield from _belief(sample)
        candidates.append(Candidate("sample", judged.answer, weight, judged.text, cost))
    return traced(case, candidates=candidates)


def refine_then_vote(case: Case) -> Steps[Trace]:
    round_, candidates = yield from _refined(case)
    if candidates:
        candidates = yield from _drawn_until_settled(case, candidates)
    return traced(case, [round_], candidates)


def budget(case: Case) -> Steps[Trace]:
    round_, candidates = yield from _refined(case)
    vote, kind = case.policy.vote, case.problem.kind
    count = len(case.shared.samples)
    while candidates and votes.confidence(candidates, kind) < vote.confidence:
        left = vote.tokens - traced(case, [round_], candidates).usage.generated
        if left < LEAST_TOKENS or count >= vote.samples:
            break
        candidates += yield from _sampled(case, count, count + 1, left)
        count += 1
    return traced(case, [round_], candidates)


METHODS: Mapping[Method, Callable[[Case], Steps[Trace]]] = {
    "majority": majority,
    "weighted-vote": verified,
    "best-of-n": verified,
    "refine-then-vote": refine_then_vote,
    "budget": budget,
}


def _refined(case: Case) -> Steps[tuple[Round, list[Candidate]]]:
    """The verdict, and behind an open gate all that can vote already; nothing behind a shut one.

    What has no vote is neither written nor a candidate: an answer without weight would still be the first that spoke
    among equals.
    """
    policy = case.policy
    round_, refined = yield from correct(case if policy.vote.refinement else _unrefined(case))
    if not opens(policy.verify.gate, round_.p_incorrect, case.attempt.answer) and policy.refine.when != "always":
        return round_, []
    vote, candidates = policy.vote, [_initial(case)]
    if refined:
        candidates.append(Candidate("refinement", refined.attempt.answer, vote.refinement))
    if vote.program:
        candidates += yield from _programs(case)
    return round_, candidates + _samples(case, 0, len(case.shared.samples))


def _programs(case: Case) -> Steps[list[Candidate]]:
    """The programs' votes. Those that the verdict did without are written now: nothing is compared with a solution that
    holds no answer, and a calibration may be certain before it asks. The first candidate bears their cost."""
    spent = Usage()
    if "program" in case.policy.verify.verifiers:
        spent = yield from write_programs(case)
    weight = case.policy.vote.program
    found = [Candidate("program", answer, weight) for answer in stated_answers(case)]
    if spent.generated and not found:
        found = [Candidate("program", None, 0.0)]
    return [msgspec.structs.replace(one, usage=spent if one is found[0] else Usage()) for one in found]


def _unrefined(case: Case) -> Case:
    """The case under a policy that writes no refinement; what is drawn for it stays shared."""
    refine = msgspec.structs.replace(case.policy.refine, when="never")
    return dataclasses.replace(case, policy=msgspec.structs.replace(case.policy, refine=refine))


def _drawn_until_settled(case: Case, candidates: list[Candidate]) -> Steps[list[Candidate]]:
    """The candidates and samples, in waves, for as long as those to come can change the winner."""
    vote, kind, count = case.policy.vote, case.problem.kind, len(case.shared.samples)
    while count < vote.samples and not votes.settled(candidates, kind, vote.samples - count):
        upto = min(count + vote.wave, vote.samples)
        candidates = candidates + (yield from _sampled(case, count, upto))
        count = upto
    return candidates


def _sampled(case: Case, start: int, stop: int, most: int | None = None) -> Steps[list[Candidate]]:
    """Draws the samples from `start` to `stop`, each of `most` tokens at most; the first candidate bears their cost."""
    spent = yield from draw(case, stop, most)
    found = _samples(case, start, stop) or [Candidate("sample", None, 0.0)]
    return [msgspec.structs.replace(found[0], usage=spent), *found[1:]]


def _samples(case: Case, start: int, stop: int) -> list[Candidate]:
    attempts = [sample.attempt for sample in case.shared.samples[start:stop] if sample]
    return [Candidate("sample", one.answer, 1.0, one.text) for one in attempts]


def _initial(case: Case) -> Candidate:
    return Candidate("initial", case.attempt.answer, case.policy.vote.initial)


def _belief(case: Case) -> Steps[tuple[float, Usage]]:
    """1 - P(incorrect), and what asking cost."""
    p_incorrect, signals = yield from doubt(case)
    weight = UNKNOWN_WEIGHT if p_incorrect is None else 1 - p_incorrect
    return weight, sum((signal.usage for signal in signals), Usage())
