"""Kind "number": a row per rule, with its reason."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.answers import agrees, equal, extract, is_right, parse_number
from score_local.answers.number import spell
from score_local.problem import AnswerKind

PLACES = [
    (r"6 + 6 = 12, so \boxed{12}", "12", "a box"),
    (r"\boxed{12} and later \boxed{13}", "13", "the last box"),
    (r"\boxed{12}. Hence the answer is 13.", "12", "a box before a phrase"),
    (r"The answer is 13. \boxed{12", None, "a box cut off may hold half a number"),
    (r"\boxed{13} ... \boxed{1", None, "and it is the last word, so what came before does not count"),
    (r"I write it in \boxed{}. The answer is 4.", "4", "an empty box quotes the instruction"),
    (r"\boxed{number}", None, "so does a placeholder"),
    (r"\boxed{\boxed{7}}", "7", "nested boxes"),
    (r"\fbox{7}", "7", "the other box command"),
    ("boxed{7}", "7", "small models drop the backslash"),
    ("\boxed{7}", "7", "and JSON decoders take \\b for a backspace"),
    ("\\boxed{\n7\n}", "7", "white space in the box"),
    (r"$x = \boxed{2}$ or $x = \boxed{3}$", None, "two boxes that are one answer"),
    (r"\boxed{2}, \boxed{2}", None, "even if equal, two boxes are two statements"),
    (r"Step 1: \boxed{2}. Step 2: \boxed{3}", "3", "boxes of two steps are two answers"),
    (r"$-\boxed{5}$", "-5", "a minus before the box"),
    (r"$x = - \boxed{5}$", "-5", "with spaces, in a formula"),
    (r"So it is -\$\boxed{1{,}200}.", "-1200", "before the currency"),
    (r"\(-\boxed{\frac{1}{2}}\)", "-0.5", "before a fraction"),
    (r"$-\boxed{5 \text{ cm}}$", "-5", "before a number with its unit"),
    (r"$-\boxed{-5}$", "5", "before another minus"),
    (r"\boxed{-\boxed{5}}", "-5", "in a box around it"),
    (r"-\left(\boxed{5}\right)", "-5", "before a bracket around it"),
    ("$-\boxed{5}$", "-5", "before a box that JSON decoded"),
    (r"- \boxed{5}", "5", "a bullet is no minus"),
    (r"Answer - \boxed{5}", "5", "nor is a dash"),
    (r"$8-\boxed{3} = 5$", "3", "nor a difference, in which the box is an operand"),
    (r"$x = \boxed{2}$ or $x = -\boxed{2}$", None, "two boxes that differ by their sign"),
    ("The answer is 72.", "72", "a phrase; the full stop is not part of it"),
    ("The answer is 5. Wait. The answer is 6.", "6", "the last phrase"),
    ("Answer: 72", "72", "a colon"),
    ("**Final Answer:** 72", "72", "Markdown"),
    ("**Final Answer**\n\n72 apples", "72", "a heading, the answer below"),
    ("Final answer:\n- 72", "72", "a bullet is no minus sign"),
    ("The answer is:\n\\[\n-72\n\\]", "-72", "displayed mathematics"),
    ("#### 1,200", "1200", "the GSM8K mark"),
    ("ANSWER = 72", "72", "an equals sign, capitals"),
    ("The answer to the question is therefore 72", "72", "words between"),
    ("The answer would be $72.50.", "72.5", "conditional; the full stop goes, the decimal point stays"),
    ("The answer is 72 because 8 * 9 = 72.", "72", "the reason is not the answer"),
    ("The answer is 5. So he has 6 left.", "5", "a capital begins the next sentence"),
    ("The answer is 5, because 5 < 6.", "5", "the reason is not the answer"),
    ("The answer is 18. 16 - 3 - 4 = 9 eggs remain", "18", "a calculation after the answer is not the answer"),
    ("The answer is 2 * 9 = 18. 18 - 3 = 15 remain", "18", "nor is one after a calculation"),
    ("The answer is 25%. (5 / 20 = 0.25)", "25", "nor is one in brackets"),
    ("The answer is Rs. 5 * 100 = 500", "500", "but a full stop may belong to a unit"),
    ("Answer:\n1. 2 + 3 = 5", "5", "or to a list"),
    ("The answer is 20% (because 0.2 = 1/5)", "20", "the reason in brackets"),
    ("Answer: $18 (16 - 3 - 4 = 9; 9 * 2 = 18)", "18", "the working in brackets"),
    ("#### 18\nI hope this answer is helpful.", "18", "the last phrase that offers an answer"),
    ("The answer is 18. I hope this answer is helpful!", "18", "also in one line"),
    ("**Answer:** 18\n\nThis answer is correct because 9 * 2 = 18", "18", "what is said of the answer is none"),
    ("The answer is 5. So the answer is 6 or 7.", None, "a phrase that offers numbers counts, though not read"),
    ("The answer is 5. No, the answer is seven.", None, "also in words"),
    ("The answer is 5. Now the answer is that", None, "a phrase cut off may have offered one"),
    ("The answer is 5. So the answer is not 6.", "5", "a denial of another"),
    ("The answer is 5. Wait, the answer is not 5.", None, "a denial of the same"),
    ("答案是18。", "18", "Chinese"),
    ("**答案：** $18$，因为 9 * 2 = 18。", "18", "with a reason"),
    ("答案是18千克。", "18", "a unit"),
    ("答案是18万元。", None, "but ten thousands"),
    ("答案不是18。", None, "a denial"),
    ("答案是不到18。", None, "a bound"),
    (r"\boxed 18", "18", "a box without braces"),
    (r"So $\boxed 1,200.50$.", "1200.5", "with all its digits"),
    (r"\boxed 18 + 3", None, "but not the first of a sum"),
    ("The answer is 5!", "5", "an exclamation, not a factorial"),
    ("Answer the question: 6 apples and", None, "an imperative is no answer"),
    ("The answer is -(12).", "-12", "a minus before a bracket"),
    ("The answer is not 5.", None, "a denial"),
    ("Is the answer 5?", None, "a question"),
    ("The answer is", None, "cut off before the answer"),
    ("We get 3 + 4 = 7 apples.", None, "the last number of a text is not an answer"),
    ("72", None, "nor is the only one"),
    ("", None, "nothing"),
    ("<think>\\boxed{3}</think>The answer is 4.", "4", "thoughts are not answers"),
    ("<think>\\boxed{3}", None, "nor are unfinished ones"),
]

ANSWERS = [
    ("12", "12", "an integer"),
    ("-12", "-12", "ASCII minus"),
    ("−12", "-12", "Unicode minus"),
    ("–12", "-12", "an en dash right before a digit is a minus"),
    ("- 12", "-12", "a minus with a space, first in the answer"),
    ("+12", "12", "plus"),
    ("negative 12", "-12", "minus in words"),
    (r"-\$12", "-12", "minus before the currency"),
    (r"\$-12", "-12", "minus behind the currency"),
    (r"-\frac{3}{4}", "-0.75", "minus before a fraction"),
    ("(12)", "12", "brackets only group; no accountant's minus"),
    ("-(5)", "-5", "a minus before the brackets is no punctuation"),
    (r"-\left(\frac{1}{2}\right)", "-0.5", "nor before LaTeX ones"),
    ("- (5)", "-5", "a minus with a space, first in the answer"),
    (r"-(\$5)", "-5", "currency in the brackets"),
    (r"-\$(5)", "-5", "and before them"),
    ("-(5 apples)", "-5", "a unit in the brackets"),
    ("-(1/2)", "-0.5", "a fraction in the brackets"),
    ("-(-5)", "5", "two minuses"),
    ("+(5)", "5", "a plus before the brackets"),
    ("-(5)2", None, "a product"),
    ("-(2)(-2)", None, "a product of two brackets"),
    ("-(5)^2", None, "a power"),
    ("2-(5)", None, "a difference"),
    ("six - (6)", None, "a dash or a minus"),
    ("negative (5)", "-5", "minus in words, before brackets"),
    ("negative £5", "-5", "and before the currency"),
    ("negative five (5)", None, "the word is about the number in words"),
    ("007", "7", "leading zeros"),
    ("-0", "0", "one zero"),
    ("0.50", "0.5", "trailing zeros"),
    (".5", "0.5", "no leading zero"),
    ("-.5", "-0.5", "nor with a minus"),
    ("12.", "12", "trailing point"),
    ("3/4", "0.75", "a fraction that terminates is a decimal"),
    ("-1/3", "-1/3", "one that does not stays a fraction"),
    ("2/6", "1/3", "in lowest terms"),
    ("3 / 4", "0.75", "spaces around the bar"),
    (r"\frac{3}{4}", "0.75", "frac"),
    (r"\dfrac{-3}{4}", "-0.75", "dfrac, minus above"),
    (r"\tfrac34", "0.75", "no braces"),
    (r"\frac{1{,}200}{5}", "240", "thousands in a fraction"),
    ("1 1/2", "1.5", "a mixed number"),
    ("-1 1/2", "-1.5", "the minus holds for all of it"),
    (r"2\frac{1}{2}", "2.5", "a mixed number in LaTeX"),
    ("2½", "2.5", "and in Unicode"),
    ("½", "0.5", "a vulgar fraction"),
    ("5 6/3", None, "no mixed number"),
    ("1/0", None, "no value"),
    ("1/2/3", None, "ambiguous, or a date"),
    ("50%", "50", "percent is a unit"),
    (r"50\%", "50", "in LaTeX too"),
    ("50 percent", "50", "and in words"),
    ("$5.00", "5", "dollars"),
    ("£5", "5", "pounds"),
    ("5 €", "5", "euros"),
    ("50¢", "50", "cents"),
    ("USD 5", "5", "a currency code"),
    ("Rs. 500", "500", "a full stop inside the answer"),
    ("5 dollars", "5", "a unit"),
    (r"5 \text{ apples}", "5", "a unit in LaTeX"),
    ("5km/h", "5", "a unit, glued"),
    (r"5\,\text{cm}^2", "5", "a thin space; the unit's exponent"),
    ("5 m²", "5", "a unit's exponent in Unicode"),
    (r"90^\circ", "90", "degrees"),
    ("5-year", "5", "a hyphen before a word"),
    ("a total of 5 apples and pears", "5", "words on both sides"),
    ("1,200", "1200", "thousands, comma"),
    ("1,234,567.5", "1234567.5", "with decimals"),
    ("1{,}200", "1200", "thousands in LaTeX"),
    (r"1,\!200", "1200", "the MATH data set's way"),
    (r"1\,200", "1200", "thousands, LaTeX thin space"),
    ("1\u00a0200", "1200", "thousands, non-breaking space"),
    ("1\u202f200", "1200", "thousands, narrow space"),
    ("1 200", None, "an ordinary space may part two numbers"),
    ("1,5", None, "no thousands separator: 1.5 or two numbers"),
    ("1,00,000", None, "nor this"),
    ("0,125", None, "nor this: a thousand does not begin with zero"),
    ("1.234,56", None, "mixed separators"),
    ("1.2e3", "1200", "scientific"),
    ("1.2E-3", "0.0012", "scientific, negative"),
    (r"1.2 \times 10^3", "1200", "scientific in LaTeX"),
    (r"1.2 \times 10^{-3}", "0.0012", "with braces"),
    ("1.2 × 10³", "1200", "in Unicode"),
    ("1e999", None, "out of range"),
    ("1.5 million", "1500000", "a magnitude in words"),
    ("72 (seventy-two)", "72", "a remark"),
    ("six (6)", "6", "the number in the remark"),
    ("half (6)", None, "a word before the remark changes it"),
    ("5 (5.0)", "5", "a remark that repeats"),
    ("5 (or 6)", None, "a remark that contradicts"),
    ("not six (6)", None, "a denial"),
    ("x = 5", "5", "the right-hand side"),
    (r"3 \times 4 = 12", "12", "of the last equals sign"),
    ("3 + 4 = 5 + 2 = 7", "7", "of a chain"),
    ("x = 5, y = 6", None, "two variables"),
    ("x = 5 or x = 6", None, "two solutions"),
    ("3 + 4", None, "not evaluated"),
    (r"3 \times 4", None, "not evaluated"),
    ("2 * 2", None, "stars between digits are no emphasis"),
    ("2**2", None, "nor are two"),
    ("3(3)", None, "a product"),
    ("10^3", None, "a power"),
    ("5!", None, "a factorial"),
    (r"\sqrt{5}", None, "a root"),
    ("sqrt(5)", None, "a root in plain text"),
    ("square root of 5", None, "and in words"),
    (r"\text{sqrt}(5)", None, "and as text"),
    ("f'(5)", None, "a function of the number"),
    ("(5)!", None, "a factorial of a bracket"),
    ("(5)²", None, "a raised digit behind a bracket"),
    ("5²", None, "and behind a number"),
    ("101₂", None, "another base"),
    ("|(-5)|", None, "an absolute value"),
    (r"5\pi", None, "a multiple of pi"),
    ("5x", None, "a variable"),
    ("5a", None, "a variable that is no unit"),
    ("5a^2", None, "nor is its square"),
    ("5g", "5", "but a letter may be one"),
    ("7 (3 + 4 = 7)", "7", "how it was found"),
    ("2 (3 + 4)", None, "but not a product"),
    ("H2O", None, "a digit inside a word"),
    ("101_2", None, "another base"),
    ("±5", None, "two values"),
    ("5 or 6", None, "two numbers"),
    ("between 5 and 6", None, "a range"),
    ("5 and 6", None, "two numbers"),
    ("5-6", None, "a range"),
    ("5, 6", None, "a list"),
    ("5 feet 6 inches", None, "two units"),
    ("5 out of 10", None, "a ratio"),
    ("at least 5", None, "a bound"),
    (r"x \le 5", None, "a bound"),
    ("5 dozen", None, "60 or 5, as the question wants"),
    ("5 and a half", None, "5.5 in words"),
    ("3:30", None, "a time"),
    ("2:1", None, "a ratio"),
    ("2023-05-01", None, "a date"),
    ("1.2.3", None, "a version"),
    ("0.333...", None, "not finished"),
    (r"\text{none}", None, "a word"),
    ("9" * 300, None, "out of range"),
]

EQUALITIES = [
    ("1,200", "1200.0", True, "spellings"),
    ("0.5", "1/2", True, "decimal and fraction"),
    ("0.333", "1/3", False, "exact: a rounded value is another value"),
    ("-5", "5", False, "the sign counts"),
    ("3/4", "34", False, "the bar counts"),
    ("50%", "50", True, "percent is a unit"),
    ("50%", "50 %", True, "percent is percent"),
    ("50%", "0.5", False, "a unit, not a factor (module docstring)"),
    ("$5", "5 dollars", True, "units do not count"),
    ("5", None, None, "a missing answer is unknown"),
    (None, None, None, "two missing ones as well"),
    ("5", "five", None, "an unreadable one is unknown, not wrong"),
]

# (answer, gold, whether it is right, reason)
GOLDS = [
    ("5/6", "0.833333", True, "the data set rounded a fraction"),
    ("0.8333333333333334", "0.833333", True, "a longer rounding of the same"),
    ("64/3", "21.3333", True, "four decimals"),
    ("-1/3", "-0.3333", True, "below zero"),
    ("0.833334", "0.833333", False, "a whole unit of the last decimal off"),
    ("0.83", "0.833333", False, "the answer's own rounding is not the gold's"),
    ("64/3", "21.333", False, "three decimals may be exact"),
    ("1.5", "1.50000", True, "zeros count as decimals, and equality comes first"),
    ("5/6", "2.5/3.0001", False, "no decimal"),
    ("none", "0.833333", None, "an unreadable answer is unknown"),
    (None, "0.833333", None, "a missing one as well"),
    ("5/6", None, None, "and a missing gold answer"),
]


@pytest.mark.parametrize(("answer", "gold", "expected", "reason"), GOLDS)
def test_beside_a_gold_answer(answer: str | None, gold: str | None, expected: bool | None, reason: str) -> None:
    assert is_right(answer, gold, "number") is expected, reason


def test_only_numbers_are_rounded() -> None:
    assert is_right("5/6", "0.833333", "expression") is False
    assert agrees("5.833", "5.83", "number") and not agrees("5.833", "5.83", "expression")


@pytest.mark.parametrize(("text", "expected", "reason"), PLACES)
def test_where_the_answer_stands(text: str, expected: str | None, reason: str) -> None:
    assert extract(text, "number") == expected, reason


@pytest.mark.parametrize(("answer", "expected", "reason"), ANSWERS)
def test_what_the_answer_says(answer: str, expected: str | None, reason: str) -> None:
    assert extract(rf"Step 1: 8 * 9 = 72. \boxed{{{answer}}}", "number") == expected, reason


@pytest.mark.parametrize(("left", "right", "expected", "reason"), EQUALITIES)
def test_equality(left: str | None, right: str | None, expected: bool | None, reason: str) -> None:
    assert equal(left, right, "number") is expected, reason
    assert equal(right, left, "number") is expected, reason


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["number", "choice", "expression"])
@pytest.mark.parametrize("text", [
    r"\boxed{" * 50_000,
    r"\boxed{1}, " * 20_000,
    "answer " * 50_000,
    "The answer is x" + " " * 50_000 + "y",
    "The answer is " + r"\( " * 20_000,
    r"\boxed{" + " " * 50_000 + "1}",
])  # fmt: skip
def test_a_model_that_repeats_itself_stalls_nothing(text: str, kind: AnswerKind) -> None:
    started = time.monotonic()
    extract(text, kind)
    assert time.monotonic() - started < 3


PIECES = st.sampled_from(
    [r"\boxed{", "}", "answer is ", "#### ", r"\frac{", "/", ",", ".", "=", "(", ")", "-", "e", "×10^"]
)
SOUP = st.lists(st.one_of(PIECES, st.integers(0, 2000).map(str), st.text(max_size=3)), max_size=30).map("".join)


@given(st.one_of(st.text(), SOUP))
def test_any_text_gives_a_canonical_number_or_nothing(text: str) -> None:
    for stated in (text, rf"\boxed{{{text}}}"):
        answer = extract(stated, "number")
        if answer is not None:
            value = parse_number(answer)
            assert value is not None
            assert spell(value) == answer


def spellings(value: int) -> list[str]:
    sign, size = ("-" if value < 0 else ""), f"{abs(value):,}"
    separators = [",", "{,}", r"\,", "\u00a0", "\u2009", "\u202f", ""]
    numbers = [sign + size.replace(",", separator) for separator in separators]
    return [*numbers, rf"{sign}\${size}", f"{sign}{size}.00", rf"x = {sign}{size}", rf"{sign}{size} \text{{ km}}"]


@given(st.integers(-(10**15), 10**15))
def test_all_spellings_of_an_integer_vote_together(value: int) -> None:
    assert {extract(rf"\boxed{{{spelling}}}", "number") for spelling in spellings(value)} == {str(value)}


@given(st.fractions(max_denominator=10**6))
def test_all_spellings_of_a_fraction_vote_together(value: Fraction) -> None:
    above, below = value.numerator, value.denominator
    forms = [f"{above}/{below}", rf"\frac{{{above}}}{{{below}}}", rf"\dfrac{{{above}}}{{{below}}}", spell(value)]
    assert {parse_number(form) for form in forms} == {value}
    assert {extract(rf"\boxed{{{form}}}", "number") for form in forms} == {spell(value)}


@given(st.fractions(), st.fractions())
def test_equality_is_reflexive_and_symmetric(left: Fraction, right: Fraction) -> None:
    a, b = str(left), str(right)
    assert equal(a, a, "number") is True
    assert equal(a, b, "number") is equal(b, a, "number") is (left == right)
