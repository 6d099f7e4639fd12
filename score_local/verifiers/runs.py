"""A run: operand and operator tokens that belong together, and small questions about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from score_local.verifiers.tokens import Token


@dataclass(slots=True)
class Run:
    """Operand and operator tokens that belong together.

    `lead`: words before it; `heading`: those before a colon before it; `words`: all words dropped from it; `tail`:
    those after its last operand; `units`: the first behind each operand, and currency. `invalid`: it holds a variable
    or an unknown quantity. `doubtful`: words may have carried meaning. `joints`: tokens that another reader might put
    in front of it.
    """

    lead: list[str] = field(default_factory=list)
    heading: list[str] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    joints: list[list[Token]] = field(default_factory=list)
    start: int = 0
    depth: int = 0
    invalid: bool = False
    doubtful: bool = False

    @property
    def complete(self) -> bool:
        """Whether it ends with an operand."""
        return bool(self.tokens) and self.tokens[-1].kind in ("num", ")", "%")

    @property
    def end(self) -> int:
        """Where its last token ends in the text."""
        return self.tokens[-1].end if self.tokens else self.start


def matches(tokens: Sequence[Token]) -> dict[int, int]:
    """Opening bracket index to closing bracket index."""
    stack: list[int] = []
    pairs: dict[int, int] = {}
    for index, token in enumerate(tokens):
        if token.kind == "(":
            stack.append(index)
        elif token.kind == ")" and stack:
            pairs[stack.pop()] = index
    return pairs


def operator(text: str, near: Token) -> Token:
    """An operator that is not written, where `near` begins."""
    return Token("op", text, near.start, near.start)


def paren(text: str, near: Token) -> Token:
    """A bracket that is not written, where `near` ends."""
    return Token("(" if text == "(" else ")", text, near.end, near.end)


def is_share(tokens: Sequence[Token]) -> bool:
    """Whether what ends here can be taken "of" something: a percentage, a fraction, a bracket."""
    last = tokens[-1]
    fraction = last.kind == "num" and (last.value.denominator != 1 or (len(tokens) > 1 and tokens[-2].text == "/"))
    return last.kind in ("%", ")") or fraction


def is_range(left: Token, op: Token, right: Token | None) -> bool:
    """5-10 without spaces, growing: more likely a range (or a telephone number) than a difference."""
    if op.text != "-" or right is None or right.kind != "num" or left.kind != "num":
        return False
    return left.end == op.start and op.end == right.start and Fraction(left.value) < right.value


def is_quota(run: Run, op: Token) -> bool:
    """The second slash of "24 degrees / 3 degrees/5%" may belong to a unit."""
    return op.text == "/" and bool(run.tail) and len(run.tokens) > 1 and run.tokens[-2].text == "/"
