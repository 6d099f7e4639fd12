"""Runs one program and makes a text of its value; called in the confined child only."""

from __future__ import annotations

import ast
import builtins
import datetime
import decimal
import fractions
from typing import Any

from score_local.sandbox.habits import without_habits
from score_local.sandbox.modules import import_
from score_local.sandbox.protocol import Outcome
from score_local.sandbox.syntax import BUILTINS, ForbiddenError, check

FUNCTION = "solution"
MAX_TEXT = 500  # characters of a value or a reason
_VALUES = (str, int, float, fractions.Fraction, decimal.Decimal, datetime.date, datetime.time, datetime.timedelta)


class _Printer:
    """The program's `print`: keeps the last line, for a program that prints its result instead of returning it."""

    def __init__(self) -> None:
        self.last = ""

    def __call__(self, *values: object, **_: object) -> None:
        self.last = _cut(" ".join(str(value) for value in values))


def outcome_of(source: str) -> tuple[Outcome, str]:
    """The value of `solution()` as text, or what went wrong. Never raises an Exception."""
    try:
        code = _compiled(source)
    except ForbiddenError as error:
        return "forbidden", str(error)
    except MemoryError:
        return "memory", "too deeply nested or too large to read"
    except (SyntaxError, ValueError, RecursionError, OverflowError) as error:
        return "syntax", _told(error)
    try:
        return _called(code)
    except MemoryError:
        return "memory", "the program needs too much memory"
    except Exception as error:  # it is the program's own, of any kind
        return "error", _told(error)


def _compiled(source: str) -> Any:
    tree = without_habits(ast.parse(source))
    check(tree)
    return compile(tree, "<program>", "exec", dont_inherit=True)


def _called(code: Any) -> tuple[Outcome, str]:
    printer = _Printer()
    offered = {name: getattr(builtins, name) for name in BUILTINS} | {"print": printer, "__import__": import_}
    names: dict[str, Any] = {"__builtins__": offered, "__name__": FUNCTION}
    exec(code, names)
    if not callable(names.get(FUNCTION)):
        return "error", f"there is no function {FUNCTION}()"
    value = names[FUNCTION]()
    if value is None:
        return ("value", printer.last) if printer.last else ("error", "the program returns nothing")
    if not isinstance(value, _VALUES) and type(value).__module__.partition(".")[0] != "sympy":
        return "error", f"the program returns a {type(value).__name__}"
    return "value", _cut(str(value))


def _told(error: BaseException) -> str:
    """The error in one line: its message may be gigantic, and making it may fail."""
    name = type(error).__name__
    try:
        return _cut(f"{name}: {str(error)[:MAX_TEXT]}")
    except Exception:
        return name


def _cut(text: str) -> str:
    return " ".join(text[:MAX_TEXT].split())
