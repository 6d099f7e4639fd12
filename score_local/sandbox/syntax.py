"""The first wall: what a program may be written in.

An allow-list: node types, names, attributes, modules. Whatever is not listed is refused before anything runs, so a new
piece of Python's syntax is refused until somebody thought about it. Attributes are listed by name because a public
one can lead out as well (`gi_frame`, `tb_frame`, `str.format`, which reads attributes that its text names).
"""

from __future__ import annotations

import ast
import datetime
import decimal
import fractions
import math
from collections.abc import Container, Iterator, Mapping

BUILTINS = frozenset(
    """
    abs all any bin bool chr dict divmod enumerate filter float format frozenset hex int isinstance iter len list map
    max min next ord pow print range repr reversed round set sorted str sum tuple zip
    """.split()  # noqa: SIM905 (a table of words, not a list of 40 lines)
)
MODULES: Mapping[str, frozenset[str]] = {
    "math": frozenset(name for name in dir(math) if not name.startswith("_")),
    "fractions": frozenset({"Fraction"}),
    "decimal": frozenset({"Decimal", *(name for name in dir(decimal) if name.startswith("ROUND_"))}),
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "sympy": frozenset(
        """
        Abs E Eq Ge Gt Integer Le Lt Max Min Mod Ne Rational S Sum Symbol binomial ceiling cos diff divisors exp expand
        factor factorial factorint floor gcd integrate isprime lcm limit linsolve log oo pi prime primefactors
        primerange simplify sin solve solveset sqrt summation symbols tan together
        """.split()  # noqa: SIM905
    ),
}
"""What may be imported, and what of it is there."""

_TYPES: tuple[type, ...] = (
    *(str, list, dict, set, tuple, int, float),
    *(fractions.Fraction, decimal.Decimal, datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
)
_DANGEROUS = {"format", "format_map", "encode"}  # the first two read attributes, the third imports codecs
_OF_EXPRESSIONS = {"args", "as_numer_denom", "doit", "evalf", "lhs", "n", "p", "q", "rhs", "subs"}
ATTRIBUTES = (
    frozenset(name for kind in _TYPES for name in dir(kind) if not name.startswith("_"))
    .union(_OF_EXPRESSIONS, *MODULES.values())
    .difference(_DANGEROUS)
)

_NODES: tuple[type[ast.AST], ...] = tuple(
    getattr(ast, name)
    for name in """
    Module FunctionDef Lambda arguments arg Return Import ImportFrom alias Assign AugAssign AnnAssign NamedExpr For
    While If IfExp Assert Pass Break Continue Expr Call keyword Starred Attribute Subscript Slice Name Constant List
    Tuple Set Dict JoinedStr FormattedValue ListComp SetComp DictComp GeneratorExp comprehension Compare BoolOp
    BinOp UnaryOp boolop operator unaryop cmpop expr_context
    """.split()  # noqa: SIM905
)


class ForbiddenError(Exception):
    """The program holds something that is not on the list; the message names it and its line."""


def check(tree: ast.Module) -> None:
    """Raises ForbiddenError unless all of a program is on the list."""
    modules = set[str]()
    known = set(BUILTINS)
    for node in ast.walk(tree):
        modules.update(_imported_modules(node))
        known.update(bound(node))
    for node in ast.walk(tree):
        _check_node(node)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in known:
            raise _forbidden(node, f"the name {node.id}")
    _check_modules_stay_in_place(tree, modules)


def _check_node(node: ast.AST) -> None:
    if not isinstance(node, _NODES):
        raise _forbidden(node, type(node).__name__)
    if isinstance(node, ast.FunctionDef) and node.decorator_list:
        raise _forbidden(node, "a decorator")
    if isinstance(node, ast.Attribute) and node.attr not in ATTRIBUTES:
        raise _forbidden(node, f"the attribute {node.attr}")
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        raise _forbidden(node, "setting an attribute")
    if isinstance(node, ast.Import):
        _check_import(node, node.names, MODULES)
    if isinstance(node, ast.ImportFrom):
        if node.level or node.module is None or node.module not in MODULES:
            raise _forbidden(node, f"importing from {'.' * node.level}{node.module or ''}")
        _check_import(node, node.names, MODULES[node.module])
    for name in bound(node):
        if name.startswith("__"):
            raise _forbidden(node, f"the name {name}")


def _check_import(node: ast.AST, names: list[ast.alias], offered: Container[str]) -> None:
    for alias in names:
        if alias.name not in offered:
            raise _forbidden(node, f"importing {alias.name}")


def _check_modules_stay_in_place(tree: ast.Module, modules: set[str]) -> None:
    """A module is there to be looked into, `math.pi`; it is no value to pass around."""
    inside = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in modules and id(node) not in inside:
            raise _forbidden(node, f"the module {node.id} as a value")


def _imported_modules(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.asname or alias.name for alias in node.names)


def bound(node: ast.AST) -> Iterator[str]:
    """The names that a node gives a meaning to."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.FunctionDef):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (alias.asname or alias.name for alias in node.names)


def _forbidden(node: ast.AST, what: str) -> ForbiddenError:
    line = getattr(node, "lineno", None)
    return ForbiddenError(f"{what} (line {line})" if line else what)
