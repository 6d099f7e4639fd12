"""Kind "expression": formulas, sets, intervals, words; compared with Math-Verify.

Math-Verify (SymPy) may think for ever or fill the memory, and its own time limit works in the main thread only. So it
runs in a worker process, which is killed when it takes too long; this module imports it nowhere else.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

from score_local.answers.final import Final
from score_local.answers.number import parse_number, spell
from score_local.answers.plain import plain
from score_local.answers.process import Worker
from score_local.answers.python_syntax import latex_of

MAX_LENGTH = 1000  # characters of an expression; no answer is longer

_ROOT = Path(__file__).parent.parent.parent
_worker = Worker("score_local.answers.worker", cwd=_ROOT)

_MATH = re.compile(r"\\\((.+?)\\\)|\\\[(.+?)\\\]|\$\$?([^$]+)\$\$?")
# No units, percent signs or brackets: those mean more here than in a number.
_NUMERIC = re.compile(r"(?:[-−+\d.,/{}\s]|\\[dtc]?frac|\\[!,])+")

# A word of three letters or more behind a space: fewer may be variables.
_COUNTED = re.compile(r"[-−+]?[$€£]?[\d.,]+\s+[^\W\d_]{3,}(?:[\s/.-]+[^\W\d_]+)*\.?")

# Between two digits white space means something, "1 1/2" and "11/2"; only a thin space before three of them does not.
_UNSEEN = re.compile(r"(?<!\\)\\!|(?<=\d)\\[,;:](?=\d{3}(?!\d))")
_SPACING = re.compile(r"(?<!\\)\\[,;: ]|\s+")
_MIXED = re.compile(r"(?<![\d.,])(\d+) (\d+) ?/ ?([1-9]\d*)(?![\d.,]?\d)")
_APART = re.compile(r"\d \d")
_SIZES = re.compile(r"\\(?:left|right)(?![A-Za-z])")


def canonical(final: Final) -> str | None:
    """The expression with its white space made even; a plain number in its canonical spelling."""
    stated = final.text if final.boxed else _formula(final.text)
    stated = " ".join(stated.split()).strip("`*$ ")
    if not stated or len(stated) > MAX_LENGTH:
        return None
    value = _plain_value(stated)
    return stated if value is None else spell(value)


def equal(left: str, right: str, worker: Worker = _worker) -> bool | None:
    """Whether two expressions are mathematically the same; None where either cannot be read or it takes too long."""
    if max(len(left), len(right)) > MAX_LENGTH:
        return None
    values = _plain_value(left), _plain_value(right)
    if None not in values:
        return values[0] == values[1]
    if values != (None, None) or plain(left).split() == plain(right).split():
        stated = _number_in(left), _number_in(right)
        if None not in stated:
            return stated[0] == stated[1]
    left, right = _evened(left), _evened(right)
    if not _squeezed(left) or not _squeezed(right):
        return None
    return True if _squeezed(left) == _squeezed(right) else _by_worker(left, right, worker)


def _number_in(stated: str) -> Fraction | None:
    """A plain number, or that of "5 eggs", of which Math-Verify makes a product of variables; None: another thing."""
    words = plain(stated)
    return parse_number(words) if _COUNTED.fullmatch(words) else _plain_value(stated)


def _by_worker(left: str, right: str, worker: Worker) -> bool | None:
    sides = latex_of(left), latex_of(right)
    # Math-Verify reads "1 200" as 201, or drops a part of it.
    if sides[0] is None or sides[1] is None or _APART.search(left) or _APART.search(right):
        return None
    verdict = worker.ask({"left": sides[0], "right": sides[1]})
    return verdict if isinstance(verdict, bool) else None


def same_by_math_verify(left: str, right: str) -> bool | None:
    """Math-Verify's verdict, with no time limit of its own; None where a side is no expression. For the worker.

    It treats "x = 5" and "5" differently on the two sides, so both orders are tried.
    """
    from math_verify import verify

    sides = _parsed(left), _parsed(right)
    if not all(sides):
        return None
    if _letter_in(*sides) or _letter_in(*sides[::-1]):
        sides = [side + 1 for side in sides[0]], [side + 1 for side in sides[1]]
    orders = (sides, sides[::-1])
    return any(verify(gold, target, timeout_seconds=None, raise_on_error=True) for gold, target in orders)


def _letter_in(letter: list[Any], formula: list[Any]) -> bool:
    """Math-Verify compares a lone letter by its name only: to it, x is not 2x/2, but x + 1 is 2x/2 + 1."""
    from sympy import Expr

    if not all(isinstance(one, Expr) for one in (*letter, *formula)):
        return False
    names = {symbol.name for one in formula if not one.is_Symbol for symbol in one.free_symbols}
    return any(one.is_Symbol and one.name in names for one in letter)


def _parsed(text: str) -> list[Any]:
    from math_verify import parse

    found = parse(rf"\boxed{{{text}}}", parsing_timeout=None, raise_on_error=True)
    # A string is what it could not read.
    return [_with_imaginary_unit(expression) for expression in found if not isinstance(expression, str)]


def _with_imaginary_unit(expression: Any) -> Any:
    """Math-Verify reads i as a variable, and that of "2i" as another than that of "2 i"."""
    from sympy import I

    return expression.xreplace({symbol: I for symbol in expression.free_symbols if symbol.name == "i"})


def _formula(sentence: str) -> str:
    """The formula of a sentence that holds exactly one, else the sentence."""
    formulas = ["".join(groups) for groups in _MATH.findall(sentence)]
    return formulas[0] if len(formulas) == 1 else sentence


def _evened(text: str) -> str:
    """The text with single spaces, and with its mixed numbers as fractions: Math-Verify drops what follows the 1 of
    "1 1/2"."""
    text = _SPACING.sub(" ", _UNSEEN.sub("", text)).strip("$ ")
    return _MIXED.sub(_improper, text)


def _improper(mixed: re.Match[str]) -> str:
    whole, part, parts = map(int, mixed.groups())
    return rf"\frac{{{whole * parts + part}}}{{{parts}}}" if part < parts else mixed[0]


def _squeezed(text: str) -> str:
    """The evened text without sizes of brackets and without the spaces that mean nothing."""
    return re.sub(r"(?<!\d) | (?!\d)", "", _SIZES.sub("", text))


def _plain_value(text: str) -> Fraction | None:
    return parse_number(text) if _NUMERIC.fullmatch(text) else None
