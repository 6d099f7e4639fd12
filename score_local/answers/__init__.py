"""Read the final answer from a solution, and say whether two answers are the same.

Three kinds: a number, a choice letter, an expression. What cannot be read is None, *unknown*; what cannot be compared
is unknown as well, never "different". Reasoning inside think blocks is not part of the answer.
"""

from __future__ import annotations

from score_local.answers import choice, expression, number
from score_local.answers.final import last_read
from score_local.answers.number import parse_number
from score_local.answers.rounded import rounds_to, rounds_to_gold
from score_local.answers.thought import split_thought
from score_local.problem import AnswerKind

__all__ = ["agrees", "equal", "extract", "is_right", "parse_number", "split_thought"]


def extract(text: str, kind: AnswerKind, choices: tuple[str, ...] = ()) -> str | None:
    """The final answer of a solution in its canonical form ("1200", "-1/3", "B", "x + 1"), or None where unknown.

    The last box is trusted first, then the last phrase such as "the answer is" or "####" that offers an answer. Nothing
    else is one: the last number of a text is not taken for it.
    """
    _, solution = split_thought(text)
    if kind == "choice":
        return choice.extract(solution, choices)
    if kind == "number":
        return last_read(solution, lambda final: number.canonical(final.text), number.offered)
    return last_read(solution, expression.canonical, bool)


def equal(left: str | None, right: str | None, kind: AnswerKind) -> bool | None:
    """Whether two answers are the same; None where either is missing, cannot be read, or cannot be compared."""
    if left is None or right is None:
        return None
    if kind == "choice":
        return choice.equal(left, right)
    return number.equal(left, right) if kind == "number" else expression.equal(left, right)


def is_right(answer: str | None, gold: str | None, kind: AnswerKind) -> bool | None:
    """Whether an answer equals the gold one, or is the number that a data set rounded to four or more decimals."""
    same = equal(answer, gold, kind)
    if same is False and kind == "number" and answer is not None and gold is not None:
        return rounds_to_gold(answer, gold)
    return same


def agrees(computed: str, written: str, kind: AnswerKind) -> bool:
    """Whether what a program computed equals a solution's answer, or rounds to it."""
    return equal(computed, written, kind) is True or rounds_to(computed, written, kind)
