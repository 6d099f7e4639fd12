"""What a program gets when it imports: look-alikes that hold the allowed names of a module and nothing else."""

from __future__ import annotations

import datetime
import decimal
import fractions
import math
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

from score_local.sandbox.syntax import MODULES

_MODULES: Mapping[str, ModuleType] = {"math": math, "fractions": fractions, "decimal": decimal, "datetime": datetime}


@cache
def look_alike(name: str) -> SimpleNamespace:
    """The allowed part of a module. Raises ImportError where it is not on the list or not installed."""
    if name not in MODULES:
        raise ImportError(f"no module {name} here")
    module = _MODULES[name] if name in _MODULES else sys.modules.get(name)
    if module is None:
        raise ImportError(f"{name} is not installed")
    return SimpleNamespace(**{name: getattr(module, name) for name in MODULES[name] if hasattr(module, name)})


def import_(name: str, *_: Any) -> SimpleNamespace:
    """The `__import__` of a program."""
    return look_alike(name)


def preload_datetime() -> None:
    """`strptime` imports when first called; behind the walls no file can be opened."""
    datetime.datetime.strptime("2000", "%Y")


@cache
def preload_sympy(folders: Sequence[str]) -> None:
    """Imports SymPy from `folders`, where it is there; uses it a little, because it imports more when first used.

    SymPy reads any text that it is handed with `eval`: its parser is taken out.
    """
    sys.path[:0] = folders
    try:
        import sympy
        from sympy.parsing import sympy_parser

        x = sympy.Symbol("x")
        sympy.solve(sympy.Eq(x**2 + x, 6), x)
        sympy.solve([x - 1, x + sympy.Symbol("y")])
        sympy.simplify(sympy.factor(x**2 - 1) / (x + 1)).subs(x, 2).evalf()
        sympy.solveset(x**2 - 1, x), sympy.linsolve([x - 1], x), sympy.factorint(60), sympy.primefactors(60)
        sympy.integrate(x, x), sympy.limit(sympy.sin(x) / x, x, 0), sympy.summation(x, (x, 1, 3)), sympy.binomial(4, 2)
        # Only now: its table of units is read with the parser.
        sympy_parser.parse_expr = sympy_parser.eval_expr = _refuse_text
    except ImportError:
        return
    finally:
        del sys.path[: len(folders)]


def _refuse_text(*_: object, **__: object) -> None:
    raise ValueError("sympy reads no text here")
