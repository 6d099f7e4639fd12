"""A model's words, as a terminal may have them."""

from __future__ import annotations

from typing import TextIO


def visible(text: str) -> str:
    """The text with control characters shown, so that no model can move the cursor."""
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable(text: str, stream: TextIO) -> str:
    """The same, with what the stream's encoding cannot take escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return visible(text).encode(encoding, "backslashreplace").decode(encoding)
