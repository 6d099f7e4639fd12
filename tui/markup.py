"""Markdown as models write it: with LaTeX in it, with line breaks that mean one, and with nothing to be executed.

The tokens are markdown-it's; formulas are text tokens already. Raw HTML is text, links are not followed.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from tui.maths import LONGEST, to_unicode

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline

_ARGUMENTS = r"(?:\[[^\[\]\n]*\])?(?:\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})+"
_FORMULAS = [
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"\\\((.+?)\\\)",
        r"\\\[(.+?)\\\]",
        r"\$\$(.+?)\$\$",
        r"\$(?!\s)([^$\n]+?)(?<!\s)\$(?!\d)",
        r"(\\begin\{(?P<name>\w+\*?)\}.+?\\end\{(?P=name)\})",
        rf"(\\[a-zA-Z]+{_ARGUMENTS})",  # \boxed{42} and \frac{1}{2}, which models write without delimiters
        r"(\\(?:times|div|cdot|approx|neq?|leq?|geq?|pm|pi|sqrt|infty|to|Rightarrow)(?![a-zA-Z]))",
    )
]
_PROSE = re.compile(r"[A-Za-z]{2,}\s+[A-Za-z]{2,}")
_PRODUCT = re.compile(r"(?<=[\w)\]])\*(?=[\w(\[])")


@cache
def parser(formulas: bool = True) -> MarkdownIt:
    """With or without `formulas` as Unicode. Safe to share: it keeps nothing between two texts."""
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    markdown.disable(["html_block", "html_inline", "lheading", "code", "reference"])
    markdown.inline.ruler.before("escape", "formula", _formula if formulas else _untouched)
    markdown.inline.ruler.before("emphasis", "product", _product)
    markdown.core.ruler.push("line breaks", _keep_line_breaks)
    return markdown


def one_line_of(text: str) -> str:
    """A text without its markup, formulas as Unicode, for a row of a table."""
    parts = (child for token in parser().parseInline(text) for child in token.children or ())
    return " ".join("".join(part.content or " " * (part.type == "hardbreak") for part in parts).split())


def _formula(state: StateInline, silent: bool) -> bool:
    """A formula whose end has come; one that is still being written stays as it is."""
    if state.src[state.pos] not in "\\$":
        return False
    for pattern in _FORMULAS:
        found = pattern.match(state.src, state.pos, min(state.posMax, state.pos + LONGEST))
        if found and not _is_money(found[1], found[0]):
            if not silent:
                state.push("text", "", 0).content = to_unicode(found[1])
            state.pos = found.end()
            return True
    return False


def _untouched(state: StateInline, silent: bool) -> bool:
    r"""A backslash that Markdown would swallow stays: \( and \[ begin a formula."""
    if not state.src.startswith(("\\(", "\\)", "\\[", "\\]"), state.pos):
        return False
    if not silent:
        state.push("text", "", 0).content = state.src[state.pos : state.pos + 2]
    state.pos += 2
    return True


def _is_money(inside: str, whole: str) -> bool:
    """Between the dollars of two prices there are words: "it costs $5 a piece and 3$"."""
    return whole[0] == "$" and "\\" not in inside and _PROSE.search(inside) is not None


def _product(state: StateInline, silent: bool) -> bool:
    """The asterisks of 2*3*4 multiply, whatever CommonMark says."""
    if not _PRODUCT.match(state.src, state.pos, state.posMax):
        return False
    if not silent:
        state.push("text", "", 0).content = "*"
    state.pos += 1
    return True


def _keep_line_breaks(state: StateCore) -> None:
    for token in state.tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"
