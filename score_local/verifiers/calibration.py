"""What was learned about the verifiers of one model: the numbers of `calibration.toml`.

`score-local calibrate` fits them, `evaluate.calibration_file` reads and writes them, `combine` uses them.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from score_local.policy import Positive, Probability


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number that a stage looks at: the logit of a verifier's P(incorrect), or something about the attempt.

    Known, it adds `weight * (value - centre)` to the log-odds; not known, it adds `missing`, which is learned from the
    attempts where it was not known and is 0 where there were none: then it says nothing.
    """

    name: str
    weight: float
    centre: float = 0.0
    missing: float = 0.0

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.weight, self.centre, self.missing))):
            raise ValueError(f"term {self.name!r} holds a number that is not finite")


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The logistic regression for when just `signals` were asked, in natural log-odds of *incorrect*.

    While its probability lies between `low` and `high`, both exclusive, the next signal is asked.
    """

    signals: tuple[str, ...]
    low: Probability
    high: Probability
    bias: float
    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"a stage has low {self.low} above high {self.high}")
        if not math.isfinite(self.bias):
            raise ValueError("a stage has a bias that is not finite")


class Estimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A measure with a 95% bootstrap interval over problems."""

    value: float
    low: float
    high: float


class Quality(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How well P(incorrect) tells the `incorrect` among `n` attempts; what has no value (one class only) is None.

    `brier` is the mean squared error, `log_loss` is in nats an attempt, `calibration_error` is over ten bins.
    """

    n: int
    incorrect: int
    auroc: Estimate | None = None
    brier: Estimate | None = None
    log_loss: Estimate | None = None
    calibration_error: Estimate | None = None


class Fitted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What it was fitted on: `n` attempts, the share of them that is incorrect, and the choices that were made.

    `strength` is the L2 penalty of each stage. A stage may stop the asking where at most the share `tolerance` of the
    decisions would be another with all signals. `questions` are hashes of the questions, so that a report can keep
    away from them; files of before do not tell them.
    """

    on: str
    n: int
    incorrect: int
    base_rate: Probability
    folds: Positive
    strength: tuple[float, ...]
    tolerance: Probability
    questions: tuple[str, ...] = ()


class Temperature(msgspec.Struct, frozen=True):
    """How the log-odds of *incorrect* of a trained verifier are to be read: odds / temperature + bias."""

    temperature: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    bias: float = 0.0
    threshold: Probability | None = None


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What made the run it was fitted on. `adapters`: SHA-256 by role; `samples`: of the consistency verifier;
    `programs`: drawn for the program verifier; `tokens`: of the longest solution; `judge`: the judge's name. None: not
    told (by an older calibration), or there was none."""

    model: str
    model_sha256: str
    prompts: str
    samples: Positive
    adapters: dict[str, str] = {}
    programs: int | None = None
    tokens: Positive | None = None
    thinking: bool | None = None
    judge: str | None = None


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`stages` holds one more than there are `signals`: the first has none, each has the next signal in order of cost.

    Logits are cut at those of `clip` and 1 - `clip`. `refine` is False where the safety rule turned refinement off;
    `verdict` says in words what was found. `quality` is of all signals together, on what `quality_on` says.
    """

    version: Literal[1] = 1
    threshold: Probability
    refine: bool
    verdict: str
    signals: tuple[str, ...]
    clip: Probability
    quality_on: str
    fitted: Fitted
    quality: Quality
    origin: Origin
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not 0 < self.clip < 0.5:
            raise ValueError(f"clip is {self.clip}, and has to be between 0 and 0.5")
        if [stage.signals for stage in self.stages] != [self.signals[:k] for k in range(len(self.signals) + 1)]:
            raise ValueError("stages do not begin with none of the signals and go on with one more each")
        if any(not {*stage.signals} <= {term.name for term in stage.terms} for stage in self.stages):
            raise ValueError("a stage has no term for one of its signals")


class Trust(msgspec.Struct, frozen=True):
    """What is known of the verifiers beforehand: all together (`combined`), and the trained one alone (`verifier`)."""

    combined: Calibration | None = None
    verifier: Temperature = Temperature()


NOTHING_KNOWN = Trust()
