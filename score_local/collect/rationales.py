"""Solutions that came with their questions, such as GSM8K's rationales, as examples for a solver or a programmer: the
first lesson of a model that solves too little by itself to learn from what it writes."""

from __future__ import annotations

import ast
import hashlib
import itertools
import keyword
import re
from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import NamedTuple

import msgspec

from score_local import answers, prompts
from score_local.collect.export import programmer_example, split_of, turns_of
from score_local.collect.records import Example
from score_local.collect.rules import arithmetic_step
from score_local.collect.settings import ExportSettings
from score_local.collect.solutions import numbered, one_line
from score_local.errors import InputError
from score_local.evaluate.datasets import ordinary
from score_local.problem import Problem
from score_local.problem_records import problem_from

_ANNOTATION = re.compile(r"<<.*?>>")  # GSM8K's, for a calculator: "48/2 = <<48/2=24>>24"
_STEP = re.compile(r"<<(?P<terms>[^<=>]+)=(?P<value>[^<=>]+)>>\s*[$\d.,/]*\s*(?P<of>[A-Za-z]+)?")
_PLAIN = re.compile(r"[\d.+\-*/() ]+")  # what Python computes as it is written
_NAMED = re.compile(r"[a-z]+_\d+")  # a variable whose name ends in digits
_TERM = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_ANSWER = re.compile(r"^####.*", re.MULTILINE)
_WORD = re.compile(r"[a-z]+")
_ONES = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
_TENS = "ten twenty thirty forty fifty sixty seventy eighty ninety hundred"
_SPELLED = {word: Fraction(n) for n, word in enumerate(f"{_ONES} eighteen nineteen".split(), 1)} | {
    word: Fraction(10 * n) for n, word in enumerate(_TENS.split(), 1)
}
# What needs no saying: parts, days of the week, dozens, units of time, percent.
_COMMON = frozenset(map(Fraction, (1, 2, 3, 4, 7, 10, 12, 24, 30, 52, 60, 100, 365, 1000)))


class Worked(NamedTuple):
    """A line of a problem file that says how its answer comes about, a step a line."""

    problem: Problem
    rationale: str


def worked_in(line: bytes) -> Worked | None:
    """None where the line is something else; a problem without an id is called by a hash. Raises InputError without a
    place where the problem cannot be read, or its answer is of no use."""
    try:
        record = msgspec.json.decode(line, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
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
    steps = numbered([one_line(_ANNOTATION.sub("", step)) for step in steps_of(worked)])
    return f"{steps}\n\\boxed{{{worked.problem.answer}}}"


def steps_of(worked: Worked) -> list[str]:
    """The lines of the rationale, without that of the answer."""
    return [line.strip() for line in _ANSWER.sub("", worked.rationale).splitlines() if line.strip()]


def calculations_in(worked: Worked) -> int:
    """How many the rationale is annotated with."""
    return len(_STEP.findall(worked.rationale))


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


def calculated_example(worked: Worked) -> Example | None:
    """For a programmer. None where the rationale has no calculations, or they do not lead to the answer."""
    body, problem = program_of(worked), worked.problem
    if body is None:
        return None
    return programmer_example(f"{problem.id}/rationale", problem, body, problem.answer, ExportSettings())


def program_of(worked: Worked) -> str | None:
    """The body of a function that computes what the rationale's annotations compute, a variable a step, called by what
    it counts. None where one does not hold or cannot be computed, where it takes a number that the question does not
    give (a rationale may compute in words), or the last is not the answer."""
    names, lines, value = dict[Fraction, str](), list[str](), ""
    given = _numbers(worked.problem.question)
    known = given | _implied(worked.problem.question)
    for step in _STEP.finditer(worked.rationale):
        terms, value = step["terms"].replace(",", ""), step["value"].replace(",", "")
        name, amount = _name(step["of"], names.values()), answers.parse_number(value)
        computed = _computed(terms, {number: name for number, name in names.items() if number not in given})
        if amount is None or computed is None or arithmetic_step(f"{terms} = {value}") is not None:
            return None
        if not _numbers(_NAMED.sub("", computed)) <= known:
            return None
        lines.append(f"    {name} = {computed}")
        names[amount] = name
    if answers.is_right(_read(f"\\boxed{{{value}}}", worked.problem), worked.problem.answer, "number") is not True:
        return None
    return "\n".join([*lines, f"    return {name}"])


def _numbers(text: str) -> set[Fraction]:
    return {Fraction(number) for number in _TERM.findall(text.replace(",", ""))}


def _implied(question: str) -> set[Fraction]:
    """The numbers that follow from a question without being in it as digits: spelled, common ones, and with each its
    percentage, what is left of a whole by that or comes on top, and its part."""
    spelled = {_SPELLED[word] for word in _WORD.findall(question.lower()) if word in _SPELLED}
    numbers = _numbers(question) | spelled | _COMMON
    percent = {number / 100 for number in numbers}
    return numbers | percent | {1 - p for p in percent} | {1 + p for p in percent} | {1 / n for n in numbers if n}


def _computed(terms: str, known: Mapping[Fraction, str]) -> str | None:
    """Terms in Python, as programmers write them; what was computed before by its name. None where Python means
    something else, or nothing, by them."""
    if not _PLAIN.fullmatch(terms):
        return None
    named = _TERM.sub(lambda term: known.get(Fraction(term[0]), _literal(term[0])), terms)
    try:
        return ast.unparse(ast.parse(named.strip(), mode="eval"))
    except SyntaxError:
        return None


def _name(of: str | None, taken: Collection[str]) -> str:
    """A variable's name that is not taken yet."""
    word = (of or "").lower()
    word = "amount" if not word or keyword.iskeyword(word) or keyword.issoftkeyword(word) else word
    numbered = (f"{word}_{i}" for i in itertools.count(2))
    return word if word not in taken else next(name for name in numbered if name not in taken)


def _literal(number: str) -> str:
    """A number as Python wants it: without zeros before it."""
    return re.sub(r"^0+(?=\d)", "", number)


def _read(solution: str, problem: Problem) -> str | None:
    return answers.extract(solution, problem.kind, problem.choices)
