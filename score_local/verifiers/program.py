"""*program*: the model writes a Python function that computes the answer; it is run in the sandbox, and what it returns
is compared with the solution's answer.

The program is drawn in a conversation of its own: it never sees the solution, so it does not inherit its mistakes, and
system turn and worked examples are the same for all problems, so the cache pays for them once a run.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from importlib import resources

import msgspec

from score_local import answers
from score_local.answers.number import spell
from score_local.answers.rounded import SIGNIFICANT
from score_local.engine.protocol import Completion, Generate, Message, Phase, Sampling, Usage
from score_local.engine.steps import Steps, ask_all, generate_all
from score_local.problem import CHOICE_LETTERS, Problem
from score_local.prompts import Conversation
from score_local.sandbox.protocol import Ran, RunProgram
from score_local.trace import Signal
from score_local.verifiers.case import Case
from score_local.verifiers.draws import seed_of

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable
else:
    from importlib.abc import Traversable

FENCE = "```"
PREFIX = f"{FENCE}python\ndef solution():\n"
MAX_TOKENS = 256
# A program that agrees, and one that does not, weigh as much as these counts of (disagreeing, all) programs seen
# before: measured on 100 problems of GSM8K train (see `_p_incorrect`).
PRIOR_DISAGREEING, PRIOR = 1.0, 2.0
# A float is written with 15 to 17 digits where it is not exact, and all behind the twelfth may be noise; not so the
# units and cents of a large sum. More digits has only a Decimal, which is exact.
FLOAT_DIGITS = range(15, 18)
CENTS = 2
_DECIMAL = re.compile(r"(\d+)\.(\d+)(?:e([-+]\d+))?", re.IGNORECASE)


def program_verifier(case: Case) -> Steps[Signal]:
    """P(incorrect) from the share of programs that disagree: one greedy program and `verify.programs` drawn ones.

    Unknown where no program ran to a value, where the solution holds no answer, and for a choice between anything but
    numbers.
    """
    problem, answer = case.problem, case.attempt.answer
    if not computable(problem):
        return Signal("program", None, "a choice between texts cannot be computed")
    if answer is None:
        return Signal("program", None, "the solution holds no answer")
    count = case.policy.verify.programs + 1
    usage = yield from _write(case, count)
    ran, found = case.shared.programs[:count], stated_answers(case, count)
    if not found:
        return Signal("program", None, _why_none(ran), details={"programs": count}, usage=usage)
    return msgspec.structs.replace(_signal(found, count, answer, problem), usage=usage)


def program_messages(problem: Problem) -> Conversation:
    """Asks for a program; the same beginning for every problem."""
    return (*_beginning(), Message("user", problem.question.strip()))


def program_request(problem: Problem, sampling: Sampling, adapter: str | None, phase: Phase = "verify") -> Generate:
    """Asks for a program that is as long as programs may be, and ends with its fence."""
    sampling = replace(sampling, max_tokens=MAX_TOKENS, stop=(FENCE,))
    return Generate(program_messages(problem), adapter=adapter, phase=phase, sampling=sampling, prefix=PREFIX)


def write_programs(case: Case) -> Steps[Usage]:
    """Has the programs that the policy asks for written and run where they are missing; what the writing cost."""
    if not computable(case.problem):
        return Usage()
    return (yield from _write(case, case.policy.verify.programs + 1))


def stated_answers(case: Case, count: int | None = None) -> list[str]:
    """The answers of those of the first `count` programs (None: of all) that were written and ran to one."""
    values = [ran.value for ran in case.shared.programs[:count]]
    return [stated for value in values if (stated := stated_answer(value, case.problem)) is not None]


def program_hint(case: Case) -> str:
    """What most programs compute, as a hint for the refiner; "" where there is none, or where it is the solution's
    answer."""
    stated = stated_answers(case)
    if not stated:
        return ""
    favourite = Counter(stated).most_common(1)[0][0]
    known = case.attempt.answer is not None and answers.agrees(favourite, case.attempt.answer, case.problem.kind)
    return "" if known else hint_of(favourite)


def hint_of(answer: str) -> str:
    """What a refiner is told of the answer that a program computed."""
    return _text("hint").replace("{answer}", answer)


def source_of(reply: str) -> str:
    """The program of a reply: what stands in its (first) fence, or all of it."""
    fenced = re.search(r"```\w*\n(.*?)(?:```|\Z)", reply, re.DOTALL)
    return fenced[1] if fenced else reply


def _request(case: Case, sample: int) -> Generate:
    """The first program is greedy."""
    drawn = case.policy.verify.sampling.sampling(seed_of(case.policy.seed, case.problem.id, sample))
    sampling = drawn if sample else replace(drawn, temperature=0.0)
    return program_request(case.problem, sampling, case.policy.adapter("programmer"))


def _write(case: Case, count: int) -> Steps[Usage]:
    """Has those of the first `count` programs written and run that are missing; what the writing cost."""
    missing = range(len(case.shared.programs), count)
    if not missing:
        return Usage()
    replies = yield from generate_all([_request(case, index) for index in missing])
    ran = yield from ask_all([RunProgram(source_of(r.text)) for r in replies if isinstance(r, Completion)])
    outcomes = iter(ran)
    for reply in replies:
        outcome = next(outcomes) if isinstance(reply, Completion) else reply
        case.shared.programs.append(outcome if isinstance(outcome, Ran) else Ran("error", str(outcome)))
    return sum((reply.usage for reply in replies if isinstance(reply, Completion)), Usage())


def _signal(found: list[str], programs: int, answer: str, problem: Problem) -> Signal:
    agree = sum(answers.agrees(stated, answer, problem.kind) for stated in found)
    favourite, votes = Counter(found).most_common(1)[0]
    reason = f"program says {favourite}"
    if programs > 1:
        reason = f"{agree} of {len(found)} programs agree, {votes} say {favourite}"
    return Signal(
        "program",
        _p_incorrect(len(found) - agree, len(found)),
        reason,
        details={"programs": programs, "ran": len(found), "agree": agree, "favourite": favourite, "votes": votes},
    )


def _p_incorrect(disagreeing: int, ran: int) -> float:
    """The share of disagreeing programs, smoothed: one program is not certain of anything."""
    return (disagreeing + PRIOR_DISAGREEING) / (ran + PRIOR)


def _why_none(ran: Sequence[Ran]) -> str:
    failed = [f"{one.outcome}: {one.text}" for one in ran if one.value is None]
    values = [f"its value is no answer: {one.value}" for one in ran if one.value is not None]
    return f"no program ran: {(failed or values)[0]}"


def computable(problem: Problem) -> bool:
    """Whether a program can compute the answer; of choices, only where each is a number of its own."""
    if problem.kind != "choice":
        return True
    values = [answers.parse_number(choice) for choice in problem.choices]
    return None not in values and len(set(values)) == len(values) > 0


def stated_answer(value: str | None, problem: Problem) -> str | None:
    """A program's value as an answer: a number without its noise, the letter of a choice; None where it is none."""
    if value is None:
        return None
    if problem.kind == "expression":
        return _expression(value)
    number = _number(value)
    if number is None:
        return None
    if problem.kind == "number":
        return spell(number)
    values = [answers.parse_number(choice) for choice in problem.choices]
    return CHOICE_LETTERS[values.index(number)] if number in values else None


def _expression(value: str) -> str | None:
    """None for a truth value, which may mean yes, even or possible, and for a formula of rounded floats."""
    if _DECIMAL.fullmatch(value.lstrip("-")):
        number = _number(value)
        return None if number is None else spell(number)
    rounded = any(_digits(decimal) in FLOAT_DIGITS for decimal in _DECIMAL.finditer(value))
    return None if rounded or value in ("True", "False") else value


def _number(value: str) -> Fraction | None:
    """Exactly what the text says, but for the noise of a float."""
    number, decimal = answers.parse_number(value), _DECIMAL.search(value)
    if number is None or decimal is None or number.denominator == 1 or _digits(decimal) not in FLOAT_DIGITS:
        return number
    places = SIGNIFICANT - _digits(decimal) + len(decimal[2]) - int(decimal[3] or 0)
    return round(number, max(places, CENTS))


def _digits(decimal: re.Match[str]) -> int:
    """How many significant digits are written."""
    return len((decimal[1] + decimal[2]).lstrip("0"))


class _Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worked example of `program_prompt/examples.toml`: a problem and the body of its function."""

    question: str
    body: str


@cache
def _beginning() -> Conversation:
    """The system turn and the worked examples."""
    content = _folder().joinpath("examples.toml").read_bytes()
    turns = [Message("system", _text("system"))]
    for example in msgspec.toml.decode(content, type=dict[str, tuple[_Example, ...]])["example"]:
        body = example.body.strip("\n")
        turns += [Message("user", example.question), Message("assistant", f"{PREFIX}{body}\n{FENCE}")]
    return tuple(turns)


@cache
def _text(name: str) -> str:
    return _folder().joinpath(f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")


def _folder() -> Traversable:
    return resources.files("score_local.verifiers") / "program_prompt"
