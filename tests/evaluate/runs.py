"""Traces of problems as `loop.decide` would leave them, without a loop: gold answer 7, threshold 0.5."""

from __future__ import annotations

from score_local.engine.protocol import Usage
from score_local.trace import Attempt, Round, Signal, Trace

GOLD = "7"
USAGE = Usage(prompt=100, reused=60, generated=20, seconds=1.0)


def trace(
    name: str,
    initial: str | None,
    p: float | None = None,
    refinement: str | None = "none written",
    *,
    gold: str | None = GOLD,
    spoke: dict[str, float | None] | None = None,
) -> Trace:
    """One round; `refinement` is its answer (None: unreadable, "none written": there is none)."""
    written = refinement != "none written"
    signals = tuple(Signal(verifier, belief) for verifier, belief in (spoke or {"self": p}).items())
    round_ = Round(p, signals, refinement=Attempt("second", refinement) if written else None)
    triggered = initial is None or (p is not None and p >= 0.5)
    refined = triggered and written and refinement is not None
    answer = refinement if refined else initial
    return Trace(
        id=name,
        question=f"What is {name}?",
        gold=gold,
        initial=Attempt("first", initial),
        rounds=(round_,),
        answer=answer,
        initial_answer=initial,
        triggered=triggered,
        refined=refined,
        p_incorrect=p,
        status="unknown" if answer is None else "solved",
        initial_correct=None if gold is None else initial == gold,
        final_correct=None if gold is None else answer == gold,
        usage=USAGE,
    )


def failed(name: str, gold: str | None = GOLD) -> Trace:
    return Trace(id=name, question="Too long?", gold=gold, status="failed", error="the prompt does not fit")


def every_case() -> list[Trace]:
    """Each way in which a problem can end, once."""
    return [
        trace("kept", "7", 0.1, "8", spoke={"self": 0.2, "arithmetic": 0.0}),
        trace("fixed", "6", 0.9, "7", spoke={"self": 0.9, "arithmetic": None}),
        trace("broken", "7", 0.6, "8", spoke={"self": 0.2, "arithmetic": 1.0}),
        trace("missed", "5", 0.2, "7", spoke={"self": 0.2}),
        trace("no verdict", "4", None, spoke={"self": None, "arithmetic": None}),
        trace("unknown", None, 0.8, None, spoke={"self": 0.8}),
        failed("failed"),
        trace("no gold", "3", 0.7, "2", gold=None, spoke={"self": 0.7}),
        failed("failed, no gold", gold=None),
    ]
