"""What the stages write, one row a line. Of several rows of a file with one `id` the last counts.

Sample ids are `problem/index`, pair ids `problem/wrong+right`; what is said of a pair has the pair's id.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from score_local.engine.protocol import Usage
from score_local.problem import Problem
from score_local.roles import Role as AdapterRole

Label = Literal["correct", "incorrect", "unknown", "failed"]
LABELS: tuple[Label, ...] = ("correct", "incorrect", "unknown", "failed")
FAILED = "failed"  # why a row without a reply goes no further


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a stage's file."""

    id: str


class Reply(Row, frozen=True, kw_only=True):
    """What came of asking the model: how it ended and what it cost; or why it failed (`error`), which is tried again
    when the stage is resumed."""

    finish: str = ""
    usage: Usage = Usage()
    error: str = ""


class Sample(Reply, frozen=True, kw_only=True):
    """A solution of a problem, thought included, drawn with `seed`."""

    problem: str
    index: int
    seed: int
    text: str = ""


class Program(Sample, frozen=True, kw_only=True):
    """A program that is to compute the answer of a problem: as a sample is drawn, then run. `outcome` is the sandbox's;
    `value` what it returned, as text."""

    outcome: str = ""
    value: str | None = None


class Critique(Reply, frozen=True, kw_only=True):
    """A feedback for each step of the wrong sample of a pair; one alone where `step` names the step it is on."""

    feedback: tuple[str, ...] = ()
    step: int | None = None


class Correction(Reply, frozen=True, kw_only=True):
    """Another solution of the problem of a pair, written with the critique in view and without the hint."""

    text: str = ""


class Labelled(Row, frozen=True, kw_only=True):
    """A sample, compared with the gold answer. `unknown`: no answer could be read, or it could not be compared.

    `arithmetic_step` is the first step with an equation that does not hold, counting from 1.
    """

    problem: str
    label: Label
    answer: str | None = None
    arithmetic_step: int | None = None


class Pair(Row, frozen=True, kw_only=True):
    """A wrong sample and a right one of the same problem, by their ids."""

    problem: str
    wrong: str
    correct: str


class PairTexts(NamedTuple):
    """What a pair's ids stand for, and all right samples of the problem whose equations hold."""

    problem: Problem
    wrong: Sample
    correct: Sample
    wrong_answer: str
    right: tuple[Sample, ...] = ()


class Judged(Row, frozen=True, kw_only=True):
    """A critique after the rule filter. `reason`: the first rule it breaks; "" where it breaks none.

    `critique` is what a refiner would say: the first wrong step (`critique_step`, counting from 1) and why.
    """

    reason: str = ""
    critique: str = ""
    critique_step: int | None = None


class Corrected(Row, frozen=True, kw_only=True):
    """A correction after the prompt filter; `reason` as in `Judged`."""

    reason: str = ""
    solution: str = ""


class Turn(msgspec.Struct, frozen=True):
    """A message of a training example."""

    role: str
    content: str


class Example(Row, frozen=True, kw_only=True):
    """A training example: the conversation of run time, and what the assistant is to reply. `prefix` is what its reply
    is given to begin with; `target` goes on from there."""

    problem: str
    role: AdapterRole
    messages: tuple[Turn, ...]
    prefix: str = ""
    target: str
    split: Literal["train", "dev"]
    meta: dict[str, bool | int | str | None] = {}
