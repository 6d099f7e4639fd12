"""Samples and programs of a problem: drawn once, whoever asks first, and kept in `Case.shared` for who asks later."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import msgspec

from score_local.attempts import Solution, solution_of
from score_local.engine.protocol import Completion, Generate, Usage
from score_local.engine.steps import Steps, generate_all
from score_local.verifiers.case import Case


def seed_of(policy_seed: int, problem_id: str, sample: int) -> int:
    """A seed for each sample of each problem, the same in every run and in any order of problems."""
    return zlib.crc32(f"{policy_seed}:{problem_id}:{sample}".encode())


def draw(case: Case, count: int, most: int | None = None) -> Steps[Usage]:
    """Draws those of the first `count` samples that are missing, side by side, each of `most` tokens at most where that
    is less than the policy's; what it cost. One that fails is kept as None. Raises EngineDied."""
    missing = range(len(case.shared.samples), count)
    if not missing:
        return Usage()
    replies = yield from generate_all([_request(case, index, most) for index in missing])
    case.shared.samples += [_solution(case, reply) for reply in replies]
    return sum((reply.usage for reply in replies if isinstance(reply, Completion)), Usage())


def drawn(case: Case, count: int) -> Sequence[Solution]:
    """Those of the first `count` samples that came."""
    return [sample for sample in case.shared.samples[:count] if sample]


def _request(case: Case, index: int, most: int | None) -> Generate:
    policy = case.policy
    sampling = policy.verify.sampling.sampling(seed_of(policy.seed, case.problem.id, index))
    if most is not None and most < sampling.max_tokens:
        sampling = msgspec.structs.replace(policy.verify.sampling, max_tokens=most).sampling(sampling.seed)
    return Generate(
        case.asked, phase="sample", adapter=policy.adapter("solver"), sampling=sampling, thinking=policy.thinking
    )


def _solution(case: Case, reply: object) -> Solution | None:
    return solution_of(case.problem, case.asked, reply) if isinstance(reply, Completion) else None
