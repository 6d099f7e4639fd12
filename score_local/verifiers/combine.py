"""One probability from several signals."""

from __future__ import annotations

from collections.abc import Sequence

from score_local.trace import Signal


def combined(signals: Sequence[Signal], verifiers: Sequence[str] | None = None) -> float | None:
    """The mean P(incorrect) of the signals that spoke (of `verifiers` only, where given); None where none did.

    The mean treats every verifier alike: it is what can be said before anything is calibrated. The oracle, where it
    was asked, is not one voice among others: it decides alone.
    """
    oracle = [s.p_incorrect for s in signals if s.verifier == "oracle" and (verifiers is None or "oracle" in verifiers)]
    if oracle and oracle[0] is not None:
        return oracle[0]
    spoke = [
        signal.p_incorrect
        for signal in signals
        if signal.p_incorrect is not None and (verifiers is None or signal.verifier in verifiers)
    ]
    return sum(spoke) / len(spoke) if spoke else None
