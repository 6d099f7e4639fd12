"""Arithmetic as people and small models write it: tokens, a precedence parser, and exact evaluation.

Text goes in (plain, Markdown or LaTeX), tokens come out, and a list of operand and operator tokens is parsed into a
tree that is evaluated with `fractions.Fraction`. It knows no variables and no functions: those become `opaque` tokens,
which the caller takes for "cannot tell". Nothing here is executed as code, and work is bounded by `MAX_TOKENS`,
`MAX_DIGITS` and `MAX_BITS`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

MAX_TOKENS = 120
MAX_DIGITS = 30
MAX_BITS = 4096

Kind = Literal["num", "op", "(", ")", "%", "word", "of", "eq", "break", "line", "opaque", "currency", "frac", "{", "}"]


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text and where it stood; `value` and `decimals` belong to numbers."""

    kind: Kind
    text: str
    start: int
    end: int
    value: Fraction = Fraction(0)
    decimals: int = 0


# Every alternative is a class repeated once or a fixed text, so that scanning is linear in the length of the input.
_TOKEN = re.compile(
    r"""
    (?P<annotation><<[^<>\n]{0,200}>>)
  | (?P<label>^[ \t>\#*_]*(?:[-•+–][ \t]+[*_]*)?
      (?:step[ \t]{0,3}\d{1,3}[*_]*(?:[ \t]{0,3}[:.)–—-])?(?!\d|[ \t]*[=+*/×÷])
        |\(?\d{1,3}(?:\)|[.:](?=[\s*\\$]))(?![ \t]{0,3}(?:[-+*/×÷=−–%^]|x\b|\\times|\\div|\\cdot))))
  | (?P<bullet>^[ \t>\#_]*[-•+–*][ \t]+)
  | (?P<line>\n|\\\\|\\newline\b)
  | (?P<skip>[ \t\r\f\v\xa0&_`"“”‘’'°]
      |\\(?:(?:text(?:bf|rm|it)?|mathrm|mathbf|boxed|left|right|displaystyle|q?quad)(?![A-Za-z])|[,;!: ()\[\]]))
  | (?P<frac>\\[dtc]?frac(?![A-Za-z]))
  | (?P<times>\\(?:times|cdot|ast)(?![A-Za-z])|[×·∗⋅✕✖]|(?<![^\W\d_])[xX](?=\s{0,3}(?:[(\[.$£€\d]|\\(?:[dt]?frac|\$|left)))
      |(?i:times)(?=\s{1,3}\$?\d)|(?i:multiplied\ by)\b)
  | (?P<divide>\\div(?![A-Za-z])|[/÷⁄∕]|(?i:divided\ by)\b)
  | (?P<plus>\+|(?i:plus)\b)
  | (?P<break>[=-]>|→|⇒|[<>!]=|[≥≤≠<>;:?!|—]|\.(?!\d)|,|\\(?:[lg]eq?|neq?|[lg]t|implies|[Rr]ightarrow|to)(?![A-Za-z])
      |\\(?:begin|end)\{[a-z*]{0,20}\})
  | (?P<approx>[≈≃≅~∼]|\\(?:approx|simeq|sim)(?![A-Za-z]))
  | (?P<equal>={1,3}|(?i:equals|equal\ to)\b)
  | (?P<ordinal>\d+(?:st|nd|rd|th)s?\b)
  | (?P<numeral>\d+(?:(?:[.,:]|\{,\})\d+)*|\.\d+)
  | (?P<vulgar>[¼½¾⅓⅔⅕-⅞])
  | (?P<superscript>[²³])
  | (?P<power>(?<=[\d)])\*\*(?=[\d(])|(?<=[\d)]\ )\*\*(?=\ [\d(])|\^)
  | (?P<bold>\*\*)
  | (?P<star>\*)
  | (?P<hyphen>(?<=\d)-(?=[^\W\d_]))
  | (?P<minus>[-−–]|(?i:minus)\b)
  | (?P<percent>\\?%|(?i:percent)\b)
  | (?P<currency>\\?\$|[£€¥₹])
  | (?P<open>[(\[]) | (?P<close>[)\]]) | (?P<lbrace>\{) | (?P<rbrace>\})
  | (?P<of>(?i:of)\b)
  | (?P<word>[^\W\d_][\w'’]*(?:-[^\W\d_][\w'’]*)*|¢)
  | (?P<opaque>\\[A-Za-z]+|[±√π∑∞∫])
  | (?P<other>.)
    """,
    re.VERBOSE | re.MULTILINE | re.IGNORECASE,
)
_OPERATORS = {"times": "*", "star": "*", "divide": "/", "plus": "+", "minus": "-", "power": "^"}
_KINDS: dict[str, Kind] = {
    "frac": "frac",
    "line": "line",
    "break": "break",
    "label": "break",
    "bullet": "break",
    "other": "break",
    "approx": "eq",
    "equal": "eq",
    "percent": "%",
    "currency": "currency",
    "open": "(",
    "close": ")",
    "lbrace": "{",
    "rbrace": "}",
    "of": "of",
    "word": "word",
    "opaque": "opaque",
}
_SILENT = {"annotation", "skip", "bold", "hyphen"}
_PLAIN = re.compile(r"\d*(?:\.(\d+))?")
_GROUPED = re.compile(r"\d{1,3}(?:(?:,|\{,\})\d{3})+(?:\.(\d+))?")


def tokenize(text: str) -> list[Token]:
    """The tokens of `text`; spaces, mark-up and calculator annotations leave none."""
    return list(_expand_fractions(_join_lines(_scan(text))))


def _scan(text: str) -> Iterator[Token]:
    after_slash = False
    for match in _TOKEN.finditer(text):
        name = match.lastgroup or "other"
        if name in _SILENT:
            continue
        yield from _tokens_of(name, match, after_slash)
        after_slash = name == "divide"


def _tokens_of(name: str, match: re.Match[str], after_slash: bool) -> Iterator[Token]:
    text, start, end = match.group(), match.start(), match.end()
    if name in _OPERATORS:
        yield Token("op", _OPERATORS[name], start, end)
    elif name == "numeral":
        yield _numeral(text, start, end)
    elif name == "ordinal":  # "1/3rd" is a third, "the 3rd" is no number
        yield _numeral(text.rstrip("stndrhSTNDRH"), start, end) if after_slash else Token("word", text, start, end)
    elif name == "vulgar":
        value = Fraction(unicodedata.numeric(text)).limit_denominator(10)
        yield Token("num", text, start, end, value)
    elif name == "superscript":
        yield Token("op", "^", start, start)
        yield Token("num", text, start, end, Fraction(unicodedata.digit(text)))
    else:
        yield Token(_KINDS[name], text, start, end)


def _numeral(text: str, start: int, end: int) -> Token:
    match = _PLAIN.fullmatch(text) or _GROUPED.fullmatch(text)
    if match is None or len(text) > MAX_DIGITS:  # a time, a ratio, a version, a list, or absurdly long
        return Token("opaque", text, start, end)
    value = Fraction(text.replace("{,}", "").replace(",", ""))
    return Token("num", text, start, end, value, len(match.group(1) or ""))


def _join_lines(tokens: Iterator[Token]) -> Iterator[Token]:
    """Line ends become breaks, except where the equation plainly goes on: beside '=' or after an operator."""
    last: Token | None = None
    held: Token | None = None
    for token in tokens:
        if token.kind == "line":
            held = held or token
            continue
        if held and not (token.kind == "eq" or _is_unfinished(last)):
            yield Token("break", held.text, held.start, held.end)
        yield token
        last, held = token, None


def _is_unfinished(last: Token | None) -> bool:
    # A line may end in a Markdown star or a dash, so those two promise no second operand.
    return last is not None and (last.kind == "eq" or (last.kind == "op" and last.text in "+/"))


def _expand_fractions(tokens: Iterator[Token]) -> Iterator[Token]:
    r"""Rewrite `\frac{a}{b}` as ((a)/(b)) and `^{a}` as ^(a); other braces only group, and vanish."""
    stack: list[str] = []
    expected = ""  # what the next opening brace would be
    for token in tokens:
        start, end = token.start, token.end
        if token.kind == "{":
            stack.append(expected)
            if expected:
                yield Token("(", "{", start, end)
            expected = ""
        elif token.kind == "}":
            role = stack.pop() if stack else ""
            expected = "below" if role == "above" else ""
            if role:
                yield Token(")", "}", start, end)
            if role == "above":
                yield Token("op", "/", end, end)
            elif role == "below":
                yield Token(")", "}", end, end)
        elif token.kind == "frac":
            expected = "above"
            yield Token("(", "frac", start, end)
        else:
            yield token
            expected = "exponent" if (token.kind, token.text) == ("op", "^") else ""


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
            return Binary(sign.text, Number(Fraction(0)), self.expression(_UNARY))
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
    return _apply(node.op, left, right)


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
