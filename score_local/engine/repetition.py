"""Small models run into loops, and a loop would fill the rest of its budget for nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BEFORE_NUMBER = re.compile(r"[\W_]*(?:[^\W\d_]+[\W_]*)?\d*")  # of a line: a word at most
_AFTER_NUMBER = (".", ":", ")", "**")
_LONGEST_OPENING = 40  # characters of a line that are looked at


def in_a_loop(marks: Sequence[int], window: int) -> bool:
    """Whether `marks` (of tokens, say) end with one cycle of at most `window`, three times or more, `window` in all."""
    return window >= 3 and any(_cycles(marks, period, max(window, 3 * period)) for period in range(1, window + 1))


def _cycles(marks: Sequence[int], period: int, span: int) -> bool:
    """Whether the last `span` marks are one cycle of `period`."""
    if len(marks) < span or marks[-1] != marks[-1 - period]:  # which spares most the slices
        return False
    return marks[-span + period :] == marks[-span:-period]


class LoopWatch:
    """Hears a reply as it comes, and tells when it has run into a loop, as `in_a_loop` has it of its pieces.

    The number of a line ("Step 7: ...", "8. ...") is left out of what is compared: a small model that writes the same
    step for ever goes on counting them.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._line = ""  # as far as it has come
        self._marks: list[int] = []
        self._number: list[int] = []  # marks of digits that may turn out to be the number of a line

    def hear(self, piece: str) -> bool:
        """Takes the next piece; whether the reply runs in a loop by now."""
        mark = hash(piece)
        if piece.strip().isdecimal() and _BEFORE_NUMBER.fullmatch(self._line):
            self._number.append(mark)
        else:
            counts = piece.startswith(_AFTER_NUMBER)
            self._marks += [mark] if counts else [*self._number, mark]
            self._number.clear()
        self._line = (self._line + piece).rpartition("\n")[2][:_LONGEST_OPENING]
        return in_a_loop(self._marks, self._window)
