"""One probability from several signals, and whether another signal is worth its cost.

Without a calibration: the mean of the signals that spoke. With one: logistic regression over the logits of the signals
(Platt 1999 for one, Dietterich's stacking for several), in which a signal that says nothing has a weight of its own,
and over what is known of the attempt for free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from score_local.errors import PolicyError
from score_local.trace import Attempt, Signal
from score_local.verifiers.calibration import Calibration, Stage

Name = TypeVar("Name", bound=str)
Values = Mapping[str, "float | None"]
ORACLE = "oracle"

ATTEMPT_TERMS: Mapping[str, Callable[[Attempt], float | None]] = {
    "logprob": lambda attempt: attempt.mean_logprob,
    "length": lambda attempt: math.log(attempt.usage.generated) if attempt.usage.generated else None,
    "cut": lambda attempt: float(attempt.finish == "length"),
    "looped": lambda attempt: float(attempt.finish == "loop"),
    "unanswered": lambda attempt: float(attempt.answer is None),
}
"""What an attempt shows without being asked: mean log-probability of its tokens, log of their number, how it ended."""


def combined(signals: Sequence[Signal], verifiers: Sequence[str] | None = None) -> float | None:
    """The mean P(incorrect) of the signals that spoke (of `verifiers` only, where given); None where none did.

    The mean treats every verifier alike: it is what can be said before anything is calibrated. The oracle, where it
    was asked, is not one voice among others: it decides alone.
    """
    heard = [signal for signal in signals if verifiers is None or signal.verifier in verifiers]
    oracle = _oracle(heard)
    if oracle is not None:
        return oracle
    spoke = [signal.p_incorrect for signal in heard if signal.p_incorrect is not None]
    return sum(spoke) / len(spoke) if spoke else None


def calibrated(calibration: Calibration, attempt: Attempt, signals: Sequence[Signal]) -> float:
    """P(incorrect) of an attempt from all that was asked; strictly between 0 and 1 but for rounding.

    A signal that was asked and said nothing is *missing*, which has its own weight; one that was not asked is not: the
    stage that was fitted without it applies. Here too the oracle decides alone.
    """
    oracle = _oracle(signals)
    if oracle is not None:
        return oracle
    return probability(_stage(calibration, signals), values_of(attempt, signals, calibration.clip))


def undecided(calibration: Calibration, attempt: Attempt, signals: Sequence[Signal]) -> bool:
    """Whether the next signal is worth asking after these: the probability lies within the band of its stage.

    An attempt without an answer is refined whatever is said of it, so nobody is asked; nor after the oracle.
    """
    if attempt.answer is None or _oracle(signals) is not None:
        return False
    stage = _stage(calibration, signals)
    return stage.low < probability(stage, values_of(attempt, signals, calibration.clip)) < stage.high


def cheap_first(calibration: Calibration | None, verifiers: Sequence[Name]) -> tuple[Name, ...]:
    """The verifiers in the order in which to ask them: the oracle, which ends the asking, then the calibration's."""
    if calibration is None:
        return tuple(verifiers)
    rank = {name: place for place, name in enumerate(calibration.signals)}
    return tuple(sorted(verifiers, key=lambda name: rank.get(name, -1)))


def check_verifiers(calibration: Calibration, verifiers: Sequence[str], where: str) -> None:
    """Raises PolicyError where a verifier was not calibrated, or one is left out before another that is asked."""
    asked = [name for name in verifiers if name != ORACLE]
    known = calibration.signals[: len(asked)]
    if {*asked} != {*known}:
        listed = ", ".join(calibration.signals)
        what = f"it was fitted for {listed or 'no verifier'}, in this order, and the policy asks {', '.join(asked)}"
        raise PolicyError(what, where, "Ask just those (the last ones may be left out), or calibrate again")


def probability(stage: Stage, values: Values) -> float:
    """P(incorrect) by one stage; a value that is absent is missing."""
    odds = stage.bias
    for term in stage.terms:
        value = values.get(term.name)
        odds += term.missing if value is None else term.weight * (value - term.centre)
    return 1 / (1 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1 + math.exp(odds))


def values_of(attempt: Attempt, signals: Sequence[Signal], clip: float) -> dict[str, float | None]:
    """What the terms of a stage are computed from, by name; None is missing."""
    values = {name: read(attempt) for name, read in ATTEMPT_TERMS.items()}
    for signal in signals:
        values[signal.verifier] = None if signal.p_incorrect is None else _logit(signal.p_incorrect, clip)
    return values


def _logit(p: float, clip: float) -> float:
    within = min(max(p, clip), 1 - clip)
    return math.log(within / (1 - within))


def _stage(calibration: Calibration, signals: Sequence[Signal]) -> Stage:
    """The last stage all of whose signals were asked; the first asks for none."""
    asked = {signal.verifier for signal in signals}
    return next(stage for stage in reversed(calibration.stages) if asked.issuperset(stage.signals))


def _oracle(signals: Sequence[Signal]) -> float | None:
    return next((signal.p_incorrect for signal in signals if signal.verifier == ORACLE), None)
