"""A table of foreign text: literal cells, one column that takes the room that is left, many rows without a wait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from tui.literal import one_line

CHUNK = 250  # rows that are added before keys are looked at again
LEAST_WIDTH = 10
PADDING = 2  # of a cell, left and right together
SCROLL_BAR = 2
ASCII = str.maketrans({"✓": "+", "✗": "x", "…": "~"})  # marks of our own; what others wrote stays as it is


class Column(NamedTuple):
    """`width` in characters; None: what the others leave."""

    title: str
    width: int | None = None


class LiteralTable(DataTable[Text]):
    """Rows by key. Cells are cut to their column, and styled by `styles` where a cell's whole text is a key of it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Choose")]

    def __init__(self, columns: Sequence[Column], *, styles: Mapping[str, str] | None = None, id: str = "") -> None:
        super().__init__(cursor_type="row", zebra_stripes=True, id=id or None)
        self._plan, self._styles = columns, styles or {}
        self._cells: dict[str, Sequence[str]] = {}
        self._filling = 0

    @property
    def selected(self) -> str | None:
        """The key of the row under the cursor."""
        if not self.is_valid_row_index(self.cursor_row):
            return None
        return self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value

    def fill(self, rows: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Replaces all rows; the first are there at once, the others as the screen has time."""
        self._cells = dict(rows)
        self._lay_out()

    def put(self, key: str, cells: Sequence[str]) -> None:
        """Adds a row, or changes the one of that key."""
        self._cells[key] = cells
        if key not in self.rows:
            self._add_row(key)
            return
        for title, cell in zip(self.columns, self._shown(cells), strict=True):
            self.update_cell(key, title, cell)

    def change(self, key: str, title: str, text: str) -> None:
        """Changes one cell of a row that is there."""
        cells = list(self._cells[key])
        cells[[column.title for column in self._plan].index(title)] = text
        self.put(key, cells)

    def on_mount(self) -> None:
        self._lay_out()

    def on_resize(self, event: events.Resize) -> None:
        if self._widths() != [column.width for column in self.ordered_columns]:
            self._lay_out()

    def _lay_out(self) -> None:
        """Columns for the width there is, then the rows; the cursor stays on its row."""
        key, row = self.selected, self.cursor_row
        if key is not None and key in self._cells:
            row = list(self._cells).index(key)
        self.clear(columns=True)
        for column, width in zip(self._plan, self._widths(), strict=True):
            self.add_column(column.title, width=width, key=column.title)
        self._filling += 1
        waiting = iter(list(self._cells))
        self._add_rows(waiting, self._filling, max(CHUNK, row + 1))
        self.move_cursor(row=row)

    def _add_rows(self, waiting: Iterator[str], filling: int, count: int = CHUNK) -> None:
        if filling != self._filling:
            return
        added = list(islice(waiting, count))
        for key in added:
            if key not in self.rows:
                self._add_row(key)
        if added:
            self.call_later(self._add_rows, waiting, filling)

    def _add_row(self, key: str) -> None:
        self.add_row(*self._shown(self._cells[key]), key=key)

    def _shown(self, cells: Sequence[str]) -> list[Text]:
        plain = ASCII if self.app.has_class("-ascii") else {}
        return [
            Text(one_line(cell, width).translate(plain), self._styles.get(cell, ""), no_wrap=True)
            for cell, width in zip(cells, self._widths(), strict=True)
        ]

    def _widths(self) -> list[int]:
        fixed = sum(column.width or 0 for column in self._plan) + PADDING * len(self._plan) + SCROLL_BAR
        rest = max(LEAST_WIDTH, self.size.width - fixed)
        return [column.width or rest for column in self._plan]
