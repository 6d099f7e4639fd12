"""Numbers that one side rounded: the gold answer of a data set, a solution beside what a program computes.

Not part of equality: what is near is not transitive, and answers that are counted have to be.
"""

from __future__ import annotations

import re
from fractions import Fraction

from score_local.answers.number import parse_number
from score_local.problem import AnswerKind

SIGNIFICANT = 12  # digits of a float that its noise leaves alone
_LONG = re.compile(r"\s*[-−]?[\d,]*\.(\d{4,})\s*")  # a data set wrote a fraction so; prices have fewer decimals
_FRACTION = re.compile(r"-?\d+/\d+")  # as `spell` writes what no decimal is


def rounds_to_gold(answer: str, gold: str) -> bool:
    """Whether a number is within half a unit of the last decimal of a gold answer that has four or more of them."""
    written, value, rounded = _LONG.fullmatch(gold), parse_number(answer), parse_number(gold)
    if written is None or value is None or rounded is None:
        return False
    return abs(value - rounded) <= _half_a_unit(len(written[1]))


def rounds_to(computed: str, written: str, kind: AnswerKind) -> bool:
    """Whether what a program computed is a solution's answer once rounded to the decimals that this one writes."""
    exact, value = parse_number(computed), parse_number(written)
    if exact is None or value is None:
        return False
    tolerated = _tolerated(computed, written, value, kind)
    return tolerated > 0 and abs(exact - value) <= tolerated


def _tolerated(computed: str, written: str, value: Fraction, kind: AnswerKind) -> Fraction:
    """By how much the program's value may differ: half a unit of the last decimal that the solution writes; from a
    fraction such as 1/3, by what a float cannot hold of it."""
    if _FRACTION.fullmatch(written):
        return abs(value) / 10 ** (SIGNIFICANT - 1) if "." in computed else Fraction(0)
    decimals = len(written.partition(".")[2]) if kind == "number" and "/" not in written else 0
    return _half_a_unit(decimals) if decimals else Fraction(0)


def _half_a_unit(decimals: int) -> Fraction:
    return Fraction(1, 2 * 10**decimals)
