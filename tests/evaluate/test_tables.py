"""What people see: every number with its n, on any stream."""

from __future__ import annotations

import io

import msgspec
import pytest

from score_local.evaluate import tables
from score_local.evaluate.summary import summarize
from score_local.trace import Trace
from tests.evaluate.runs import every_case, trace

SUMMARY = summarize(every_case(), threshold=0.5, wall_seconds=18.0)

PLAIN = """\
problems                      9 (6 solved, 1 unknown, 2 failed)
with a gold answer            7
gate opened                   44.4% (4 of 9; 95% 18.9 to 73.3)
initial accuracy              28.6% (2 of 7; 95% 8.2 to 64.1), counting 1 unknown and 1 failed as not right
final accuracy                28.6% (2 of 7; 95% 8.2 to 64.1), counting 1 unknown and 1 failed as not right
difference                    +0.0 points (95% -40.9 to +40.9; McNemar p 1.000)
oracle ceiling                at least 57.1% (4 of 7; 95% 25.0 to 84.2), from 5 refinements or votes; 2 not right have none
oracle gain recovered         0.0%
fixed, wrong to right         20.0% (1 of 5; 95% 3.6 to 62.4)
broken, right to wrong        50.0% (1 of 2; 95% 9.5 to 90.5)
verifier AUROC                0.833 (95% 0.313 to 0.981; 3 incorrect of 5 known, 1 unknown)
AUROC of self                 0.833 (95% 0.313 to 0.981; 3 incorrect of 5 known, 1 unknown)
AUROC of arithmetic           n/a (0 incorrect of 2 known, 4 unknown)
F1 for incorrect              0.667 at p >= 0.50
balanced accuracy             58.3% at p >= 0.50
expected calibration error    0.360
tokens evaluated per problem  31.1
tokens reused per problem     46.7
tokens generated per problem  15.6
seconds per problem           2.00 (18.0 in all)
problems per hour             1800
"""  # noqa: E501 (a table as it is printed)

PROBLEMS = """\
id               question             initial  p(incorrect)  final   gold
kept             What is kept?        7        0.100         7       7     ✓
fixed            What is fixed?       6        0.900         7       7     ✓
broken           What is broken?      7        0.600         8       7     ✗
missed           What is missed?      5        0.200         5       7     ✗
no verdict       What is no verdict?  4        ?             4       7     ✗
unknown          What is unknown?     ?        0.800         ?       7     ?
failed           Too long?            ?        ?             failed  7     ?
no gold          What is no gold?     3        0.700         2             ?
failed, no gold  Too long?            ?        ?             failed        ?
"""


def test_the_summary_as_text() -> None:
    assert rendered() == PLAIN


def test_the_problems_as_text() -> None:
    assert listed(every_case()) == PROBLEMS


def test_an_accuracy_reads_as_a_share_with_n_and_interval() -> None:
    traces = [trace(str(i), "7" if i < 15 else "6") for i in range(60)]
    rows = dict(tables.summary_rows(summarize(traces, threshold=0.5, wall_seconds=60.0)))
    assert rows["initial accuracy"] == "25.0% (15 of 60; 95% 15.8 to 37.2)"
    assert rows["difference"] == "+0.0 points (95% -4.4 to +4.4; McNemar p 1.000)"
    assert rows["oracle gain recovered"] == "n/a, nothing to gain"


def test_without_gold_no_row_speaks_of_accuracy() -> None:
    names = [n for n, _ in tables.summary_rows(summarize([trace("a", "7", gold=None)], threshold=0.5, wall_seconds=1))]
    assert names[:3] == ["problems", "with a gold answer", "gate opened"]
    assert not any("accuracy" in name or "AUROC" in name for name in names)


def test_an_empty_run_has_a_table() -> None:
    empty = summarize([], threshold=0.5, wall_seconds=0.0)
    rows = dict(tables.summary_rows(empty))
    assert rows["gate opened"] == "n/a (0 of 0)"
    assert rows["problems per hour"] == "n/a"
    assert listed([]).split() == ["id", "question", "initial", "p(incorrect)", "final", "gold"]


def test_markdown_is_a_table_of_the_same_rows() -> None:
    lines = tables.markdown(SUMMARY).splitlines()
    assert lines[:2] == ["| measure | value |", "| --- | --- |"]
    assert len(lines) == 2 + len(tables.summary_rows(SUMMARY))
    assert "| broken, right to wrong | 50.0% (1 of 2; 95% 9.5 to 90.5) |" in lines


def test_markdown_escapes_bars() -> None:
    odd = msgspec.structs.replace(SUMMARY, signals={"a|b": SUMMARY.verdict})
    assert r"| AUROC of a\|b |" in tables.markdown(odd)


def test_rich_shows_the_same_cells() -> None:
    shown = io.StringIO()
    tables.render(SUMMARY, shown, plain=False)
    tables.traces_table(every_case(), shown, plain=False)
    for text in ("verifier AUROC", "50.0% (1 of 2; 95% 9.5 to 90.5)", "What is kept?", "✓", "✗"):
        assert text in shown.getvalue()


@pytest.mark.parametrize("plain", [True, False])
def test_an_ascii_stream_gets_stand_ins(plain: bool) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="")
    tables.traces_table([trace("½", "7"), trace("wrong", "6")], stream, plain=plain)
    tables.render(SUMMARY, stream, plain=plain)
    stream.flush()
    lines = raw.getvalue().decode("ascii").splitlines()
    assert r"\xbd" in lines[1] and lines[1].endswith("  ok")
    assert lines[2].endswith("  no")


@pytest.mark.parametrize("plain", [True, False])
def test_a_models_words_cannot_write_to_the_terminal(plain: bool) -> None:
    hostile = trace("a\x1b[2J", "[red]7[/red]\r\n\u202e")
    text = listed([hostile], plain=plain)
    assert "\x1b" not in text and "\r" not in text and "\u202e" not in text
    assert "[red]7[/red]" in text


def test_long_questions_are_cut_and_wide_characters_keep_the_columns() -> None:
    long = msgspec.structs.replace(trace("a", "7"), question="word " * 50)
    wide = msgspec.structs.replace(trace("b", "7"), question="長い")
    lines = listed([long, wide]).splitlines()
    assert "…" in lines[1] and len(lines[1]) < 100
    assert lines[1].index("7") == lines[2].index("7") + 2  # two wide characters take four cells


def rendered(plain: bool = True) -> str:
    file = io.StringIO()
    tables.render(SUMMARY, file, plain=plain)
    return file.getvalue()


def listed(traces: list[Trace], plain: bool = True) -> str:
    file = io.StringIO()
    tables.traces_table(traces, file, plain=plain)
    return file.getvalue()
