"""From a section of a text to lines on the screen: Markdown with formulas, or the source; marks in a gutter, notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from rich.theme import Theme
from textual.strip import Strip

from tui.markup import one_line_of, parser

if TYPE_CHECKING:
    from rich.markdown import Markdown

Mark = Literal["", "wrong", "added", "removed"]
SIGNS: Mapping[Mark, str] = {"": "  ", "wrong": "✗ ", "added": "+ ", "removed": "- "}
GUTTER = 2
THEME = Theme({"markdown.code": "bold", "markdown.code_block": "none", "markdown.item.number": "bold"}, inherit=True)


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of text; `mark` stands in a gutter beside it, and `note` under it. `gap`: an empty line follows."""

    text: str
    mark: Mark = ""
    note: str = ""
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Renderer:
    """How sections are drawn: `width` cells wide, marks in their `styles`, `formulas` as Unicode; or their `source`."""

    console: Console
    width: int
    styles: Mapping[Mark, Style]
    dark: bool = True
    source: bool = False
    formulas: bool = True

    def lines(self, section: Section, *, gutter: bool) -> list[Strip]:
        """The lines of a section; none where there is nothing but spaces."""
        if not section.text.strip():
            return []
        width = max(1, self.width - GUTTER * gutter)
        strips = self._plain(section.text, width) if self.source else self._markdown(section.text, width)
        if gutter:
            strips = self._marked(section, strips, width)
        return strips + [Strip([])] * section.gap

    def _marked(self, section: Section, strips: list[Strip], width: int) -> list[Strip]:
        style = self.styles.get(section.mark, Style())
        sign = SIGNS[section.mark]
        first, rest = Strip([Segment(sign, style)]), Strip([Segment(" " * GUTTER)])
        note = section.note if self.source else one_line_of(section.note)
        marked = [strip.apply_style(style) for strip in strips]
        marked += [strip.apply_style(style + Style(italic=True)) for strip in self._plain(note, width) if note]
        return [Strip.join([rest if i else first, strip]) for i, strip in enumerate(marked)]

    def _plain(self, text: str, width: int) -> list[Strip]:
        return [Strip([Segment(line.plain)]) for line in Text(text.rstrip("\n")).wrap(self.console, width)]

    def _markdown(self, text: str, width: int) -> list[Strip]:
        """Empty lines at either end belong to Rich's layout of a document, not to a block of it."""
        document = _document(self.dark)
        document.parsed = parser(self.formulas).parse(text)
        with self.console.use_theme(THEME):
            lines = self.console.render_lines(document, self.console.options.update_width(width), pad=False)
        strips = [Strip(line) for line in lines]
        while strips and not strips[0].text.strip():
            del strips[0]
        while strips and not strips[-1].text.strip():
            del strips[-1]
        return strips


@cache
def _document(dark: bool) -> Markdown:
    """To be given what was parsed, for one drawing; making one makes a parser, too."""
    from rich.markdown import Markdown  # not before the first screen

    return Markdown("", code_theme="ansi_dark" if dark else "ansi_light", hyperlinks=False)
