"""What of a text goes to the clipboard."""

from __future__ import annotations

from tui.markup import parser


def code_of(text: str) -> str:
    """The code blocks of a Markdown text, joined by empty lines."""
    blocks = (token.content for token in parser().parse(text) if token.type == "fence")
    return "\n".join(blocks).rstrip("\n")
