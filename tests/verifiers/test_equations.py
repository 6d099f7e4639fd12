"""The exact checker: a row per case with its reason, properties, precision and recall over gold rationales."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_local.verifiers.comparison import canonical
from score_local.verifiers.equations import Check, check_steps, first_wrong, split_steps

GOLD = Path(__file__).parents[3] / "shared" / "data" / "gsm8k" / "train.jsonl"
Holds = list[bool | None]
YES: Holds = [True]
NO: Holds = [False]
UNKNOWN: Holds = [None]
NONE: Holds = []

ROWS: list[tuple[str, Holds, str]] = [
    # plain operators
    ("5 + 3 = 8", YES, "addition"),
    ("5 + 3 = 9", NO, "wrong addition"),
    ("15 - 20 = -5", YES, "negative result"),
    ("15 - 20 = 5", NO, "a lost minus sign"),
    ("15 − 20 = −5", YES, "Unicode minus"),
    ("15 – 7 = 8", YES, "en dash as minus"),
    ("6*7=42", YES, "no spaces"),
    ("6 × 7 = 42", YES, "multiplication sign"),
    ("6 x 7 = 42", YES, "letter x between numbers"),
    ("6x7=43", NO, "letter x without spaces"),
    ("6 X 7 = 42", YES, "capital X"),
    ("6 · 7 = 42", YES, "middle dot"),
    ("6 ∗ 7 = 42", YES, "asterisk operator"),
    ("42 / 7 = 6", YES, "slash"),
    ("42 ÷ 7 = 7", NO, "division sign"),
    ("5 plus 3 equals 8", YES, "operators in words"),
    ("5 times 3 equals 16", NO, "operators in words, wrong"),
    ("42 divided by 7 is equal to 6", YES, "divided by, is equal to"),
    ("2 + 3 * 4 = 14", YES, "precedence"),
    ("(2 + 3) * 4 = 20", YES, "parentheses"),
    ("[2 + 3] * 4 = 21", NO, "square brackets"),
    ("2 + 3 * 4 = 20", UNKNOWN, "left to right is a common slip of notation"),
    ("10 + 20 + 30 / 3 = 20", UNKNOWN, "an average without brackets"),
    ("28 / 1/5 = 140", UNKNOWN, "the fraction was meant as one operand"),
    ("-5 + 3 = -2", YES, "unary minus at the start"),
    ("4 * -3 = -12", YES, "unary minus after an operator"),
    ("2^3 = 8", YES, "power"),
    ("2^{3} + 1 = 9", YES, "power in braces"),
    ("2**3 = 9", NO, "Python power"),
    ("3² = 9", YES, "superscript"),
    ("-2^2 = -4", YES, "a power binds tighter than a sign"),
    ("2^3^2 = 512", YES, "powers group to the right"),
    ("2(3) = 6", YES, "a factor in brackets"),
    ("(2)(3) = 7", NO, "two brackets"),
    ("5 (3 + 2) = 26", UNKNOWN, "a space before the bracket: perhaps a remark"),
    ("3 + 4 == 7", YES, "double equals sign"),
    # bounds
    ("5 / 0 = 0", UNKNOWN, "division by zero"),
    ("9**9**9 = 5", UNKNOWN, "huge power"),
    ("2^100000 = 5", UNKNOWN, "huge exponent"),
    ("0^-1 = 0", UNKNOWN, "a power that divides by zero"),
    ("2^0.5 = 1.41", UNKNOWN, "irrational"),
    (f"{'9' * 60} + 1 = 5", UNKNOWN, "absurdly long number"),
    ("+".join("1" * 500) + " = 3", UNKNOWN, "absurdly long sum"),
    ("(" * 300 + "1 + 1" + ")" * 300 + " = 2", UNKNOWN, "absurd nesting"),
    # numbers
    ("1,200 + 300 = 1,500", YES, "thousands separators"),
    ("1{,}200 + 300 = 1{,}600", NO, "LaTeX thousands separators"),
    ("1,5 + 3 = 4,5", UNKNOWN, "a decimal comma is not read"),
    (".5 + .25 = .75", YES, "decimals without a leading zero"),
    ("0.1 + 0.2 = 0.3", YES, "exact decimals"),
    ("0.1 + 0.2 = 0.30000000000000004", YES, "floating-point noise"),
    ("½ × 8 = 4", YES, "vulgar fraction"),
    ("2½ + 1 = 3.5", YES, "vulgar mixed number"),
    ("3 1/2 * 2 = 7", YES, "mixed number"),
    ("2\\frac{1}{2} \\times 4 = 11", NO, "LaTeX mixed number"),
    ("3:30 + 2 = 5:30", UNKNOWN, "times of day"),
    ("0900-0130 = 0730", UNKNOWN, "military time"),
    ("Mix 3:4 * 2 = 9", UNKNOWN, "a ratio"),
    ("5-10 minutes * 3 = 30", UNKNOWN, "a range"),
    ("555-1234 = 3", UNKNOWN, "a telephone number"),
    ("version 1.2.3 + 1 = 5", UNKNOWN, "a version"),
    ("1e3 + 1 = 5", UNKNOWN, "scientific notation is not read"),
    # rounding
    ("10 / 3 = 3.33", YES, "rounded"),
    ("20 / 3 = 6.66", YES, "truncated"),
    ("20 / 3 = 6.67", YES, "rounded up"),
    ("10 / 3 = 3.34", UNKNOWN, "neither, but less than one unit of the last place off"),
    ("20 / 3 = 6.68", NO, "more than one unit of the last place off"),
    ("20 / 3 = 6.7", YES, "rounded to one decimal"),
    ("20 / 3 = 7.7", NO, "not a rounding"),
    ("2.5 / 10 = 0.3", YES, "half up"),
    ("100/3 = 33", YES, "whole things: floor"),
    ("100/3 = 34", YES, "whole things: ceiling"),
    ("100/3 = 35", NO, "neither floor nor ceiling"),
    ("99/3 = 34", NO, "nothing to round"),
    ("100/3 ≈ 33.3", YES, "approximately"),
    ("100/3 \\approx 33", YES, "LaTeX approximately"),
    ("100/3 = about 33", YES, "about"),
    ("100/3 ~ 30", UNKNOWN, "roughly right"),
    ("100/3 ≈ 70", NO, "not even roughly"),
    ("0.33 * 300 = 100", UNKNOWN, "0.33 stood for a third"),
    ("12 + 13 = 26", NO, "no rounding of whole sums"),
    # percent, fractions, of
    ("20% of 50 = 10", YES, "percent of"),
    ("20% of 50 = 11", NO, "percent of, wrong"),
    ("20 percent of the 50 apples = 10", YES, "the word percent, and a determiner"),
    ("50 * 20% = 10", YES, "percent as a factor"),
    ("20/100 * 50 = 10", YES, "percent as a fraction"),
    ("25/50 = 50%", YES, "percent on the right"),
    ("25/50 = 60%", NO, "percent on the right, wrong"),
    ("25/50 * 100 = 50%", YES, "percent already multiplied out"),
    ("100% - 20% = 80%", YES, "percentages"),
    ("100 - 20% = 80", UNKNOWN, "a relative percentage"),
    ("20\\% \\times 50 = 10", YES, "LaTeX percent sign"),
    ("1/2 of 48 = 24", YES, "fraction of"),
    ("1/2 of $48 = $20", NO, "fraction of, wrong"),
    ("80 - 25% of 80 = 60", YES, "of binds like a product"),
    ("1/3 of the apples = 10", UNKNOWN, "a fraction of an unknown quantity"),
    ("1/2 hour = 30 minutes", UNKNOWN, "a conversion"),
    ("half of 5 + 3 = 4", UNKNOWN, "half is not read"),
    ("twice 5 + 3 = 13", UNKNOWN, "twice is not read"),
    ("1/4 cup + 1/4 cup = 1/2 cup", YES, "fractions with units"),
    ("3/4 = 1/2", UNKNOWN, "a proper fraction may be a share"),
    # money and units
    ("$18 + $5 = $23", YES, "dollars"),
    ("\\$18 + \\$5 = \\$22", NO, "LaTeX dollars, wrong"),
    ("£4 * 3 = £12", YES, "pounds"),
    ("€4.50 * 2 = €9", YES, "euros"),
    ("48 clips / 2 = 24 clips", YES, "units"),
    ("48 clips/2 = 25 clips", NO, "units, wrong"),
    ("$5/hour * 3 hours = $15", YES, "a rate"),
    ("10 miles per hour * 3 hours = 31 miles", NO, "a rate in words, wrong"),
    ("3 apples + 4 apples = 7 apples", YES, "units in a sum"),
    ("12 \\text{ eggs} \\times 2 = 24", YES, "LaTeX units"),
    ("5 dollars x 3 = 15 dollars", YES, "x after a unit"),
    ("4 cm * 3 cm = 12 cm^2", YES, "a squared unit"),
    ("120-page book * 2 = 240 pages", YES, "a hyphenated unit"),
    ("2 hours = 120 minutes", NONE, "a conversion without an operator"),
    ("2 hours + 30 minutes = 150 minutes", UNKNOWN, "mixed units in a sum"),
    ("2 hours + 30 minutes = 32", UNKNOWN, "mixed units, though the digits add up"),
    ("3 ft + 6 in = 42 in", UNKNOWN, "feet and inches"),
    ("6in + 3ft = 42in", UNKNOWN, "glued"),
    ("3 ft. + 6 in + 2 in = 44 in", UNKNOWN, "a full stop behind a unit hides the operand"),
    ("6 in + 3 in = 10 in", NO, "inches alone"),
    ("5 + 3 = 9 in total", NO, "the word in"),
    ("5 in + 3 out = 9", NO, "in and out are no two units"),
    ("2 ft + 3 = 6 in May", NO, "the word in, beside a unit"),
    ("2 yd + 1 ft = 7 ft", UNKNOWN, "yards and feet"),
    ("4 qt + 2 pt = 10 pt", UNKNOWN, "quarts and pints"),
    ("2 gal + 1 qt = 9 qt", UNKNOWN, "gallons and quarts"),
    ("3 tbsp + 3 tsp = 4 tbsp", UNKNOWN, "spoons"),
    ("3 yrs + 6 mos = 42 mos", UNKNOWN, "years and months"),
    ("£3 + 50 pence = £3.50", UNKNOWN, "pounds and pence"),
    ("3 pounds + 50 pence = 350", UNKNOWN, "the same in words"),
    ("1 GB + 512 MB = 1.5 GB", UNKNOWN, "bytes"),
    ("5 miles + 3 hours = 9", UNKNOWN, "a sum of two kinds of units"),
    ("3 pounds + $2 = $6", NO, "pounds are money too"),
    ("5 oz + 3 oz = 9 oz", NO, "one unit, though of two kinds"),
    ("3 hours + 2 hours = 9 miles", NO, "the operands have one unit"),
    ("$5 * 3 hours + $2 = $18", NO, "a product of units makes another unit"),
    ("3 apples + 4 oranges = 8 fruits", NO, "things that are counted do not convert"),
    ("2 hours * 3 = 360 minutes", UNKNOWN, "a silent conversion"),
    ("60 minutes / 2 hours = 0.5", UNKNOWN, "mixed units, and a factor makes it right"),
    ("60 minutes / 2 hours = 50", NO, "mixed units, and no factor makes it right"),
    ("4 quarters * 25 cents = $1", UNKNOWN, "cents to dollars"),
    ("5 * 1 dozen = 60 eggs", UNKNOWN, "a dozen is twelve"),
    ("$3 million + 500 thousand = $3.5 million", UNKNOWN, "number words"),
    ("900g + 100g = 1000g", UNKNOWN, "a glued letter may be a variable"),
    ("5 + 3 = 8 students got B", YES, "a capital letter after words is a name"),
    # chains
    ("3 x 4 = 12 + 5 = 17", [True, True], "running total"),
    ("3 x 4 = 12 + 5 = 18", [True, False], "running total, wrong at the end"),
    ("3 x 4 = 13 + 5 = 18", [False, True], "running total, wrong in the middle"),
    ("2*3 + 4 = 6 + 4 = 10", [True, True], "rewriting"),
    ("2*3 + 4 = 6 + 5 = 11", [False, True], "rewriting, wrong"),
    ("5+3 = 8, 8*2 = 17", [True, False], "two equations in a sentence"),
    ("5 + 3 = 8 apples and 4 + 2 = 6 pears", [True, True], "words between equations"),
    # annotations
    ("<<48/2=24>>24", YES, "annotation alone"),
    ("48/2 = <<48/2=24>>24 clips", [True, True], "annotation and equation"),
    ("48/2 = <<48/2=24>>25 clips", [True, False], "the copy is wrong"),
    # variables and unknown quantities
    ("x = 5", NONE, "no operator"),
    ("3x = 12", NONE, "no operator"),
    ("2x + 3 = 7", UNKNOWN, "a variable"),
    ("x + 3 = 7", NONE, "a variable as the left operand"),
    ("x + 3 + 2 = 7", UNKNOWN, "a variable before a sum"),
    ("3 + 2 + x = 9", UNKNOWN, "a variable at the end"),
    ("x = 3*4 = 12", YES, "a variable as a label"),
    ("3 * 4 = x", NONE, "a variable as the result"),
    ("3 * 4 = 2x", UNKNOWN, "a variable on the right"),
    ("8/3 = 24/y", UNKNOWN, "a proportion"),
    ("total + 5 + 3 = 12", UNKNOWN, "a word as an operand"),
    ("total - 5 * 3 = 12", UNKNOWN, "a word before a dash"),
    ("3 * price + 2 = 12", UNKNOWN, "a word in the middle"),
    ("24 + 12 / friends = 18", UNKNOWN, "divided by a word"),
    ("\\sqrt{16} + 3 = 7", UNKNOWN, "a function"),
    ("sqrt(9 + 16) = 5", UNKNOWN, "a function in plain text"),
    ("sqrt(16) + 1 = 5", UNKNOWN, "and with more behind it"),
    ("floor(7/2) * 10 = 30", UNKNOWN, "rounding down"),
    ("ceil(10/4) * 5 = 15", UNKNOWN, "rounding up"),
    ("log(100) * 3 = 6", UNKNOWN, "a logarithm"),
    ("log_2(8) + 1 = 4", UNKNOWN, "with its base"),
    ("f(3) * 2 = 8", UNKNOWN, "a function with a name of its own"),
    ("f\\left(3\\right) * 2 = 8", UNKNOWN, "before a sized bracket"),
    ("48 clips\\frac{1}{2} + 1 = 4", NO, "a fraction is no argument"),
    ("f'(3) + 1 = 4", UNKNOWN, "its derivative, though the digits add up"),
    ("3 + 5 = 2 sqrt(16)", UNKNOWN, "a function on the right"),
    ("max(3, 5) + 2 + 1 = 8", UNKNOWN, "a function of a list"),
    ("(3, 4) + 2 + 1 = 10", UNKNOWN, "a list is no number to add to"),
    ("\\operatorname{sqrt}(16) + 1 = 5", UNKNOWN, "a function as LaTeX text"),
    ("sqrt 16 + 1 = 5", UNKNOWN, "a function without brackets"),
    ("2 sqrt 16 + 1 = 9", UNKNOWN, "and with a factor"),
    ("|-5| + 3 + 1 = 9", UNKNOWN, "an absolute value"),
    ("5! + 3 + 1 = 124", UNKNOWN, "a factorial"),
    ("16 * 2 = 4! + 8", UNKNOWN, "a factorial on the right"),
    ("5 + 3 = 9!", NO, "an exclamation"),
    ("5*4*3*2*1 = 5! = 120", UNKNOWN, "a factorial between two equals signs"),
    ("1+2+3+...+9+10 = 55", UNKNOWN, "the dots stand for terms"),
    ("2 + 4 + … +18+20 = 110", UNKNOWN, "as one character too"),
    ("total (5 + 3) * 2 = 17", NO, "a word and a space before the bracket"),
    ("10 apples (5 + 5) = 11", NO, "also behind a number"),
    ("10 apples(red) + 5 = 16", NO, "words in the bracket are a remark, glued or not"),
    ("2\\pi \\times 3 = 18.84", UNKNOWN, "a constant"),
    # text around
    ("Natalia sold 48/2 = 24 clips in May.", YES, "text on both sides"),
    ("In 2020 he had 5 + 3 = 8", YES, "a number before words"),
    ("In 2020 he had 5 + 3 = 9", NO, "a number before words, wrong"),
    ("3 boxes of 5 apples + 2 = 17", UNKNOWN, "words may have meant times"),
    ("The sum of 12 and 5 * 3 = 27", UNKNOWN, "words may have meant plus"),
    ("Total = 48 + 24 = 72", YES, "a label with an equals sign"),
    ("Total cost: 5 * $3 = $16", NO, "a label with a colon"),
    ("Monday - 5 + 3 = 9", UNKNOWN, "a dash after a word"),
    ("Day 1 - 5 + 3 = 8", UNKNOWN, "a dash after a numbered label"),
    ("1. 5 + 3 = 8", YES, "a numbered line"),
    ("(1) 5 + 3 = 8", YES, "a bracketed number"),
    ("(5) + 3 = 9", NO, "a bracketed operand is no label"),
    ("Step 2: 3 + 4 = 7", YES, "a step marker"),
    ("**Step 2:** 3 + 4 = 7", YES, "a bold step marker"),
    ("- 5 + 3 = 8", YES, "a bullet is not a minus"),
    ("* 5 + 3 = 9", NO, "a star bullet"),
    ("- 5 + 3 = -2", UNKNOWN, "a bullet or a minus"),
    ("**5 + 3 = 8**", YES, "bold"),
    ("5 + 3 = **9**", NO, "bold result"),
    ("`5 + 3 = 8`", YES, "code"),
    ("(48/2 = 24)", YES, "in brackets"),
    ("8 clips (48/6 = 9)", NO, "in brackets after a number"),
    ("3 (apples) * 2 (people) = 6", YES, "remarks in brackets"),
    ("5 + 3 = a total of 9", NO, "empty words before the result"),
    ("5 + 3 more than he had = he has 9", UNKNOWN, "words before the result"),
    ("17 apples because20-3 = 17", UNKNOWN, "a number glued to a word"),
    ("14, 400 / 80 = 180", UNKNOWN, "a split number on the left"),
    ("600 x 30 = 18 000", UNKNOWN, "a split number on the right"),
    ("1 + 1 *+1 = 3", UNKNOWN, "two operators"),
    ("5 * 3 = $15,000", UNKNOWN, "counted in thousands"),
    ("9 because 3 * 3 = 9", YES, "a clause begins"),
    ("5 + 3 >= 9", NONE, "a comparison"),
    ("5 + 3 != 9", NONE, "an inequality"),
    ("5 + 3 <= 9", NONE, "a comparison"),
    ("5 + 3 => 9", NONE, "an arrow"),
    ("(3, 4) + 2 = 6", NONE, "a list is no number"),
    # what may make another claim of it
    (r"\frac12 \cdot 6 \cdot 4 = 12", YES, "a fraction without braces"),
    (r"\frac12 \cdot 6 \cdot 4 = 13", NO, "and a wrong result"),
    (r"\frac1{10} \cdot 20 = 2", YES, "with one pair of braces"),
    (r"\frac 12 \cdot 6 = 3", YES, "a space before it"),
    (r"2\frac12 \cdot 4 = 10", YES, "a mixed number"),
    (r"\frac123 + 1 = 4", UNKNOWN, "one digit too many"),
    ("$a_{2} + 3 = 10$", UNKNOWN, "a braced index"),
    (r"T_{10} \cdot 2 = 100", UNKNOWN, "a braced index of two digits"),
    ("18_{10} + 3 = 21", UNKNOWN, "a base"),
    ("13_5 * 2 = 31_5", UNKNOWN, "a base without braces"),
    ("_5 + 3 = 9_", NO, "but Markdown's underscores"),
    ("_5_ + __3__ = 9", NO, "are no indices"),
    ("She has 3 fewer than 4 * 5 = 17", UNKNOWN, "a comparative"),
    ("$5 less than 3 * $10 = $25", UNKNOWN, "of money"),
    ("10 years younger than 2 * 20 = 30", UNKNOWN, "with a unit"),
    ("two fewer than 4 * 5 = 18", UNKNOWN, "with a number in words"),
    ("3 fewer than twelve is 12 - 3 = 10", NO, "but behind a verb all of it is written"),
    ("half as many as 10 + 6 = 8", UNKNOWN, "a share"),
    ("twice as much as 10 + 6 = 32", UNKNOWN, "a multiple"),
    ("3 times as many as 2 + 5 = 21", UNKNOWN, "a multiple in digits"),
    ("Half of the 10 + 6 = 8", UNKNOWN, "a share of a sum"),
    ("Half the total: 10 + 6 = 8", UNKNOWN, "before a colon"),
    ("30% of the total 50 + 50 = 30", UNKNOWN, "a percentage of a sum"),
    ("30% of the total: 50 + 50 = 30", UNKNOWN, "before a colon"),
    ("30% of the total: 100 * 0.3 = 31", NO, "but a product takes the share itself"),
    ("In the second half of the year 10 + 6 = 17", NO, "and a half may be a time"),
    ("the remainder is 17 / 5 = 2", UNKNOWN, "a remainder of a division"),
    ("the remainder is 17 - 5 = 13", NO, "but not what is left of a difference"),
    ("two $20 bills + $5 = $45", UNKNOWN, "a count before a currency sign"),
    ("$20 bills + $5 = $24", NO, "but no count"),
    ("11 + 8 = 7 AM", UNKNOWN, "a time of day"),
    ("9 a.m. + 5 = 2 p.m.", UNKNOWN, "with full stops"),
    ("5pm - 9am = 8 hours", UNKNOWN, "glued"),
    ("9 + 5 = 2 o'clock", UNKNOWN, "in words"),
    ("5 * 3 = 1 mod 7", UNKNOWN, "a congruence"),
    ("2 (x) + 3 = 11", UNKNOWN, "a variable in brackets"),
    ("5 tens + 3 ones = 53", UNKNOWN, "place values"),
    ("Is 5 + 3 = 9? No.", UNKNOWN, "a question"),
    ("5 + 3 = 9 is incorrect", UNKNOWN, "a denial"),
    ("5 + 3 = 9, which is wrong", UNKNOWN, "behind a comma"),
    ("5 + 3 = 9 is not right", UNKNOWN, "in two words"),
    ("5 + 3 = 9 (wrong)", UNKNOWN, "in brackets"),
    ("It is not true that 5 + 3 = 9", UNKNOWN, "before it"),
    ("This is wrong: 5 + 3 = 9", UNKNOWN, "before a colon"),
    ("17 / 5 = 2 r3", UNKNOWN, "a short remainder"),
    ("5 less than the sum of 10 + 6 = 11", UNKNOWN, "a comparative with words behind"),
    ("5 + 3 = 9 questions wrong", NO, "but not of what is counted"),
    # LaTeX and lines
    ("\\( 5 + 3 = 8 \\)", YES, "inline delimiters"),
    ("\\[ \\frac{3}{4} \\cdot 8 = \\boxed{7} \\]", NO, "display, fraction, box"),
    ("$5 + 3 = 8$", YES, "dollar delimiters"),
    ("$$48 \\div 2 = 24$$", YES, "double dollar delimiters"),
    ("$\\dfrac{1}{2} \\times 48 = 24$", YES, "display fraction"),
    ("\\left( 2 + 3 \\right) \\times 4 = 20", YES, "sized brackets"),
    ("\\frac{2 + 3}{5 - 4} = 5", YES, "a fraction of sums"),
    ("\\frac{\\text{total}}{5} = 3", NONE, "words in a fraction"),
    ("\\frac{1}{2 = 3", UNKNOWN, "an unclosed fraction"),
    ("3 \\times 4 &= 12 \\\\ &= 13", YES, "aligned lines: a bare repetition is not checked"),
    ("3 \\times 4 + 2 &= 12 + 2 \\\\ &= 15", [True, False], "aligned lines"),
    ("5 + 3\n= 9", NO, "the equation goes on in the next line"),
    ("5 + 3 =\n8", YES, "the result on the next line"),
    ("5 + 3 = 8\n4 + 2 = 6", [True, True], "two lines"),
    ("5 + 3 = 8\n- 4 + 2 = 6", [True, True], "a bullet does not go on"),
    ("", NONE, "nothing"),
    ("There is nothing here.", NONE, "no numbers"),
]


@pytest.mark.parametrize(("text", "expected", "reason"), ROWS, ids=[f"{i}-{row[2]}" for i, row in enumerate(ROWS)])
def test_rows(text: str, expected: Holds, reason: str) -> None:
    assert [check.holds for check in check_steps([text])] == expected, reason


def test_a_check_says_where_and_what() -> None:
    checks = check_steps(["Step 1: 2 + 2 = 4", "Step 2: so $5 * 3 = <<5*3=15>>16 dollars"])
    assert first_wrong(checks) == Check(2, "$5 * 3 = 16", False, "15")
    assert first_wrong(checks[:1]) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(24), "24"),
        (Fraction(-5, 2), "-2.5"),
        (Fraction(1, 8), "0.125"),
        (Fraction(1, 3), "1/3"),
        (Fraction(-1, 20), "-0.05"),
        (Fraction(0), "0"),
    ],
)
def test_canonical(value: Fraction, text: str) -> None:
    assert canonical(value) == text


@pytest.mark.parametrize(
    ("solution", "steps"),
    [
        ("Step 1: a\nStep 2: b\nmore", ["Step 1: a", "Step 2: b\nmore"]),
        ("Hello.\nStep 1: a\nStep 2: b", ["Hello.\nStep 1: a", "Step 2: b"]),
        ("**Step 1:** a\n\n**Step 2:** b", ["**Step 1:** a", "**Step 2:** b"]),
        ("1. a\n2. b\n   c", ["1. a", "2. b\n   c"]),
        ("a\nb\n\nc", ["a\nb", "c"]),
        ("a\n\n\n", ["a"]),
        ("a\nb", ["a", "b"]),
        ("5 + 3\n= 8\nso 8", ["5 + 3\n= 8", "so 8"]),
        ("", []),
    ],
)
def test_split_steps(solution: str, steps: list[str]) -> None:
    assert split_steps(solution) == steps


# Properties.

OPERATORS = {
    "+": ["+", " + ", " plus "],
    "-": [" - ", " − ", " – "],
    "*": ["*", " * ", " × ", " x ", " \\times ", " \\cdot ", " · "],
    "/": [" / ", "/", " ÷ ", " \\div "],
}
UNITS = ["", " apples", " red clips", "\\text{ eggs}"]


def plain(number: int) -> str:
    return str(number)


FORMATS = [plain, lambda n: f"{n:,}", lambda n: f"{n:,}".replace(",", "{,}"), lambda n: f"${n}", lambda n: f"\\${n:,}"]


@st.composite
def equations(draw: st.DrawFn) -> tuple[str, Fraction]:
    """A left side as somebody might write it, and its value."""
    numbers = draw(st.lists(st.integers(1, 99999), min_size=2, max_size=5))
    operators = draw(st.lists(st.sampled_from("+-*/"), min_size=len(numbers) - 1, max_size=len(numbers) - 1))
    show, unit = draw(st.sampled_from(FORMATS)), draw(st.sampled_from(UNITS))
    text, exact = show(numbers[0]) + unit, f"Fraction({numbers[0]})"
    for operator, number in zip(operators, numbers[1:], strict=True):
        text += draw(st.sampled_from(OPERATORS[operator])) + show(number) + unit
        exact += f"{operator}Fraction({number})"
    return text, Fraction(eval(exact, {"Fraction": Fraction}))


@given(equations(), st.sampled_from(["{} = {}", "So {} = {} in all.", "\\( {} = {} \\)", "- {} = {}", "2. {}={}"]))
def test_correct_equations_hold(equation: tuple[str, Fraction], frame: str) -> None:
    left, value = equation
    right = canonical(value) if "/" not in canonical(value) else f"{float(value):.2f}"
    assert [check.holds for check in check_steps([frame.format(left, right)])] == [True]


@given(equations(), st.sampled_from([7, 1000, 12345]))
def test_clear_errors_are_never_taken_for_right(equation: tuple[str, Fraction], margin: int) -> None:
    left, value = equation
    wrong = round(value) + margin
    assert [check.holds for check in check_steps([f"{left} = {wrong}"])] in ([False], [None])


@given(
    st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from("+-*"), st.integers(1, 10**6), st.sampled_from(UNITS)
)
def test_a_wrong_result_of_one_operator_is_found(a: int, b: int, operator: str, error: int, unit: str) -> None:
    value = {"+": a + b, "-": a - b, "*": a * b}[operator]
    (check,) = check_steps([f"{a}{unit} {operator} {b}{unit} = {value + error}{unit}"])
    assert (check.holds, check.expected) == (False, str(value))


PIECES = [
    "5",
    "3.5",
    "1,000",
    "0",
    " ",
    "+",
    "-",
    "*",
    "/",
    "^",
    "**",
    "=",
    "≈",
    "(",
    ")",
    "x",
    "of",
    "%",
    "$",
    "{",
    "}",
]
PIECES += [
    "\\frac",
    "\\\\",
    "\n",
    "apples",
    "1/2",
    "½",
    "²",
    "<<",
    ">>",
    "- ",
    "1. ",
    "Step 1:",
    ".",
    ",",
    ":",
    "\\text",
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join) | st.text())
def test_never_raises(text: str) -> None:
    for check in check_steps(split_steps(text)):
        assert check.holds in (True, False, None)


HOSTILE = ["(", "1+", "1=", "x ", "\\frac{", "1,000,", "((1)", "of 1/2 ", "a (b ", "\n- ", "1 a ", "1/2 of the ", "2^"]
HOSTILE += ["step 1 ", "1 (a) ", "1+1=2 ", " \n", "#", "<<1", "\n* "]


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_is_linear(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    began = time.perf_counter()
    check_steps(split_steps(text))
    assert time.perf_counter() - began < 20


# Gold rationales of GSM8K, which are nearly all correct.


def rationales(count: int) -> list[str]:
    if not GOLD.exists():
        pytest.skip("GSM8K is not beside the checkout")
    with GOLD.open(encoding="utf-8") as lines:
        return [json.loads(line)["rationale"] for line, _ in zip(lines, range(count), strict=False)]


def is_flagged(text: str) -> bool:
    return first_wrong(check_steps(split_steps(text))) is not None


def test_gold_rationales_are_not_flagged() -> None:
    texts = rationales(1500)
    assert sum(map(is_flagged, texts)) < 0.01 * len(texts)


@pytest.mark.parametrize("spoil", [lambda value: value + 1, lambda value: value * 10], ids=["plus-one", "times-ten"])
def test_planted_errors_are_found(spoil: Callable[[Fraction], Fraction]) -> None:
    rng = random.Random(0)
    spoiled = [text for text in (plant(rationale, spoil, rng) for rationale in rationales(1500)) if text]
    assert sum(map(is_flagged, spoiled)) >= 0.9 * len(spoiled)


def plant(rationale: str, spoil: Callable[[Fraction], Fraction], rng: random.Random) -> str:
    """The rationale without annotations and with one result changed; "" where there is none to change."""
    results = [match for match in re.finditer(r"<<[^<>]*>>(\d+(?:\.\d+)?)(?![\d.,]*\d)", rationale) if float(match[1])]
    if not results:
        return ""
    result = rng.choice(results)
    changed = canonical(spoil(Fraction(result[1])))
    return re.sub(r"<<[^<>]*>>", "", rationale[: result.start(1)] + changed + rationale[result.end() :])
