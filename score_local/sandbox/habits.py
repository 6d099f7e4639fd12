"""Harmless habits of those who write programs, in terms that the syntax wall lets through. Nothing runs here.

The wall checks what comes out, so nothing here widens what a program can do.
"""

from __future__ import annotations

import ast

from score_local.sandbox.syntax import MODULES, bound

_MAIN = ast.dump(ast.parse('__name__ == "__main__"', mode="eval").body)
_OF_TYPES = (ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.List, ast.Constant, ast.BinOp, ast.BitOr, ast.Load)


def without_habits(tree: ast.Module) -> ast.Module:
    """The same program without names of types, what only they need (`typing`) and what runs in a script only.

    A star names what it imports, and `math` is there where it is used.
    """
    tree.body = [statement for statement in tree.body if not _is_idle(statement)]
    for node in ast.walk(tree):
        _drop_annotation(node)
        if isinstance(node, ast.ImportFrom) and [alias.name for alias in node.names] == ["*"]:
            node.names = [ast.alias(name) for name in sorted(MODULES.get(node.module or "", "*"))]
    if _misses(tree, "math"):
        tree.body.insert(0, ast.Import([ast.alias("math")]))
    return ast.fix_missing_locations(tree)


def _is_idle(statement: ast.stmt) -> bool:
    """Whether it does nothing here: `if __name__ == "__main__":`, an import of `typing`."""
    if isinstance(statement, ast.If):
        return ast.dump(statement.test) == _MAIN and not statement.orelse
    if isinstance(statement, ast.Import):
        return [(alias.name, alias.asname) for alias in statement.names] == [("typing", None)]
    return isinstance(statement, ast.ImportFrom) and statement.module == "typing" and not statement.level


def _drop_annotation(node: ast.AST) -> None:
    if isinstance(node, ast.arg) and _names_a_type(node.annotation):
        node.annotation = None
    elif isinstance(node, ast.FunctionDef) and _names_a_type(node.returns):
        node.returns = None
    elif isinstance(node, ast.AnnAssign) and _names_a_type(node.annotation):
        node.annotation = ast.Constant(None)  # the statement needs one


def _names_a_type(annotation: ast.expr | None) -> bool:
    """Whether it calls nothing: what does more than name a type is left to the wall."""
    return annotation is not None and all(isinstance(node, _OF_TYPES) for node in ast.walk(annotation))


def _misses(tree: ast.Module, name: str) -> bool:
    nodes = list(ast.walk(tree))
    used = any(isinstance(node, ast.Name) and node.id == name for node in nodes)
    return used and not any(name in bound(node) for node in nodes)
