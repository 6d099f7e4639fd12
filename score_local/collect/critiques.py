"""Reads what a critique says of a step: whether it calls it correct, and why not. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from score_local import answers
from score_local.collect.solutions import one_line

_NOT = r"(?:not|never|cannot|(?:ca|is|are|was|were|do|does|did|could|would)n['’]t)"
_HARDLY = r"(?:(?:quite|entirely|fully|exactly|completely)\s+)?"
_NEGATED = rf"{_NOT}\s+(?:(?:be|look|seem|appear)\s+(?:to\s+be\s+)?)?{_HARDLY}"
_WRONG = rf"(?:incorrect|wrong|mistaken|false|{_NEGATED}(?:correct|right|true))"
_NOT_THE_RIGHT = rf"{_NEGATED}(?:the|an?)\s+{_HARDLY}(?:correct|right|true)"  # what follows is part of the reason
_NOT_WRONG = rf"(?:{_NEGATED}|(?:nothing|no)\s+(?:is\s+)?{_HARDLY})(?:incorrect|wrong|mistaken|false)"
_VERDICT = re.compile(rf"\b(?:{_NOT_WRONG}|(?P<wrong>{_WRONG}|{_NOT_THE_RIGHT})|correct|right)\b", re.IGNORECASE)
_OPENING = re.compile(
    rf"^(?:(?:(?:this|the|that)\s+step|it|this|that)\s+(?:(?:is|does|do|can|could|would)\s+)?)?{_WRONG}\b[\s.,:;!–—-]*",
    re.IGNORECASE,
)
OPENING = "It should be"  # of what is said of the first wrong step alone
_SHOULD_BE = re.compile(rf"{OPENING}:?\s+(?P<step>.+?)(?:,?\s+because\b.*|\.\s.*|\.?)$", re.DOTALL)


def feedback_of(reply: str) -> str:
    """A feedback on one line, without thought and without the label that some models put before it."""
    _, text = answers.split_thought(reply)
    return re.sub(r"^[\s*_]*feedback[\s*_]*:[\s*_]*", "", one_line(text), flags=re.IGNORECASE)


def calls_correct(feedback: str) -> bool | None:
    """What its first verdict says; None where it gives none."""
    found = _VERDICT.search(feedback)
    return None if found is None else found["wrong"] is None


def first_wrong(feedbacks: Sequence[str]) -> int | None:
    """The number of the first step that is called incorrect, counting from 1."""
    return next((n for n, feedback in enumerate(feedbacks, 1) if calls_correct(feedback) is False), None)


def reason_of(feedback: str) -> str:
    """Why a step is wrong: the feedback without the words that only say so."""
    rest = _OPENING.sub("", feedback, count=1)
    return rest[:1].upper() + rest[1:]


def exported(step: int, feedback: str) -> str:
    """What a refiner is to say of the first wrong step."""
    return f"Step {step} is the first wrong step. {reason_of(feedback)}"


def should_be(critique: str) -> str:
    """What a critique puts in place of the wrong step: a calculation or a number; "" where it gives neither."""
    found = _SHOULD_BE.search(critique)
    return found["step"] if found and re.search(r"\d", found["step"]) else ""
