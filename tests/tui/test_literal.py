"""Foreign text on the screen: everything visible, nothing obeyed."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.literal import literal, one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2 + 2 = 4\n", "2 + 2 = 4\n"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("a\tb", "a    b"),
        ("one\r\ntwo\rthree", "one\ntwo␍three"),
        ("\x9b31m", "<009B>31m"),
        ("\u202eevil\u2066", "<202E>evil<2066>"),
        ("a\u200bb\ufeff\xad", "a<200B>b<FEFF><00AD>"),
        ("\U0001f469\u200d\U0001f680 e\u0301 日本 √2 ≤ π", "\U0001f469\u200d\U0001f680 e\u0301 日本 √2 ≤ π"),
        ("[bold]not bold[/]", "[bold]not bold[/]"),
        ("\ud800 \u2028 \U000e0041", "<D800> <2028> <E0041>"),
    ],
)
def test_what_would_be_obeyed_is_shown(text: str, shown: str) -> None:
    assert literal(text) == shown


@given(st.text(st.characters()))
def test_no_control_character_is_left(text: str) -> None:
    left = {unicodedata.category(c) for c in literal(text) if c not in "\n\u200c\u200d"}
    assert not left & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text(), st.integers(2, 80))
def test_one_line_is_one_line_of_that_width(text: str, width: int) -> None:
    line = one_line(text, width)
    assert len(line) <= width and "\n" not in line
