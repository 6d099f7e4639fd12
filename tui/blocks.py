"""Cuts growing Markdown into blocks, so that only the last one is ever rendered again.

A block ends at a blank line, where a code fence closes, or, where neither comes, once it is too long.
"""

from __future__ import annotations

import re

LONGEST = 1000  # characters of the block that still grows: what one update may cost
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
        position, fence = 0, ""
        for line in self.tail.splitlines(keepends=True):
            if not line.endswith("\n"):
                break
            position += len(line)
            marker = _FENCE.match(line)
            if fence and marker and line.strip() == marker[1] and marker[1].startswith(_marks(fence)):
                return self._end(position)
            if not fence and marker:
                fence = line
            elif not fence and not line.strip():
                return self._end(position)
        return len(self.tail) > LONGEST and self._split(fence)

    def _split(self, fence: str) -> bool:
        """Ends a block in the middle of what it says: at a line, else at a word. Code goes on in a fence of its own."""
        cut = max(self.tail.rfind("\n", len(fence), LONGEST), 0) or max(self.tail.rfind(" ", len(fence), LONGEST), 0)
        cut = cut + 1 if cut else LONGEST
        self._end(cut)
        if fence:
            self.finished[-1] = f"{self.finished[-1].rstrip()}\n{_marks(fence)}\n"
            self.tail = fence + self.tail
        return True

    def _end(self, cut: int) -> bool:
        block, self.tail = self.tail[:cut], self.tail[cut:]
        if block.strip():
            self.finished.append(block)
        return True


def _marks(fence: str) -> str:
    """The backticks or tildes of a fence's first line."""
    found = _FENCE.match(fence)
    return found[1] if found else ""
