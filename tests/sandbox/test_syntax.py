"""The syntax wall lets through what a sum of school mathematics needs. (What it refuses: test_hostile.)"""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.sandbox.program import outcome_of
from score_local.sandbox.syntax import ForbiddenError, check

# (the program, the value of solution() as text, what it shows)
PROGRAMS = [
    ("def solution():\n    a = 3\n    a += 4\n    return a * 6", "42", "variables"),
    ("def solution():\n    return 10 / 4", "2.5", "floats"),
    ("def solution():\n    total = 0\n    for i in range(4):\n        total += i\n    return total", "6", "a loop"),
    ("def solution():\n    n = 100\n    while n > 50:\n        n //= 2\n    return n", "50", "a while loop"),
    (
        "def solution():\n    _, b = (1, 2)\n    return b if b > 1 else 0",
        "2",
        "unpacking; a single underscore is a name",
    ),
    (
        "def half(x: float) -> float:\n    return x / 2\ndef solution():\n    return half(3)",
        "1.5",
        "functions, annotations",
    ),
    ("def solution():\n    sum = 3\n    return sum", "3", "a variable named as a builtin"),
    ("def solution():\n    return sum(x**2 for x in [1, 2, 3] if x != 2)", "10", "a generator expression"),
    (
        "def solution():\n    d = {'a': 2}\n    return sum(d.values()) + d['a'] + len({1, 1})",
        "5",
        "dictionaries and sets",
    ),
    ("def solution():\n    return (lambda x, y=2: x * y)(3)", "6", "a lambda"),
    ("def solution():\n    return f'{1 / 3:.2f}'", "0.33", "a format specification"),
    ("def solution():\n    assert 1 < 2, 'no'\n    return round(2.6)", "3", "an assertion that holds"),
    ("def solution():\n    print('in all', 42)", "in all 42", "a program that prints instead of returning"),
    ("import math\ndef solution():\n    return math.ceil(7 / 2)", "4", "math"),
    ("from math import comb as choose\ndef solution():\n    return choose(4, 2)", "6", "a part of math"),
    ("def solution():\n    import math\n    return math.gcd(12, 18)", "6", "an import inside"),
    ("from fractions import Fraction\ndef solution():\n    return Fraction(1, 3) * 2", "2/3", "fractions"),
    ("from decimal import Decimal\ndef solution():\n    return Decimal('0.1') * 3", "0.3", "decimals"),
    (
        "import datetime as dt\ndef solution():\n    return (dt.date(2024, 3, 1) - dt.date(2024, 2, 1)).days",
        "29",
        "dates",
    ),
    ("def solution():\n    return math.ceil(7 / 2)", "4", "math without an import"),
    ("def solution():\n    math = 3\n    return math + 1", "4", "a subject is no module"),
    ("from math import *\ndef solution():\n    return ceil(7 / 2)", "4", "all of math"),
    (
        "from typing import List\ndef solution(x: List[int] = [3]) -> 'int':\n    y: List = x\n    return y[0]",
        "3",
        "names of typing, in annotations",
    ),
    ("import typing\ndef solution() -> typing.Any:\n    return 1", "1", "the module typing, in an annotation"),
    (
        "def solution():\n    return 1\nif __name__ == '__main__':\n    import sys\n    sys.exit(solution())",
        "1",
        "what would run in a script only",
    ),
    ("def solution():\n    'What it does.'\n    return 1", "1", "a docstring"),
    ("x = 2\ndef solution():\n    return x\nprint(solution())", "2", "statements around the function"),
    ("def solution():\n    return ' a\\n b '", "a b", "a text becomes one line"),
]

# (the program, how it ends, what it shows)
FAILURES = [
    ("def solution():\n    return 1 / 0", "error", "ZeroDivisionError"),
    ("def solution(n):\n    return n", "error", "missing 1 required"),
    ("def solve():\n    return 1", "error", "no function solution()"),
    ("solution = 5", "error", "no function solution()"),
    ("def solution():\n    pass", "error", "returns nothing"),
    ("def solution():\n    return [1]", "error", "returns a list"),
    ("def solution():\n    return solution", "error", "returns a function"),
    ("def solution():\n    return apples", "forbidden", "the name apples (line 2)"),
    ("def solution():\n    return 3 eggs", "syntax", "SyntaxError"),
    ("from typing import List\ndef solution():\n    return List[int]", "forbidden", "the name List (line 3)"),
    ("from os import *\ndef solution():\n    return 1", "forbidden", "importing from os (line 1)"),
    ("def solution():\n    return 1\nif __name__ == 'solution':\n    pass", "forbidden", "the name __name__"),
    ("def solution():\n    return math", "forbidden", "the module math as a value (line 2)"),
    ("def solution():\n    return math.__loader__", "forbidden", "the attribute __loader__"),
    ("import numpy\ndef solution():\n    return 1", "forbidden", "importing numpy (line 1)"),
]


@pytest.mark.parametrize(("source", "value", "reason"), PROGRAMS)
def test_what_programs_may_do(source: str, value: str, reason: str) -> None:
    assert outcome_of(source) == ("value", value), reason


@pytest.mark.parametrize(("source", "outcome", "told"), FAILURES)
def test_failures_are_told(source: str, outcome: str, told: str) -> None:
    ended, text = outcome_of(source)
    assert ended == outcome and told in text, text


@given(st.from_regex(r"__[a-z]{1,12}(__)?", fullmatch=True))
def test_no_name_of_pythons_own(name: str) -> None:
    for source in (f"{name} = 1", f"(1).{name}", f"def {name}(): pass", f"lambda {name}: 1", f"import math as {name}"):
        with pytest.raises(ForbiddenError):
            check(ast.parse(source))


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    ended, told = outcome_of(text)
    assert ended in ("syntax", "forbidden", "error") and "\n" not in told
