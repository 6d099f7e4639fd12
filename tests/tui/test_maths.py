"""LaTeX as Unicode, and Markdown that holds it: a row a case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.markup import one_line_of, parser
from tui.maths import to_unicode

FORMULAS = [
    (r"\frac{3}{4} \times 12 = 9", "3/4 × 12 = 9", "a simple fraction needs no brackets"),
    (r"\frac{a+b}{c}", "(a+b)/c", "one that would read otherwise does"),
    (r"\dfrac{\sqrt{2}}{2}", "√2/2", "display size"),
    (r"\frac12", "1/2", "without braces"),
    (r"x^2 + y_1 \leq \sqrt{2}", "x² + y₁ ≤ √2", "scripts"),
    (r"\sum_{i=1}^{n} i", "∑ᵢ₌₁ⁿ i", "a script ends a macro's name"),
    (r"x^{\frac{1}{2}}", "x^(1/2)", "what cannot be raised is bracketed"),
    (r"\sqrt[3]{x+1}", "³√(x+1)", "a root of a sum"),
    (r"\left( \frac12 \right)", "( 1/2 )", "sizes of brackets"),
    (r"3.14^\circ \approx 3", "3.14° ≈ 3", "degrees"),
    (r"\begin{align} a &= b \\ c &= d \end{align}", "a = b\nc = d", "lines that are aligned"),
    (r"\text{Total} = \$5", "Total = $5", "text and money"),
    (r"\boxed{\frac{1}{2}}", "⟦1/2⟧", "the box of an answer"),
    (r"5\%", "5%", "an escape"),
    ("2 % 3", "2 % 3", "no comment: what follows a percent sign stays"),
    (r"\frac{", r"\frac{", "cut off: it stays as it is"),
    (r"\mystery x", r"\mystery x", "unknown: it stays"),
]
TEXTS = [
    (r"so \(x^2\) is \[ y \]", "so x² is y", "brackets"),
    (r"$x$ costs $5", "x costs $5", "a formula, and a price"),
    ("$5 and $6", "$5 and $6", "two prices"),
    ("It costs $5 a piece and then 3$", "It costs $5 a piece and then 3$", "words between the dollars"),
    (r"12 \times 7 = \boxed{84}", "12 × 7 = ⟦84⟧", "without delimiters"),
    ("2*3*4 = 24", "2*3*4 = 24", "asterisks that multiply"),
    ("a **bold** word", "a bold word", "asterisks that do not"),
    (r"`\frac{1}{2}`", r"\frac{1}{2}", "code is no formula"),
    ("<b>hi</b> [bold]x[/]", "<b>hi</b> [bold]x[/]", "markup of others is text"),
    (r"\boxed{4", r"\boxed{4", "still being written"),
    ("snake_case_name", "snake_case_name", "underscores in words"),
]


@pytest.mark.parametrize(("latex", "shown", "why"), FORMULAS, ids=[case[2] for case in FORMULAS])
def test_formulas(latex: str, shown: str, why: str) -> None:
    assert to_unicode(latex) == shown, why


@pytest.mark.parametrize(("text", "shown", "why"), TEXTS, ids=[case[2] for case in TEXTS])
def test_texts(text: str, shown: str, why: str) -> None:
    assert one_line_of(text) == shown, why


@given(st.text(alphabet="\\frac{}[]()$^_ 12ab*`<&%\n", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    to_unicode(text)
    parser().parse(text)
    parser(formulas=False).parse(text)


def test_a_line_break_is_one() -> None:
    (_, inline, _) = parser().parse("Step 1: a\nStep 2: b")
    assert [child.type for child in inline.children or ()] == ["text", "hardbreak", "text"]


def test_without_formulas_the_source_stays() -> None:
    (_, inline, _) = parser(formulas=False).parse(r"\(x^2\) \times")
    assert "".join(child.content for child in inline.children or ()) == r"\(x^2\) \times"
