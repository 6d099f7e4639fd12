"""*self*: the model itself says whether its solution is right; no text is generated."""

from __future__ import annotations

import math

from score_local.engine.protocol import Score
from score_local.engine.steps import Steps, score
from score_local.prompts import VERDICTS, verify_messages
from score_local.trace import Signal
from score_local.verifiers.case import Case


def self_verifier(case: Case) -> Steps[Signal]:
    """P(incorrect) from the next-token log-probabilities of the two verdict words, renormalised over the two, and read
    at the temperature that a trained verifier brings with it."""
    request = Score(verify_messages(case.conversation), VERDICTS, adapter=case.policy.adapter("verifier"))
    scores = yield from score(request)
    correct, incorrect = scores.logprobs
    scale = case.trust.verifier
    odds = (incorrect - correct) / scale.temperature + scale.bias
    return Signal(
        "self",
        1 / (1 + math.exp(min(-odds, 700.0))),
        details={"mass": math.exp(correct) + math.exp(incorrect)},
        usage=scores.usage,
    )
