"""Made-up runs in which every verifier spoke: what each is worth is known beforehand."""

from __future__ import annotations

import math
import random

from score_local.engine.protocol import Usage
from score_local.trace import Attempt, Round, Signal, Trace
from score_local.verifiers.calibration import Origin

ORIGIN = Origin(model="tiny.gguf", model_sha256="0" * 64, prompts="1" * 64, samples=4)
CHEAP, DEAR = Usage(prompt=10, seconds=0.1), Usage(prompt=100, generated=400, seconds=9.0)


def traces(
    count: int, *, cheap: float = 1.0, dear: float = 3.0, fixes: float = 0.5, breaks: float = 0.3, seed: int = 0
) -> list[Trace]:
    """`count` problems, about half of them solved right. The verifiers `cheap` and `dear` give a logit around plus or
    minus their number, with a noise of 1; `dear` is silent one time in ten. Refinements fix and break at these rates.
    """
    chance = random.Random(seed)
    return [_trace(f"p{i}", chance, (cheap, dear), fixes, breaks) for i in range(count)]


def _trace(key: str, chance: random.Random, strengths: tuple[float, float], fixes: float, breaks: float) -> Trace:
    right = chance.random() < 0.5
    side = -1.0 if right else 1.0
    cheap, dear = (side * strength + chance.gauss(0, 1) for strength in strengths)
    silent = chance.random() < 0.1
    signals = (
        Signal("dear", None if silent else _sigmoid(dear), usage=DEAR),
        Signal("cheap", _sigmoid(cheap), usage=CHEAP),
    )
    changed = chance.random() < (breaks if right else fixes)
    refinement = Attempt("", "1" if right != changed else "2", usage=DEAR)
    initial = Attempt("", "1" if right else "2", mean_logprob=-0.2 - 0.1 * chance.random(), usage=DEAR)
    return Trace(
        id=key,
        question=key,
        gold="1",
        initial=initial,
        initial_answer=initial.answer,
        initial_correct=right,
        rounds=(Round(0.5, signals, refinement=refinement),),
        status="solved",
    )


def _sigmoid(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))
