"""Kind "choice": a row per rule, with its reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.answers import equal, extract

ANIMALS = ("cat", "dog", "polar bear", "Vitamin C", "12")

ROWS = [
    (r"\boxed{B}", "B", "a letter in a box"),
    (r"\boxed{b}", "B", "a small one"),
    (r"\boxed{a}", "A", "in a box even this is no article"),
    (r"\boxed{\text{B}}", "B", "LaTeX text"),
    (r"\boxed{\textbf{(B)}}", "B", "bold, in brackets"),
    (r"\boxed{B. dog}", "B", "the letter and its text"),
    (r"\boxed{(B) a dog}", "B", "the article of the text does not count"),
    (r"\boxed{B. cat}", None, "the letter of one and the text of another"),
    (r"\boxed{Dog}", "B", "the text of one choice"),
    (r"\boxed{\text{polar  bear}}", "C", "white space does not count"),
    (r"\boxed{12}", "E", "a text may be a number"),
    (r"\boxed{bear}", None, "half a text is no choice"),
    (r"\boxed{F}", None, "a letter that was not offered"),
    (r"\boxed{B", None, "cut off"),
    (r"\boxed{B and C}", None, "two letters"),
    (r"\boxed{B}, \boxed{C}", None, "two boxes, one answer"),
    (r"\boxed{A, B}", None, "a list"),
    (r"The answer is A. \boxed{B}", "B", "a box before a phrase"),
    ("The answer is B.", "B", "a phrase"),
    ("The answer is (B).", "B", "in brackets"),
    ("The answer is **B**", "B", "Markdown"),
    ("The correct answer is option B", "B", "with a noun"),
    ("The answer is B because dogs bark.", "B", "with a reason"),
    ("The answer is B, since a cat does not.", "B", "with a reason after a comma"),
    ("The answer is B which barks", "B", "a capital that is no English word"),
    ("Answer: B. dog", "B", "the letter and its text"),
    ("Answer: D. Vitamin C", "D", "a letter inside the text is not a second one"),
    ("Answer: B) dog", "B", "another bracket"),
    ("#### B", "B", "the GSM8K mark"),
    ("The answer is a dog.", "B", "the article is not A, the text is B"),
    ("The answer is a cow.", None, "the article is not A"),
    ("The answer is A cow.", None, "nor when it is written large"),
    ("The answer is a", None, "cut off after the article"),
    ("The answer is (a).", "A", "brackets make a label of it"),
    ("The answer is e.g. this", None, "an abbreviation is no label"),
    ("The answer is I think that", None, "nor is a pronoun"),
    ("The answer is either A or B.", None, "two letters"),
    ("The answer is B or (C).", None, "two letters"),
    ("The answer is not B.", None, "a denial"),
    ("The answer is B, not C.", "B", "a denial of another"),
    ("The answer is B, not C or D.", None, "but not of a third"),
    ("The answer is: B\n\nThe answer is not C", "B", "a denial is passed over"),
    ("The answer is B. No, the answer is not B.", None, "unless it takes back"),
    ("The answer is A. No, the answer is the dog or the cat.", None, "the last phrase that names a choice counts"),
    ('The answer is "B) dog"', "B", "in quotes"),
    (r"\boxed{Answer: B}", "B", "a phrase in a box"),
    ("The correct option is B.", "B", "another noun"),
    ("The best choice is (B) dog.", "B", "and adjective"),
    ("Therefore, option B is correct.", "B", "the letter before the verb"),
    ("Option B is not correct.", None, "a denial"),
    ("Option A is correct if option B is correct.", None, "two letters"),
    ("答案是B。", "B", "Chinese"),
    ("**B**", "B", "the whole reply, in Markdown"),
    ("**B) dog**", "B", "with its text"),
    ("**B)** dog", "B", "only the label"),
    ("Option B", "B", "with a noun"),
    ("(B)", "B", "the whole reply is a label"),
    ("B", "B", "the whole reply is a letter"),
    ("B. dog", "B", "the whole reply is a labelled choice"),
    ("A dog barks, so it may be B.", None, "a sentence is not"),
    ("<think>The answer is A.</think>\\boxed{B}", "B", "thoughts are not answers"),
    ("", None, "nothing"),
]


@pytest.mark.parametrize(("text", "expected", "reason"), ROWS)
def test_extract(text: str, expected: str | None, reason: str) -> None:
    assert extract(text, "choice", ANIMALS) == expected, reason


MONEY = ("$0.50", "$50", "$5")

NUMBERS = [
    (("0.5", "5"), "The answer is .5", "A", "the point before the digits counts"),
    (("0.5", "5", "50"), r"\boxed{.5}", "A", "in a box"),
    (MONEY, r"\boxed{\$.50}", "A", "money"),
    (MONEY, "The answer is $.50", "A", "a dollar sign, not a formula"),
    ((".5", "5"), r"\boxed{0.50}", "A", "numbers are compared by value"),
    (("1,200", "12"), r"\boxed{1200}", "A", "thousands"),
    (("1/2", "2"), r"\boxed{0.5}", "A", "a fraction"),
    (("0.5", "1/2"), r"\boxed{.5}", None, "the value of two choices"),
    (("0.5", "1/2"), r"\boxed{1/2}", "B", "but the text of one"),
    (("5 cm", "5 mm"), r"\boxed{5 \text{ mm}}", "B", "the same number in another unit is another text"),
    (("5 cm", "10 cm"), r"\boxed{5 \text{ mm}}", None, "a unit that no choice has"),
    (("5 cm", "10 cm"), r"\boxed{5}", "A", "a number without its unit"),
    (("5%", "0.5%"), r"\boxed{.5\%}", "B", "per cent"),
    (("50%", "0.5%"), r"\boxed{.5}", None, "which of them is meant depends on what per cent means"),
    (("50", "0.5"), r"\boxed{50.0\%}", None, "the same, the other way round"),
    (("0.5", "5", "neither"), r"\boxed{.5}", None, "not all of them are numbers"),
    (("120", "5"), r"\boxed{5!}", None, "a factorial is not the number in it"),
    (("120", "5"), "The answer is $5!$.", None, "a factorial is not the number in it"),
    (("n!", "n"), r"\boxed{n!}", "A", "a factorial is a text of its own"),
    (("a dog", "a cat"), r"\boxed{Dog!}", "A", "an exclamation"),
    (("0.5", "5"), r"\boxed{B. .5}", None, "the letter of one and the number of another"),
    (("0.5", "5"), r"\boxed{A. .5}", "A", "the letter and its number"),
]


@pytest.mark.parametrize(("choices", "text", "expected", "reason"), NUMBERS)
def test_a_number_among_choices(choices: tuple[str, ...], text: str, expected: str | None, reason: str) -> None:
    assert extract(text, "choice", choices) == expected, reason


def test_two_choices_with_one_text_are_unknown() -> None:
    assert extract(r"\boxed{dog}", "choice", ("dog", "a dog")) is None


def test_a_letter_goes_before_a_text() -> None:
    assert extract(r"\boxed{A}", "choice", ("B", "A")) == "A"


def test_without_choices_every_letter_is_offered() -> None:
    assert extract(r"\boxed{J}", "choice") == "J"


@pytest.mark.parametrize(
    ("left", "right", "expected", "reason"),
    [
        ("B", "B", True, "the same"),
        ("B", "(b)", True, "spelling"),
        ("B", "C", False, "another"),
        ("B", "dog", None, "not a letter"),
        ("B", None, None, "missing"),
    ],
)
def test_equality(left: str, right: str | None, expected: bool | None, reason: str) -> None:
    assert equal(left, right, "choice") is expected, reason
    assert equal(right, left, "choice") is expected, reason


@given(st.one_of(st.text(), st.lists(st.sampled_from([*"AaBC.()", " or ", " ", "dog", "I "])).map("".join)))
def test_any_text_gives_an_offered_letter_or_nothing(text: str) -> None:
    for stated in (text, rf"\boxed{{{text}}}", f"The answer is {text}"):
        assert extract(stated, "choice", ANIMALS) in (None, *"ABCDE")
