"""Think blocks: what a reasoning model writes to itself before it answers."""

from __future__ import annotations

import re

_TAG = re.compile(r"<(/?)think>", re.IGNORECASE)


def split_thought(text: str) -> tuple[str, str]:
    """The thought and the rest of a completion.

    A block that is not closed goes on to the end. A closing tag without an opening one closes a block that the chat
    template opened, so all before it is thought. Several blocks are joined with a newline.
    """
    thoughts: list[str] = []
    rest: list[str] = []
    start, open_ = 0, False
    for tag in _TAG.finditer(text):
        piece, closing = text[start : tag.start()], tag[1] == "/"
        if open_:
            thoughts.append(piece)
        elif closing and not thoughts:
            thoughts, rest = [*rest, piece], []
        else:
            rest.append(piece)
        start, open_ = tag.end(), not closing
    (thoughts if open_ else rest).append(text[start:])
    return "\n".join(filter(None, (thought.strip() for thought in thoughts))), "".join(rest)
