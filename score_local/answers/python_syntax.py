"""Formulas as Python and SymPy write them (`x**2`, `sqrt(2)/2`, `3*pi`), in LaTeX.

Math-Verify reads LaTeX only: of `x**2 + 1` it keeps the 1, and `pi` is p times i to it. This module knows arithmetic,
comparisons, tuples, sets and the functions below; it runs nothing, and imports no SymPy.
"""

from __future__ import annotations

import ast
import re

_OTHERWISE = re.compile(r"\*|[A-Za-z]{2}|[<>=]=|\dj\b|[A-Za-z]_?\d")  # what the two write differently
_NO_PYTHON = re.compile(r"\\|[_^]\{|\$|\d(?:and|else|for|if|in|is|not|or)")  # LaTeX; 5in, of which Python warns
_PYTHON_ONLY = re.compile(r"\*\*|&|[A-Za-z]{3}\(|\bE\b")  # SymPy's E is e, but E may be a variable as well

_CONSTANTS = {"pi": r"\pi", "oo": r"\infty", "inf": r"\infty"}
_GREEK = frozenset(
    """
    alpha beta gamma delta epsilon zeta eta theta kappa mu nu xi rho sigma tau phi chi psi omega
    Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega
    """.split()  # noqa: SIM905 (a table of words)
)
_FUNCTIONS = {  # not log: Python's has the base e, that of a text perhaps 10
    "sqrt": r"\sqrt{{{0}}}",
    "cbrt": r"\sqrt[3]{{{0}}}",
    "abs": r"\left|{0}\right|",
    "Abs": r"\left|{0}\right|",
    "exp": "e^{{{0}}}",
    "ln": r"\ln({0})",
    "factorial": "({0})!",
    **{name: rf"\{name}({{0}})" for name in ("sin", "cos", "tan", "sec", "csc", "cot", "sinh", "cosh", "tanh")},
    **{f"a{name}": rf"\arc{name}({{0}})" for name in ("sin", "cos", "tan")},
}
_FUNCTIONS_OF_TWO = {
    "log": r"\log_{{{1}}}({0})",
    "binomial": r"\binom{{{0}}}{{{1}}}",
    "Rational": r"\frac{{{0}}}{{{1}}}",
    "Fraction": r"\frac{{{0}}}{{{1}}}",
    "Eq": "{0} = {1}",
}
_OPERATIONS: dict[type[ast.operator], str] = {
    ast.Add: "{0} + {1}",
    ast.Sub: "{0} - {1}",
    ast.Mult: r"{0} \cdot {1}",
    ast.Div: r"\frac{{{0}}}{{{1}}}",
    ast.Pow: "{0}^{{{1}}}",
}
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: r"\le",
    ast.Gt: ">",
    ast.GtE: r"\ge",
    ast.Eq: "=",
    ast.NotEq: r"\ne",
}


class _Unknown(Exception):
    """A node that is not known here."""


def latex_of(text: str) -> str | None:
    """A formula in Python's syntax as LaTeX; other texts as they are; None for Python that is not known here."""
    if _NO_PYTHON.search(text) or not _OTHERWISE.search(text):
        return text
    try:
        return _latex(ast.parse(text.strip().replace("^", "**"), mode="eval").body)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError, _Unknown):
        return None if _PYTHON_ONLY.search(text) else text


def _latex(node: ast.expr) -> str:
    return str(_Latex().visit(node))


class _Latex(ast.NodeVisitor):
    """A method for each kind of node gives its LaTeX."""

    def generic_visit(self, node: ast.AST) -> str:
        raise _Unknown

    def visit_Constant(self, node: ast.Constant) -> str:
        return _number(node.value)

    def visit_Name(self, node: ast.Name) -> str:
        return _name(node.id)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> str:
        if not isinstance(node.op, ast.USub):
            raise _Unknown
        return f"-{_factor(node.operand)}"

    def visit_BinOp(self, node: ast.BinOp) -> str:
        form = _OPERATIONS.get(type(node.op))
        if form is None:
            raise _Unknown
        if isinstance(node.op, (ast.Div, ast.Pow)):
            left = _base(node.left) if isinstance(node.op, ast.Pow) else _latex(node.left)
            return form.format(left, _latex(node.right))
        left = _factor(node.left) if isinstance(node.op, ast.Mult) else _latex(node.left)
        return form.format(left, _factor(node.right))

    def visit_Compare(self, node: ast.Compare) -> str:
        if any(type(operator) not in _COMPARISONS for operator in node.ops):
            raise _Unknown
        signs = (_COMPARISONS[type(operator)] for operator in node.ops)
        others = (f" {sign} {_latex(other)}" for sign, other in zip(signs, node.comparators, strict=True))
        return _latex(node.left) + "".join(others)

    def visit_Call(self, node: ast.Call) -> str:
        forms = {1: _FUNCTIONS, 2: _FUNCTIONS_OF_TWO}.get(len(node.args), {})
        form = forms.get(node.func.id) if isinstance(node.func, ast.Name) and not node.keywords else None
        if form is None:
            raise _Unknown
        return form.format(*map(_latex, node.args))

    def visit_Tuple(self, node: ast.Tuple) -> str:
        bare = not node.elts or node.elts[0].col_offset == node.col_offset  # 1, 2 without its brackets
        return _joined(node.elts) if bare else f"({_joined(node.elts)})"

    def visit_List(self, node: ast.List) -> str:
        return f"[{_joined(node.elts)}]"

    def visit_Set(self, node: ast.Set) -> str:
        return rf"\{{{_joined(node.elts)}\}}"


def _number(value: object) -> str:
    if isinstance(value, complex):
        return f"{_number(value.imag)}i"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Unknown
    if value == int(value):
        return str(int(value))
    return f"{value:.20f}" if "e" in repr(value) else repr(value)


def _name(name: str) -> str:
    if name in _CONSTANTS:
        return _CONSTANTS[name]
    if name in _GREEK:
        return rf"\{name}"
    if indexed := re.fullmatch(r"([A-Za-z])_?(\d+)", name):
        return f"{indexed[1]}_{{{indexed[2]}}}"
    if len(name) > 1 or name == "E":
        raise _Unknown
    return name


def _factor(node: ast.expr) -> str:
    """In brackets where a sum, or a sign, would bind less than what stands beside it."""
    sum_ = isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub))
    return f"({_latex(node)})" if sum_ or isinstance(node, ast.UnaryOp) else _latex(node)


def _base(node: ast.expr) -> str:
    """In brackets unless it is a letter or a number."""
    alone = isinstance(node, (ast.Name, ast.Constant)) and not _latex(node).endswith("i")
    return _latex(node) if alone else f"({_latex(node)})"


def _joined(parts: list[ast.expr]) -> str:
    return ", ".join(map(_latex, parts))
