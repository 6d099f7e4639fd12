"""What goes in: a problem."""

from __future__ import annotations

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
