"""Cuts growing Markdown into blocks, so that only the last one is ever rendered again.

A block ends at a blank line, where a code fence closes, or, where neither comes, once it is too long.
"""

from __future__ import annotations

import re
from io import StringIO

LONGEST = 1000  # characters of the block that still grows: what one update may cost
LONGEST_FENCE = 80  # of the lines that open one: of a longer one the marks alone are repeated
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[^\n]*")


class Blocks:
    """`finished` blocks never change; `tail` grows until it is one."""

    def __init__(self) -> None:
        self.finished: list[str] = []
        self.tail = ""

    def feed(self, text: str) -> None:
        """Takes what was written since; any piece of it, also half a line."""
        for start in range(0, len(text), LONGEST):
            self.tail += text[start : start + LONGEST]
            while self._cut():
                pass

    def _cut(self) -> bool:
        position, opened, fence = 0, 0, ""
        for line in StringIO(self.tail, newline="\n"):  # a model may write other line breaks, which end no line here
            if not line.endswith("\n"):
                break
            position += len(line)
            marker = _FENCE.match(line)
            if fence and marker and line.strip() == marker[1] and marker[1].startswith(_marks(fence)):
                return self._end(position)
            if not fence and marker:
                opened, fence = position - len(line), line
            elif not fence and not line.strip():
                return self._end(position)
        return len(self.tail) > LONGEST and self._split(fence, opened)

    def _split(self, fence: str, opened: int) -> bool:
        """Ends a block in the middle of what it says: at a line, else at a word. Code goes on in a fence of its own."""
        within = opened + len(fence) if opened + len(fence) < LONGEST else 0  # not in the line that opens it
        cut = max(self.tail.rfind("\n", within, LONGEST), 0) or max(self.tail.rfind(" ", within, LONGEST), 0)
        cut = cut + 1 if cut else LONGEST
        self._end(cut)
        if fence and opened < cut:
            self.finished[-1] = f"{self.finished[-1].rstrip()}\n{_marks(fence)}\n"
            # What is put back must be less than what was cut, or this never ends.
            self.tail = (fence if len(fence) <= LONGEST_FENCE else f"{_marks(fence)}\n") + self.tail
        return True

    def _end(self, cut: int) -> bool:
        block, self.tail = self.tail[:cut], self.tail[cut:]
        if block.strip():
            self.finished.append(block)
        return True


def _marks(fence: str) -> str:
    """The backticks or tildes of a fence's first line."""
    found = _FENCE.match(fence)
    return found[1][:LONGEST_FENCE] if found else ""
