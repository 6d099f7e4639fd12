"""The tokens of arithmetic as people and small models write it: plain text, Markdown or LaTeX.

It decides what is a number, an operator, a word, a line label or a currency sign, and nothing about meaning. What it
does not know (functions, times of day, ratios, absurdly long numbers) becomes an `opaque` token. Linear time.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

MAX_DIGITS = 30

Symbol = Literal["(", ")", "%", "{", "}"]
Kind = Symbol | Literal["num", "op", "word", "of", "eq", "break", "line", "opaque", "subscript", "currency", "frac"]


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
        |\(?\d{1,3}(?:\)|[.:](?=[\s*\\$]))(?!\(|[ \t]{0,3}(?:[-+*/×÷=−–%^]|x\b|\\times|\\div|\\cdot))))
  | (?P<bullet>^[ \t>\#_]*[-•+–*][ \t]+)
  | (?P<line>\n|\\\\|\\newline\b)
  | (?P<skip>[ \t\r\f\v\xa0&_`"“”‘’'°]
      |\\(?:(?:text(?:bf|rm|it)?|math(?:rm|bf)|operatorname|boxed|right|displaystyle|q?quad)(?![A-Za-z])
        |left(?![A-Za-z]|\ ?[(\[])|[,;!: ()\[\]]))
  | (?P<frac>\\[dtc]?frac(?![A-Za-z]))
  | (?P<times>\\(?:times|cdot|ast)(?![A-Za-z])|[×·∗⋅✕✖]
      |(?<![^\W\d_])[xX](?=\s{0,3}(?:[(\[.$£€\d]|\\(?:[dt]?frac|\$|left)))
      |times(?=\s{1,3}\\?[$(]?[\d.])|multiplied\ by\b)
  | (?P<divide>\\div(?![A-Za-z])|[/÷⁄∕]|divided\ by\b)
  | (?P<plus>\+|plus(?=\s{1,3}\\?[$(]?[\d.]))
  | (?P<break>[=-]>|→|⇒|[<>!]=|[≥≤≠<>;:?!|—]|\.(?!\d)|,|\\(?:[lg]eq?|neq?|[lg]t|implies|[Rr]ightarrow|to)(?![A-Za-z])
      |\\(?:begin|end)\{[a-z*]{0,20}\})
  | (?P<approx>[≈≃≅~∼]|\\(?:approx|simeq|sim)(?![A-Za-z]))
  | (?P<equal>={1,3}|(?:equals|equal\ to)\b)
  | (?P<ordinal>\d+(?:st|nd|rd|th)s?\b)
  | (?P<clock>\d{1,2}(?::\d\d)?\ ?(?:[ap](?:m\b|\.m\b\.?)|o['’]clock\b))
  | (?P<subscript>(?<=_)\{[^{}\n]{0,20}\}|(?<=\d_)\d{1,9}(?!\w))
  | (?P<numeral>\d+(?:(?:[.,:]|\{,\})\d+)*|(?<!\w)\.\d+)
  | (?P<vulgar>[¼½¾⅓⅔⅕-⅞])
  | (?P<superscript>[²³])
  | (?P<power>(?<=[\d)])\*\*(?=[\d(])|(?<=[\d)]\ )\*\*(?=\ [\d(])|\^)
  | (?P<bold>\*\*)
  | (?P<star>\*)
  | (?P<hyphen>(?<=\d)-(?=[^\W\d_]))
  | (?P<minus>[-−–]|minus(?=\s{1,3}\\?[$(]?[\d.]))
  | (?P<percent>\\?%|percent\b)
  | (?P<currency>\\?\$|[£€¥₹])
  | (?P<open>(?:\\left\ ?)?[(\[]) | (?P<close>[)\]]) | (?P<lbrace>\{) | (?P<rbrace>\})
  | (?P<of>of\b)
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
    "clock": "opaque",
    "subscript": "subscript",
}
_SILENT = {"annotation", "skip", "bold", "hyphen"}
_PLAIN = re.compile(r"(?!0\d)\d*(?:\.(\d+))?")
_GROUPED = re.compile(r"\d{1,3}(?:(?:,|\{,\})\d{3})+(?:\.(\d+))?")


def tokenize(text: str) -> list[Token]:
    """The tokens of `text`; spaces, mark-up and calculator annotations leave none."""
    return list(_expand_fractions(_join_lines(_braced(_scan(text)))))


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
    if match is None or len(text) > MAX_DIGITS:  # a time, a ratio, a version, a list, 0730, or absurdly long
        return Token("opaque", text, start, end)
    value = Fraction(text.replace("{,}", "").replace(",", ""))
    return Token("num", text, start, end, value, len(match.group(1) or ""))


def _braced(tokens: Iterator[Token]) -> Iterator[Token]:
    r"""`\frac12` and `\frac1{2}` as `\frac{1}{2}`: without braces, an argument is one digit."""
    wanted = 0
    for token in tokens:
        if wanted and token.kind == "num" and token.text.isdigit():
            for at, digit in enumerate(token.text[:wanted], token.start):
                yield Token("{", "{", at, at)
                yield Token("num", digit, at, at + 1, Fraction(digit))
                yield Token("}", "}", at + 1, at + 1)
            if rest := token.text[wanted:]:
                yield Token("opaque", rest, token.end - len(rest), token.end)
            wanted = max(wanted - len(token.text), 0)
        else:
            yield token
            wanted = 2 if token.kind == "frac" else 0


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
