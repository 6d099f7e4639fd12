"""Solutions that came with their questions, such as GSM8K's rationales, as examples for a solver: the first lesson of
a model that solves too little by itself to learn from its own solutions."""

from __future__ import annotations

import re

import msgspec

from score_local import prompts
from score_local.collect.export import split_of, turns_of
from score_local.collect.records import Example
from score_local.collect.rules import arithmetic_step
from score_local.collect.settings import ExportSettings
from score_local.collect.solutions import numbered, one_line
from score_local.problem import Problem

_ANNOTATION = re.compile(r"<<.*?>>")  # GSM8K's, for a calculator: "48/2 = <<48/2=24>>24"
_ANSWER = re.compile(r"^####.*", re.MULTILINE)


class Worked(msgspec.Struct, frozen=True):
    """A line of a problem file that says how its answer comes about, a step a line."""

    id: str
    question: str
    answer: str
    rationale: str


def worked_in(line: bytes) -> Worked | None:
    """None where the line is something else."""
    try:
        return msgspec.json.decode(line, type=Worked)
    except msgspec.DecodeError:
        return None


def solution_of(worked: Worked) -> str:
    """The rationale as the solver is asked to write: numbered steps, then the answer in a box."""
    text = _ANSWER.sub("", _ANNOTATION.sub("", worked.rationale))
    return f"{numbered([one_line(step) for step in text.splitlines() if step.strip()])}\n\\boxed{{{worked.answer}}}"


def solver_example(worked: Worked) -> Example | None:
    """None where the rationale has an equation that does not hold: it teaches nothing good."""
    solution = solution_of(worked)
    if arithmetic_step(solution) is not None:
        return None
    return Example(
        id=f"{worked.id}/rationale",
        problem=worked.id,
        role="solver",
        messages=turns_of(prompts.solve_messages(Problem(id=worked.id, question=worked.question))),
        target=solution,
        split=split_of(worked.id, ExportSettings().dev_share),
    )
