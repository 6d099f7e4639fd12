"""What goes in: a problem."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec

AnswerKind = Literal["number", "choice", "expression"]
CHOICE_LETTERS = "ABCDEFGHIJ"


class Problem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question, perhaps with its gold answer, perhaps with choices (labelled A, B, ... in their order).

    `answer` of a choice problem is the letter. `kind` says how answers are read and compared.
    """

    id: str
    question: str
    answer: str | None = None
    choices: tuple[str, ...] = ()
    kind: AnswerKind = "number"


def selected(problems: Sequence[Problem], limit: int | None = None, shuffle: int | None = None) -> tuple[Problem, ...]:
    """The first `limit` of them (None: all), in an order drawn with the seed `shuffle` (None: as they are).

    The order is that of a hash of seed and question, so it hangs on neither ids nor the file's order, and a larger
    sample of one seed holds the smaller ones.
    """
    if shuffle is not None:
        problems = sorted(problems, key=lambda problem: _place(problem.question, shuffle))
    return tuple(problems[:limit])


def _place(question: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\n{question}".encode()).digest()
