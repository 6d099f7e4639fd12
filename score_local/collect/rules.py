"""The two filters of SCORE, as tables of rules: a name that the funnel counts under, and when the rule is broken. Pure.

Whatever cannot be told breaks a rule: failure never counts as good. Rules are looked at in their order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from score_local import answers
from score_local.collect.critiques import OPENING, calls_correct, exported, first_wrong, reason_of, should_be
from score_local.collect.records import FAILED, Corrected, Correction, Critique, Judged
from score_local.collect.solutions import names_answer, steps_of
from score_local.problem import Problem
from score_local.prompts import split_refinement
from score_local.verifiers import equations

SHORTEST_REASON = 3  # words
LONGEST_QUOTE = 7  # words in a row that a critique may share with the hint alone

_HINT = re.compile(
    r"\bhints?\b|\b(?:correct|right|other|reference|given|provided|second|gold|model) (?:solution|answer key)\b"
    r"|\b(?:reference|gold|given|expected) answer\b|\bfor comparison\b|\banswer key\b",
    re.IGNORECASE,
)


_NUMBER = re.compile(r"(?<![\w.,])[-−]?\d(?:[\d,]*\d)?(?:\.\d+)?")
_RESULT = re.compile(r"=\s*\$?([-−]?\d(?:[\d,]*\d)?(?:\.\d+)?)")
_FIRST_STEP = re.compile(r"^\W*step\s*1\b", re.IGNORECASE | re.MULTILINE)
_CRITIQUE = re.compile(r"\b(?:feedback|critique|first wrong step|hint|earlier attempt)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Critiqued:
    """A critique, and all that it is judged by: the problem, the wrong solution, the right one that was the hint."""

    problem: Problem
    wrong: str
    hint: str
    critique: Critique

    @cached_property
    def steps(self) -> list[str]:
        return steps_of(self.wrong)

    @property
    def feedback(self) -> tuple[str, ...]:
        return self.critique.feedback

    @cached_property
    def first(self) -> int | None:
        """The first step that is called wrong."""
        return first_wrong(self.feedback) if self.critique.step is None else self.critique.step

    @property
    def first_feedback(self) -> str:
        """What a refiner would learn to say; "" where no step is called wrong."""
        if self.critique.step is not None:
            return self.feedback[0] if self.feedback else ""
        return "" if self.first is None else self.feedback[self.first - 1]


@dataclass(frozen=True)
class Attempted:
    """A correction, and what it is judged by."""

    problem: Problem
    correction: Correction

    @cached_property
    def solution(self) -> str:
        return split_refinement(answers.split_thought(self.correction.text)[1])[1]

    @property
    def answer(self) -> str | None:
        return answers.extract(self.solution, self.problem.kind, self.problem.choices)


class CritiqueRule(NamedTuple):
    name: str
    broken: Callable[[Critiqued], bool]


class CorrectionRule(NamedTuple):
    name: str
    broken: Callable[[Attempted], bool]


def _says_enough(reason: str) -> bool:
    return len(reason.removeprefix(OPENING).split()) >= SHORTEST_REASON


def _against_arithmetic(critiqued: Critiqued) -> bool:
    """It calls every step correct up to one that comes after an equation that does not hold."""
    slip = arithmetic_step(critiqued.wrong)
    return slip is not None and critiqued.first is not None and slip < critiqued.first


def _quotes_hint(critiqued: Critiqued) -> bool:
    """It has more words in a row from the hint than the question and the wrong solution could have lent it."""
    known = set(_runs(critiqued.problem.question)) | set(_runs(critiqued.wrong))
    return bool((set(_runs(critiqued.first_feedback)) & set(_runs(critiqued.hint))) - known)


def _repeats_wrong_step(critiqued: Critiqued) -> bool:
    """What the step should be is what it is: the same calculation, or one number, the one that the step comes to."""
    mended = should_be(critiqued.first_feedback).rstrip(".")
    step = critiqued.steps[(critiqued.first or 1) - 1]
    numbers, results = _NUMBER.findall(mended), _RESULT.findall(step)
    if len(numbers) == 1 and results:
        return answers.equal(numbers[0], results[-1], "number") is True
    return bool(mended) and _calculates("".join(step.split()), "".join(mended.split()))


def _calculates(step: str, calculation: str) -> bool:
    """Whether the calculation stands in the step, and is no piece of a number or of a longer calculation there."""
    return re.search(rf"(?<![\d.,+*/×÷−-]){re.escape(calculation)}(?![.,]?\d|[+*/×÷−-])", step) is not None


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    """All runs of one word more than may be quoted."""
    words, length = re.findall(r"\w+", text.casefold()), LONGEST_QUOTE + 1
    return (tuple(words[start : start + length]) for start in range(len(words) - length + 1))


# SCORE's rules: a feedback for each step (and each step copied exactly, which holds because the steps are handed over
# one by one), and where the right answer stands. The others keep out what is certainly wrong, and the hint.
EVERY_STEP_RULES: Sequence[CritiqueRule] = (
    CritiqueRule(FAILED, lambda c: c.critique.error != ""),
    CritiqueRule("cut off", lambda c: c.critique.finish != "stop"),
    CritiqueRule("not one feedback for each step", lambda c: len(c.feedback) != len(c.steps)),
    CritiqueRule("a feedback gives no verdict", lambda c: any(calls_correct(said) is None for said in c.feedback)),
    CritiqueRule("calls every step correct", lambda c: c.first is None),
    CritiqueRule("does not say what is wrong", lambda c: not _says_enough(reason_of(c.first_feedback))),
    CritiqueRule("calls a step correct whose equation does not hold", _against_arithmetic),
    CritiqueRule("the last feedback lacks the right answer", lambda c: not names_answer(c.feedback[-1], c.problem)),
    CritiqueRule("the wrong last step holds the right answer", lambda c: names_answer(c.steps[-1], c.problem)),
    CritiqueRule("speaks of the hint", lambda c: _HINT.search(c.first_feedback) is not None),
    CritiqueRule("quotes the hint", _quotes_hint),
)
# Where the model was told which step is wrong, it can be mistaken in what it says of it only.
FIRST_STEP_RULES: Sequence[CritiqueRule] = (
    CritiqueRule(FAILED, lambda c: c.critique.error != ""),
    CritiqueRule("cut off", lambda c: c.critique.finish != "stop"),
    CritiqueRule("does not say what it should be", lambda c: not _says_enough(c.first_feedback)),
    CritiqueRule("repeats the wrong step", _repeats_wrong_step),
    CritiqueRule("an equation of it does not hold", lambda c: arithmetic_step(c.first_feedback) is not None),
    CritiqueRule("the wrong last step holds the right answer", lambda c: names_answer(c.steps[-1], c.problem)),
    CritiqueRule("speaks of the hint", lambda c: _HINT.search(c.first_feedback) is not None),
)

CORRECTION_RULES: Sequence[CorrectionRule] = (
    CorrectionRule(FAILED, lambda a: a.correction.error != ""),
    CorrectionRule("cut off", lambda a: a.correction.finish != "stop"),
    CorrectionRule("no answer", lambda a: a.answer is None),
    CorrectionRule(
        "not the gold answer", lambda a: answers.is_right(a.answer, a.problem.answer, a.problem.kind) is not True
    ),
    CorrectionRule("no step", lambda a: _FIRST_STEP.search(a.solution) is None),
    CorrectionRule("an equation does not hold", lambda a: arithmetic_step(a.solution) is not None),
    CorrectionRule("speaks of the critique", lambda a: _CRITIQUE.search(a.solution) is not None),
)


def judge_critique(critiqued: Critiqued) -> Judged:
    """The first rule that a critique breaks, or what a refiner would say."""
    key = critiqued.critique.id
    for rule in EVERY_STEP_RULES if critiqued.critique.step is None else FIRST_STEP_RULES:
        if rule.broken(critiqued):
            return Judged(id=key, reason=rule.name)
    assert critiqued.first is not None, "else it calls every step correct"
    return Judged(id=key, critique=exported(critiqued.first, critiqued.first_feedback), critique_step=critiqued.first)


def judge_correction(attempted: Attempted) -> Corrected:
    """The first rule that a correction breaks, or the corrected solution."""
    key = attempted.correction.id
    for rule in CORRECTION_RULES:
        if rule.broken(attempted):
            return Corrected(id=key, reason=rule.name)
    return Corrected(id=key, solution=attempted.solution)


def arithmetic_step(solution: str) -> int | None:
    """The first step with an equation that certainly does not hold, counting from 1."""
    _, text = answers.split_thought(solution)
    wrong = equations.first_wrong(equations.check_steps(equations.split_steps(text)))
    return wrong.step if wrong else None
