"""Numbers as people read them, and tables as Markdown that a terminal shows as well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from score_local.evaluate.metrics import Interval

NONE = "n/a"


def percent(share: float | None, otherwise: str = NONE) -> str:
    return otherwise if share is None else f"{100 * share:.1f}%"


def number(value: float | None, digits: int = 3) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def interval(limits: Interval, scale: int, digits: int) -> str:
    return f"95% {scale * limits.low:.{digits}f} to {scale * limits.high:.{digits}f}"


def markdown_table(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of an aligned table; the first row is its head."""
    head, *body = rows
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    for row in (head, ["-" * width for width in widths], *body):
        yield f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |"
