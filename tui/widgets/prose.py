"""Text of a model as it grows: Markdown, formulas and code, in sections that are rendered once and then frozen.

One widget holds a text of any length, and draws only its visible lines; an update renders the last block again and
nothing else, so a long reply costs no more per token than a short one. A line that stays as it was is the same strip in
each drawing: Textual keeps with it what it made of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.reactive import reactive
from textual.selection import Selection
from textual.strip import Strip

from tui.blocks import Blocks
from tui.literal import literal
from tui.widgets.growing import Settled
from tui.widgets.sections import Mark, Renderer, Section

MARKS: tuple[Mark, ...] = ("wrong", "added", "removed")


class Prose(Settled):
    """`grow` takes a text that is being written, `show` sections that are final. `source` shows them unrendered.

    Its height is set, not asked for by the layout: that would keep the height of a text that has grown meanwhile.
    """

    COMPONENT_CLASSES = {"prose--wrong", "prose--added", "prose--removed"}
    DEFAULT_CSS = """
    Prose { width: 1fr; height: 1; }
    Prose > .prose--wrong { color: $text-error; }
    Prose > .prose--added { color: $text-success; }
    Prose > .prose--removed { color: $text-error; text-style: dim; }
    """
    source: reactive[bool] = reactive(False, init=False)

    def __init__(self) -> None:
        super().__init__()
        self._grown, self._blocks = "", Blocks()
        self._sections: list[Section] = []
        self._width = self._frozen = 0  # of the lines: for which width, and of how many sections
        self._lines: list[Strip] = []
        self._tail: list[Strip] = []
        self._renderer: Renderer | None = None
        self._drawn: dict[int, Strip] = {}  # lines as they are on the screen, in `_style`
        self._style = Style()

    @property
    def sections(self) -> Sequence[Section]:
        """What will not change any more."""
        return self._sections

    @property
    def text(self) -> str:
        """All of it, as the model wrote it but for invisible characters."""
        return "".join(section.text for section in self._sections) + self._blocks.tail

    def grow(self, text: str) -> None:
        """Appends what was written since the last call."""
        if text:
            self._grown += text
            self._blocks.feed(literal(text))
            self._sections += [Section(block, gap=True) for block in self._blocks.finished]
            self._blocks.finished.clear()
            self._draw()

    def become(self, text: str) -> None:
        """Grows into `text`, which mostly begins with what is there already."""
        if not text.startswith(self._grown):
            self.show([])
        self.grow(text[len(self._grown) :])

    def show(self, sections: Sequence[Section]) -> None:
        """Replaces all of it; nothing to do where it is the same."""
        if self._grown or sections != self._sections:
            self._grown, self._blocks, self._sections = "", Blocks(), list(sections)
            self._draw_again()

    # -- drawing ----------------------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        if self.content_size.width != self._width:
            self._width = self.content_size.width
            self._draw_again()

    def watch_source(self) -> None:
        self._draw_again()

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.call_after_refresh(self._draw_again))

    def _draw_again(self) -> None:
        self._lines, self._tail, self._frozen = [], [], 0
        self._renderer = None
        self._drawn.clear()
        self.refresh()
        self._draw()

    def _draw(self) -> None:
        """Renders what is not frozen yet; a new layout only where there is another number of lines."""
        if not self._width:
            return
        renderer = self._renderer = self._renderer or self._new_renderer()
        gutter = any(section.mark for section in self._sections)
        frozen, before = len(self._lines), self._tail
        for section in self._sections[self._frozen :]:
            self._lines += renderer.lines(section, gutter=gutter)
        self._frozen = len(self._sections)
        self._tail = renderer.lines(Section(self._blocks.tail), gutter=gutter)
        self.styles.height = max(1, len(self._lines) + len(self._tail))
        self._redraw(frozen + _alike(before, [*self._lines[frozen:], *self._tail]))

    def _redraw(self, start: int) -> None:
        """The lines from `start` on are others now."""
        for y in [y for y in self._drawn if y >= start]:
            del self._drawn[y]
        self.refresh(Region(0, start, self._width, max(1, self.size.height - start)))

    def _new_renderer(self) -> Renderer:
        styles = {mark: self.get_component_rich_style(f"prose--{mark}") for mark in MARKS}
        dark, formulas = self.app.current_theme.dark, not self.app.has_class("-ascii")
        return Renderer(self.app.console, self._width, styles, dark, self.source, formulas)

    def render_lines(self, crop: Region) -> list[Strip]:
        if self.content_size.width != self._width:  # Textual tells a widget no size that came while others scrolled
            self.call_later(self._fit)
        style = self.rich_style
        if style != self._style:
            self._style = style
            self._drawn.clear()
        strips = [self._drawn.get(y) or self._draw_line(y) for y in crop.line_range]
        whole = crop.column_span == (0, self.size.width)
        return strips if whole else [strip.crop(*crop.column_span) for strip in strips]

    def _draw_line(self, y: int) -> Strip:
        strip, background = self.render_line(y), self.background_colors[1]
        for line_filter in self.get_line_filters():
            strip = strip.apply_filter(line_filter, background)
        self._drawn[y] = strip
        return strip

    def render_line(self, y: int) -> Strip:
        frozen = len(self._lines)
        found = self._lines[y : y + 1] if y < frozen else self._tail[y - frozen : y - frozen + 1]
        strip = self._selected(found[0] if found else Strip([]), y)
        return strip.adjust_cell_length(self.size.width).apply_style(self._style).apply_offsets(0, y)

    # -- selecting with the mouse -----------------------------------------------------------------------------------

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        lines = "\n".join(strip.text.rstrip() for strip in [*self._lines, *self._tail])
        return selection.extract(lines), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self._drawn.clear()
        self.refresh()

    def _selected(self, strip: Strip, y: int) -> Strip:
        span = self.text_selection.get_span(y) if self.text_selection else None
        if span is None:
            return strip
        start, end = span[0], strip.cell_length if span[1] == -1 else span[1]
        style: Style = self.screen.get_component_rich_style("screen--selection")
        inside = strip.crop(start, end)
        marked = Strip(Segment.apply_style(list(inside), post_style=style), inside.cell_length)
        return Strip.join([strip.crop(0, start), marked, strip.crop(end)])


def _alike(old: Sequence[Strip], new: Sequence[Strip]) -> int:
    """With how many lines both begin."""
    pairs = enumerate(zip(old, new, strict=False))
    return next((i for i, (before, after) in pairs if before != after), min(len(old), len(new)))
