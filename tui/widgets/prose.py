"""Text of a model as it grows: Markdown, formulas and code, in sections that are rendered once and then frozen.

One widget holds a text of any length, and draws only its visible lines; an update renders the last block again and
nothing else, so a long reply costs no more per token than a short one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.markdown import Markdown
from rich.segment import Segment
from rich.style import Style
from rich.theme import Theme
from textual.geometry import Size
from textual.reactive import reactive
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from tui.blocks import Blocks
from tui.literal import literal
from tui.markup import one_line_of, parser

Mark = Literal["", "wrong", "added", "removed"]
SIGNS: dict[Mark, str] = {"": "  ", "wrong": "✗ ", "added": "+ ", "removed": "- "}
ASCII_SIGNS: dict[Mark, str] = SIGNS | {"wrong": "x "}
ASCII_LINES = str.maketrans("•─━│┃▌", "*--|||")
THEME = Theme({"markdown.code": "bold", "markdown.code_block": "none", "markdown.item.number": "bold"}, inherit=True)


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of text; `mark` stands in a gutter beside it, and `note` under it. `gap`: an empty line follows."""

    text: str
    mark: Mark = ""
    note: str = ""
    gap: bool = False


@dataclass(slots=True)
class _Rendered:
    """The lines of the sections that are frozen, at one width."""

    width: int = 0
    count: int = 0
    lines: list[Strip] = field(default_factory=list)


class Prose(Widget):
    """`grow` takes a text that is being written, `show` sections that are final. `source` shows them unrendered."""

    COMPONENT_CLASSES = {"prose--wrong", "prose--added", "prose--removed"}
    DEFAULT_CSS = """
    Prose { height: auto; width: 1fr; }
    Prose > .prose--wrong { color: $text-error; }
    Prose > .prose--added { color: $text-success; }
    Prose > .prose--removed { color: $text-error; text-style: dim; }
    """
    source: reactive[bool] = reactive(False, layout=True)

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._grown, self._blocks = "", Blocks()
        self._frozen: list[Section] = []
        self._rendered = _Rendered()
        self._tail: list[Strip] = []

    @property
    def text(self) -> str:
        """All of it, as the model wrote it but for invisible characters."""
        return "".join(section.text for section in self._frozen) + self._blocks.tail

    def grow(self, text: str) -> None:
        """Appends what was written since the last call."""
        if not text:
            return
        self._grown += text
        self._blocks.feed(literal(text))
        self._frozen += [Section(block, gap=True) for block in self._blocks.finished]
        self._blocks.finished.clear()
        self._draw()

    def become(self, text: str) -> None:
        """Grows into `text`, which mostly begins with what is there already."""
        if not text.startswith(self._grown):
            self.show([])
        self.grow(text[len(self._grown) :])

    def show(self, sections: Sequence[Section]) -> None:
        """Replaces all of it; nothing to do where it is the same."""
        if self._grown or sections != self._frozen:
            self._grown, self._blocks, self._frozen = "", Blocks(), list(sections)
            self._forget()

    # -- drawing ----------------------------------------------------------------------------------------------------

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        self._render_at(width)
        return len(self._rendered.lines) + len(self._tail)

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        self._render_at(width)
        frozen = len(self._rendered.lines)
        strip = self._rendered.lines[y] if y < frozen else (self._tail[y - frozen : y - frozen + 1] or [Strip([])])[0]
        strip = self._selected(strip, y).adjust_cell_length(width).apply_style(self.rich_style)
        return strip.apply_offsets(0, y)

    def watch_source(self) -> None:
        self._forget()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._rendered = _Rendered()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        lines = "\n".join(strip.text.rstrip() for strip in [*self._rendered.lines, *self._tail])
        return selection.extract(lines), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()

    def _selected(self, strip: Strip, y: int) -> Strip:
        span = self.text_selection.get_span(y) if self.text_selection else None
        if span is None:
            return strip
        start, end = span[0], strip.cell_length if span[1] == -1 else span[1]
        style = self.screen.get_component_rich_style("screen--selection")
        before, inside, after = strip.crop(0, start), strip.crop(start, end), strip.crop(end)
        marked = Strip(Segment.apply_style(list(inside), post_style=style), inside.cell_length)
        return Strip.join([before, marked, after])

    @property
    def _ascii(self) -> bool:
        return self.app.has_class("-ascii")

    # -- rendering --------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._rendered = _Rendered()
        self._tail = []
        self.refresh(layout=True)

    def _draw(self) -> None:
        """Shows what has grown; a new layout only where there is another number of lines."""
        width = self._rendered.width
        if not width:
            self.refresh(layout=True)
            return
        before = len(self._rendered.lines) + len(self._tail)
        self._render_frozen(width)
        self._tail = self._lines(Section(self._blocks.tail), width)
        self.refresh(layout=len(self._rendered.lines) + len(self._tail) != before)

    def _render_at(self, width: int) -> None:
        """All of it at this width; nothing to do where that was the width before."""
        if width == self._rendered.width and self._rendered.count == len(self._frozen):
            return
        if width != self._rendered.width:
            self._rendered = _Rendered(width)
        self._render_frozen(width)
        self._tail = self._lines(Section(self._blocks.tail), width)

    def _render_frozen(self, width: int) -> None:
        rendered = self._rendered
        for section in self._frozen[rendered.count :]:
            rendered.lines += self._lines(section, width)
            rendered.lines += [Strip([])] * section.gap
        rendered.count = len(self._frozen)

    def _lines(self, section: Section, width: int) -> list[Strip]:
        """A section's lines, with its gutter where any section of this text is marked."""
        if not section.text.strip():
            return []
        gutter = 2 if any(other.mark for other in self._frozen) else 0
        strips = self._plain(section) if self.source else self._markdown(section.text, max(1, width - gutter))
        if not gutter:
            return strips
        style = self.get_component_rich_style(f"prose--{section.mark}") if section.mark else Style()
        first, rest = (
            Strip([Segment((ASCII_SIGNS if self._ascii else SIGNS)[section.mark], style)]),
            Strip([Segment("  ")]),
        )
        marked = [Strip.join([rest if i else first, strip.apply_style(style)]) for i, strip in enumerate(strips)]
        note = section.note if self._ascii else one_line_of(section.note)
        notes = self._wrapped(note, width - gutter) if note else []
        return marked + [Strip([Segment("  "), Segment(line, style + Style(italic=True))]) for line in notes]

    def _plain(self, section: Section) -> list[Strip]:
        width = max(1, self._rendered.width - 2)
        return [Strip([Segment(line)]) for line in self._wrapped(section.text.rstrip("\n"), width)]

    def _wrapped(self, text: str, width: int) -> list[str]:
        from rich.text import Text

        return [line.plain for line in Text(text).wrap(self.app.console, max(1, width), tab_size=4)]

    def _markdown(self, text: str, width: int) -> list[Strip]:
        """Empty lines at either end belong to Rich's layout of a document, not to a block of it."""
        document = Markdown("", code_theme="ansi_dark" if self.app.current_theme.dark else "ansi_light")
        document.parsed = parser(formulas=not self._ascii).parse(text)
        document.hyperlinks = False
        console = self.app.console
        with console.use_theme(THEME):
            lines = console.render_lines(document, console.options.update_width(width), pad=False)
        if self._ascii:
            lines = [[Segment(text.translate(ASCII_LINES), style) for text, style, _ in line] for line in lines]
        strips = [Strip(line) for line in lines]
        while strips and not strips[0].text.strip():
            del strips[0]
        while strips and not strips[-1].text.strip():
            del strips[-1]
        return strips
