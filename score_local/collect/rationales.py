"""Solutions that came with their questions, such as GSM8K's rationales, as examples for a solver: the first lesson of
a model that solves too little by itself to learn from its own solutions."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

import msgspec

from score_local import answers, prompts
from score_local.collect.export import split_of, turns_of
from score_local.collect.records import Example
from score_local.collect.rules import arithmetic_step
from score_local.collect.settings import ExportSettings
from score_local.collect.solutions import numbered, one_line
from score_local.errors import InputError
from score_local.evaluate.datasets import ordinary
from score_local.problem import Problem
from score_local.problem_records import problem_from

_ANNOTATION = re.compile(r"<<.*?>>")  # GSM8K's, for a calculator: "48/2 = <<48/2=24>>24"
_ANSWER = re.compile(r"^####.*", re.MULTILINE)


class Worked(NamedTuple):
    """A line of a problem file that says how its answer comes about, a step a line."""

    problem: Problem
    rationale: str


def worked_in(line: bytes) -> Worked | None:
    """None where the line is something else; a problem without an id is called by a hash. Raises InputError without a
    place where the problem cannot be read, or its answer is of no use."""
    try:
        record = msgspec.json.decode(line, type=dict[str, object])
    except msgspec.DecodeError:
        return None
    rationale = record.get("rationale")
    if not isinstance(rationale, str):
        return None
    problem = problem_from(ordinary(record), hashlib.sha256(line).hexdigest()[:12])
    if answers.equal(_read(f"\\boxed{{{problem.answer}}}", problem), problem.answer, problem.kind) is not True:
        what = f"it has a rationale, and its answer cannot be read as that of a {problem.kind} problem"
        raise InputError(what, next="Mend the answer, or leave the line out")
    return Worked(problem, rationale)


def solution_of(worked: Worked) -> str:
    """The rationale as the solver is asked to write: numbered steps, then the answer in a box."""
    text = _ANSWER.sub("", _ANNOTATION.sub("", worked.rationale))
    steps = numbered([one_line(step) for step in text.splitlines() if step.strip()])
    return f"{steps}\n\\boxed{{{worked.problem.answer}}}"


def solver_example(worked: Worked) -> Example | None:
    """None where the rationale has an equation that does not hold, or ends with another answer than the problem's: it
    teaches nothing good."""
    solution, problem = solution_of(worked), worked.problem
    told = _read(worked.rationale, problem)
    if arithmetic_step(solution) is not None or (
        told and answers.is_right(told, problem.answer, problem.kind) is False
    ):
        return None
    return Example(
        id=f"{problem.id}/rationale",
        problem=problem.id,
        role="solver",
        messages=turns_of(prompts.solve_messages(problem)),
        target=solution,
        split=split_of(problem.id, ExportSettings().dev_share),
    )


def _read(solution: str, problem: Problem) -> str | None:
    return answers.extract(solution, problem.kind, problem.choices)
