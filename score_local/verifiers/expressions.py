"""Expressions over numbers: a precedence parser on tokens, and exact evaluation with `fractions.Fraction`.

It knows no variables and no functions. Nothing is executed as code, and work is bounded: `MAX_TOKENS` an expression,
`MAX_BITS` a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from score_local.verifiers.tokens import Kind, Token

MAX_TOKENS = 120
MAX_BITS = 4096


class CannotTellError(Exception):
    """The expression has no value here: malformed, a division by zero, or too large."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number as written, with how many decimals it was written."""

    value: Fraction
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Percent:
    """An operand with a percent sign."""

    of: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator (+ - * / ^, or & for the mixed number 2 1/2) between two operands."""

    op: str
    left: Node
    right: Node


Node = Number | Percent | Binary

PRECEDENCE: Mapping[str, int] = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 4, "&": 5}
_UNARY = 3


def parse(tokens: Sequence[Token], precedence: Mapping[str, int] = PRECEDENCE) -> Node:
    """The tree of an expression's tokens; raises `CannotTellError` where they form none."""
    if len(tokens) > MAX_TOKENS:
        raise CannotTellError("too long")
    parser = _Parser(tokens, precedence)
    node = parser.expression(0)
    if parser.position != len(tokens):
        raise CannotTellError("unexpected text")
    return node


class _Parser:
    """Precedence climbing over a token list; `MAX_TOKENS` bounds the depth."""

    def __init__(self, tokens: Sequence[Token], precedence: Mapping[str, int]) -> None:
        self.tokens, self.precedence, self.position = tokens, precedence, 0

    def peek(self, kind: Kind) -> Token | None:
        if self.position < len(self.tokens) and self.tokens[self.position].kind == kind:
            return self.tokens[self.position]
        return None

    def take(self, kind: Kind) -> Token:
        token = self.peek(kind)
        if token is None:
            raise CannotTellError(f"expected {kind}")
        self.position += 1
        return token

    def expression(self, floor: int) -> Node:
        left = self.operand()
        while (token := self.peek("op")) and (rank := self.precedence[token.text]) > floor:
            self.take("op")
            left = Binary(token.text, left, self.expression(rank - 1 if token.text == "^" else rank))
        return left

    def operand(self) -> Node:
        if sign := self.peek("op"):
            if sign.text not in "+-":
                raise CannotTellError("operand missing")
            self.take("op")
            return _signed(sign.text, self.expression(_UNARY))
        node = self.group() if self.peek("(") else self.number()
        while self.peek("%"):
            self.take("%")
            node = Percent(node)
        return node

    def group(self) -> Node:
        self.take("(")
        node = self.expression(0)
        self.take(")")
        return node

    def number(self) -> Node:
        token = self.take("num")
        return Number(token.value, token.decimals)


def _signed(sign: str, node: Node) -> Node:
    if isinstance(node, Number):
        return Number(-node.value if sign == "-" else node.value, node.decimals)
    return Binary(sign, Number(Fraction(0)), node)


@dataclass(frozen=True, slots=True)
class Reading:
    """How doubtful notation is understood when a tree is evaluated.

    `percent`: "exact" (20% is 1/5), "bare" (20% is 20), "relative" (50 + 20% is 60). `restore`: a decimal that looks
    like a rounded simple fraction (0.33) is that fraction.
    """

    percent: Literal["exact", "bare", "relative"] = "exact"
    restore: bool = False


EXACT = Reading()


def evaluate(node: Node, reading: Reading = EXACT) -> Fraction:
    """The exact value of a tree under a reading; raises `CannotTellError`."""
    if isinstance(node, Number):
        return _restored(node) if reading.restore else node.value
    if isinstance(node, Percent):
        return evaluate(node.of, reading) / (1 if reading.percent == "bare" else 100)
    left, right = evaluate(node.left, reading), evaluate(node.right, reading)
    if reading.percent == "relative" and isinstance(node.right, Percent) and node.op in "+-":
        right *= left
    result = _apply(node.op, left, right)
    if result.numerator.bit_length() + result.denominator.bit_length() > MAX_BITS:
        raise CannotTellError("too large")
    return result


def _apply(op: str, left: Fraction, right: Fraction) -> Fraction:
    if op == "*":
        return left * right
    if op == "/":
        if not right:
            raise CannotTellError("division by zero")
        return left / right
    if op == "^":
        return _power(left, right)
    return left - right if op == "-" else left + right


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if exponent.denominator != 1 or size * abs(exponent) > MAX_BITS or (not base and exponent <= 0):
        raise CannotTellError("power out of bounds")
    return base ** int(exponent)


def _restored(number: Number) -> Fraction:
    """1/3 for 0.33, 2/3 for 0.67, 0.25 for 0.25."""
    if number.decimals < 2:
        return number.value
    simple = number.value.limit_denominator(12)
    near = abs(simple - number.value) * 10**number.decimals < 1
    return simple if near else number.value


def operators(node: Node) -> set[str]:
    """The operators that occur in a tree; "%" where there is a percent sign, "." where there is a decimal."""
    if isinstance(node, Number):
        return {"."} if node.decimals else set()
    if isinstance(node, Percent):
        return {"%"} | operators(node.of)
    return {node.op} | operators(node.left) | operators(node.right)
