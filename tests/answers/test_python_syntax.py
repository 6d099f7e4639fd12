"""What becomes of texts that are no Python; that formulas mean the same in LaTeX is tested with the expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.answers.python_syntax import latex_of

ROWS = [
    (r"\frac{1}{2}*x", r"\frac{1}{2}*x", "LaTeX, even with a star in it"),
    ("x^{2*n}", "x^{2*n}", "LaTeX without a backslash"),
    ("x + 1", "x + 1", "the same in both"),
    ("1,200", "1,200", "no pair"),
    ("John and Mary", "John and Mary", "words that Python has too"),
    ("5 apples", "5 apples", "words"),
    ("5in*y", "5in*y", "a unit that is a word of Python"),
    ("x = 5*y", "x = 5*y", "an equation is no expression of Python"),
    ("x*y", r"x \cdot y", "a formula"),
    ("x**y**2", "x^{y^{2}}", "a power of a power, from the right"),
    ("(x**y)**2", "(x^{y})^{2}", "and from the left"),
    ("3*(-x)", r"3 \cdot (-x)", "a sign within a product"),
    ("2x**2", None, "neither Python nor LaTeX"),
    ("import_(os)**2", None, "a call of what is not known"),
    ("x if y else z**2", None, "Python that is no formula"),
]


@pytest.mark.parametrize(("text", "expected", "reason"), ROWS)
def test_latex(text: str, expected: str | None, reason: str) -> None:
    assert latex_of(text) == expected, reason


PIECES = [
    "x",
    "**",
    "*",
    "(",
    ")",
    "sqrt(",
    "pi",
    "1",
    "1e999",
    "2.5",
    ",",
    "-",
    "/",
    "{",
    "}",
    "<=",
    " if ",
    "j",
    "\\",
]


@pytest.mark.filterwarnings("error")
@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)))
def test_any_text_becomes_a_text_or_nothing(text: str) -> None:
    assert isinstance(latex_of(text), (str, type(None)))
