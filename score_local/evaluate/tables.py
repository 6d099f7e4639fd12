"""A summary and a run's problems, for people to read: rich tables, aligned text, Markdown.

Answers and questions are a model's and a file's words: control characters and markup never reach the terminal, and
what a stream's encoding cannot take is escaped or has a plain stand-in.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from score_local.evaluate.metrics import Difference
from score_local.evaluate.summary import Oracle, Share, Summary, Verdicts
from score_local.evaluate.words import NONE, interval, number, p_value, percent
from score_local.trace import Trace

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("id", "question", "initial", "p(incorrect)", "final", "gold", "")
QUESTION_WIDTH = 40
UNKNOWN = "?"
_STYLES = {"✓": "green", "✗": "red", UNKNOWN: "yellow"}
_STAND_INS = {"✓": "ok", "✗": "no", "…": "..."}


def summary_rows(summary: Summary) -> list[tuple[str, str]]:
    """Names and values as plain text. What needs gold answers is left out where there are none."""
    rows = list(_counts(summary))
    if summary.with_gold:
        rows += [*_accuracy(summary), *_verdicts(summary)]
    return [*rows, *_cost(summary)]


def render(summary: Summary, file: TextIO, plain: bool) -> None:
    """The summary as a table; aligned text where `plain`, or where the stream cannot take the lines of a table."""
    _show(("", ""), summary_rows(summary), file, plain)


def traces_table(traces: Sequence[Trace], file: TextIO, plain: bool) -> None:
    """One line a problem, ending with a mark: ✓ right, ✗ wrong, ? unknown, failed or without a gold answer."""
    _show(COLUMNS, [problem_row(trace) for trace in traces], file, plain)


def markdown(summary: Summary) -> str:
    """The summary as a Markdown table."""
    rows = [("measure", "value"), ("---", "---"), *summary_rows(summary)]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


def _counts(summary: Summary) -> Iterator[tuple[str, str]]:
    statuses = f"{summary.solved} solved, {summary.unknown} unknown, {summary.failed} failed"
    yield "problems", f"{summary.problems} ({statuses})"
    if not summary.with_gold:
        yield "with a gold answer", "0, so nothing is said of right and wrong"
    elif summary.with_gold < summary.problems:
        yield "with a gold answer", str(summary.with_gold)
    yield "gate opened", _share(summary.triggered)
    if summary.refinements_failed:
        yield "refinements failed", f"in {summary.refinements_failed} of {summary.problems} problems"


def _accuracy(summary: Summary) -> Iterator[tuple[str, str]]:
    yield "initial accuracy", _share(summary.initial) + _not_right(summary.initial_unknown, summary.failed_with_gold)
    yield "final accuracy", _share(summary.final) + _not_right(summary.final_unknown, summary.failed_with_gold)
    yield "difference", _difference(summary.difference)
    yield "oracle ceiling", _ceiling(summary.oracle)
    yield "oracle gain recovered", _recovered(summary.oracle)
    yield "fixed, wrong to right", _share(summary.fixed)
    yield "broken, right to wrong", _share(summary.broken)


def _verdicts(summary: Summary) -> Iterator[tuple[str, str]]:
    verdict, at = summary.verdict, f"at p >= {summary.threshold:.2f}"
    yield "verifier AUROC", _auroc(verdict)
    for name, signal in summary.signals.items():
        yield f"AUROC of {name}", _auroc(signal)
    yield "F1 for incorrect", f"{number(verdict.f1_incorrect)} {at}"
    yield "balanced accuracy", f"{percent(verdict.balanced_accuracy)} {at}"
    yield "expected calibration error", number(verdict.calibration_error)


def _cost(summary: Summary) -> Iterator[tuple[str, str]]:
    cost = summary.cost
    yield "tokens evaluated per problem", number(cost.evaluated_per_problem, 1)
    yield "tokens reused per problem", number(cost.reused_per_problem, 1)
    yield "tokens generated per problem", number(cost.generated_per_problem, 1)
    yield "seconds per problem", f"{number(cost.seconds_per_problem, 2)} ({cost.wall_seconds:.1f} in all)"
    yield "problems per hour", number(cost.problems_per_hour, 0)


def _share(share: Share) -> str:
    limits = f"; {interval(share.interval, 100, 1)}" if share.interval else ""
    return f"{percent(share.share)} ({share.count} of {share.n}{limits})"


def _not_right(unknown: int, failed: int) -> str:
    parts = [f"{count} {name}" for count, name in ((unknown, "unknown"), (failed, "failed")) if count]
    return f", counting {' and '.join(parts)} as not right" if parts else ""


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return NONE
    limits = f"95% {difference.low:+.1f} to {difference.high:+.1f}"
    return f"{difference.points:+.1f} points ({limits}; McNemar p {p_value(difference.p)})"


def _ceiling(oracle: Oracle) -> str:
    reached = f"{_share(oracle.ceiling)}, from {oracle.refinements} refinements or votes"
    return f"at least {reached}; {oracle.missing} not right have none" if oracle.missing else reached


def _recovered(oracle: Oracle) -> str:
    """A higher ceiling, which is not known, would make it less."""
    bound = "at most " if oracle.missing and (oracle.recovered or 0) > 0 else ""
    return bound + percent(oracle.recovered, "n/a, nothing to gain")


def _auroc(verdicts: Verdicts) -> str:
    limits = f"{interval(verdicts.auroc_interval, 1, 3)}; " if verdicts.auroc_interval else ""
    heard = f"{verdicts.incorrect} incorrect of {verdicts.known} known, {verdicts.unknown} unknown"
    return f"{number(verdicts.auroc)} ({limits}{heard})"


def problem_row(trace: Trace) -> tuple[str, ...]:
    """The cells of COLUMNS, as they are in the trace: `_printable` makes them fit for a terminal."""
    p = UNKNOWN if trace.p_incorrect is None else f"{trace.p_incorrect:.3f}"
    final = "failed" if trace.status == "failed" else trace.answer or UNKNOWN
    return (
        trace.id,
        _shortened(trace.question),
        trace.initial_answer or UNKNOWN,
        p,
        final,
        "" if trace.gold is None else trace.gold,
        _mark(trace),
    )


def _mark(trace: Trace) -> str:
    if trace.answer is None or trace.final_correct is None:
        return UNKNOWN
    return "✓" if trace.final_correct else "✗"


def _shortened(question: str) -> str:
    line = " ".join(question.split())
    return line if len(line) <= QUESTION_WIDTH else line[: QUESTION_WIDTH - 1].rstrip() + "…"


def _show(columns: Sequence[str], rows: Sequence[Sequence[str]], file: TextIO, plain: bool) -> None:
    encoding = getattr(file, "encoding", None) or "utf-8"
    unicode = encoding.lower().startswith("utf")
    shown = [[_printable(cell, encoding) for cell in row] for row in rows]
    if plain or not unicode:
        print("\n".join(_aligned([columns, *shown] if any(columns) else shown)), file=file)
        return
    from rich.console import Console

    Console(file=file, highlight=False).print(_rich_table(columns, shown))


def _printable(text: str, encoding: str) -> str:
    """The text on one line, without control or direction characters, in what the encoding can take."""
    visible = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs") else c for c in text)
    try:
        visible.encode(encoding)
    except UnicodeEncodeError:
        plain = "".join(_STAND_INS.get(c, c) for c in visible)
        return plain.encode(encoding, "backslashreplace").decode(encoding)
    return visible


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns padded to their widest cell, as a terminal counts cells (a wide character takes two)."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE, show_header=any(columns), pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    return table
