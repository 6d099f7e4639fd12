"""Solutions as text that can be compared: their steps, and whether a text names an answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from score_local import answers
from score_local.problem import CHOICE_LETTERS, Problem
from score_local.verifiers.equations import split_steps

_MARKER = re.compile(r"^[\s>#*_-]*(?:step\s*\d{1,3}[*_\s]*[:.)–—-]?|\d{1,3}[.)](?=[\s*]))[*_\s]*", re.IGNORECASE)
_ONLY_A_BOX = re.compile(
    r"^[^\w\n]*(?:(?:so|therefore|thus|the|final|answer|is)[^\w\n]*)*boxed\s*\{.*\}[^\w\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
_NUMBER = re.compile(r"(?<![\w.,])[-−]?\$?\d[\d,]*(?:\.\d+)?(?:/\d+)?")


def steps_of(solution: str) -> list[str]:
    """The steps on one line each, without their markers and without the line that only boxes the answer.

    The n-th entry is step n, as the arithmetic checker counts.
    """
    _, text = answers.split_thought(solution)
    steps = [one_line(_MARKER.sub("", _ONLY_A_BOX.sub("", step).strip(), count=1)) for step in split_steps(text)]
    while steps and not steps[-1]:
        steps.pop()
    return steps


def numbered(steps: Sequence[str]) -> str:
    return "\n".join(f"Step {number}: {step}" for number, step in enumerate(steps, 1))


def one_line(text: str) -> str:
    return " ".join(text.split())


def names_answer(text: str, problem: Problem) -> bool:
    """Whether `text` holds the gold answer: as a number of the same value, as the letter or the words of a choice, as
    the same expression."""
    assert problem.answer is not None, "only asked for problems with a gold answer"
    if problem.kind == "choice":
        return _names_choice(text, problem.answer, problem.choices)
    if answers.parse_number(problem.answer) is None:
        return _squeezed(problem.answer) in _squeezed(text)
    return any(answers.is_right(found.rstrip(","), problem.answer, "number") for found in _NUMBER.findall(text))


def _names_choice(text: str, letter: str, choices: Sequence[str]) -> bool:
    # A bare "A" is an article: the letter counts in brackets, before a full stop, or where it is called an answer.
    named = (
        rf"\({letter}\)|\{{{letter}\}}|\b{letter}[.)]|\b(?:answer|choice|option)(?:\s+(?:is|should be))?\s+{letter}\b"
    )
    words = dict(zip(CHOICE_LETTERS, choices, strict=False)).get(letter, "")
    return re.search(named, text) is not None or (words != "" and words.casefold() in text.casefold())


def _squeezed(text: str) -> str:
    return re.sub(r"[\s\\${}]", "", text)
