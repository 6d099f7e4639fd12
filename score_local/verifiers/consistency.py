"""*consistency*: samples of the same problem, side by side; the share that agrees with the solution's answer.

A solution is no witness for itself. Where a sample is judged it is left out, and the first attempt is a witness in its
place; so no attempt is believed more than another for the order in which they were drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from score_local import answers
from score_local.engine.protocol import Usage
from score_local.engine.steps import Steps
from score_local.trace import Attempt, Signal
from score_local.verifiers.case import Case
from score_local.verifiers.draws import draw, drawn


def consistency_verifier(case: Case) -> Steps[Signal]:
    """P(incorrect) = 1 - agreeing / samples that hold an answer; unknown where none does."""
    count = case.policy.verify.samples
    usage = yield from draw(case, count)
    found = [witness.answer for witness in _witnesses(case, count)]
    return _signal(case, [answer for answer in found if answer is not None], usage)


def _witnesses(case: Case, count: int) -> Iterator[Attempt]:
    """The attempts beside the judged one: by identity, since another sample may well say the same."""
    if case.first is not None:
        yield case.first
    yield from (sample.attempt for sample in drawn(case, count) if sample.attempt is not case.attempt)


def _signal(case: Case, found: Sequence[str], usage: Usage) -> Signal:
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
