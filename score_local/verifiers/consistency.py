"""*consistency*: samples of the same problem, side by side; the share that agrees with the solution's answer."""

from __future__ import annotations

import zlib
from collections import Counter

from score_local import answers
from score_local.engine.protocol import Completion, Generate, Usage
from score_local.engine.steps import Steps, ask_all
from score_local.trace import Signal
from score_local.verifiers.case import Case


def seed_of(policy_seed: int, problem_id: str, sample: int) -> int:
    """A seed for each sample of each problem, the same in every run and in any order of problems."""
    return zlib.crc32(f"{policy_seed}:{problem_id}:{sample}".encode())


def consistency_verifier(case: Case) -> Steps[Signal]:
    """P(incorrect) = 1 - agreeing / samples that hold an answer; unknown where none does."""
    verify, seed = case.policy.verify, case.policy.seed
    requests = [
        Generate(
            case.asked,
            phase="sample",
            adapter=case.policy.adapter("solver"),
            sampling=verify.sampling.sampling(seed_of(seed, case.problem.id, i)),
            thinking=case.policy.thinking,
        )
        for i in range(verify.samples)
    ]
    replies = yield from ask_all(requests)
    completions = [reply for reply in replies if isinstance(reply, Completion)]
    usage = sum((c.usage for c in completions), Usage())
    found = [answers.extract(c.text, case.problem.kind, case.problem.choices) for c in completions]
    return _signal(case, [answer for answer in found if answer is not None], usage)


def _signal(case: Case, found: list[str], usage: Usage) -> Signal:
    if case.attempt.answer is None or not found:
        reason = "no sample holds an answer" if case.attempt.answer is not None else "the solution holds no answer"
        return Signal("consistency", None, reason, usage=usage)
    agree = sum(answers.equal(answer, case.attempt.answer, case.problem.kind) is True for answer in found)
    favourite, votes = Counter(found).most_common(1)[0]
    return Signal(
        "consistency",
        1 - agree / len(found),
        f"{agree} of {len(found)} samples agree",
        details={"agree": agree, "samples": len(found), "favourite": favourite, "votes": votes},
        usage=usage,
    )
