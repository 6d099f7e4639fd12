"""Other ways in which an expression may have been meant: the excuses of a careless writer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from score_local.verifiers.expressions import EXACT, PRECEDENCE, CannotTellError, Node, Reading, evaluate, parse
from score_local.verifiers.tokens import Token

# Precedences that careless writers have in mind: left to right, a / (b c), (a + b) (c + d).
_CARELESS: tuple[Mapping[str, int], ...] = (
    {**PRECEDENCE, "*": 1, "/": 1},
    {**PRECEDENCE, "*": 3},
    {**PRECEDENCE, "+": 3, "-": 3},
)
_LOOSE_READINGS = (Reading(restore=True), Reading(percent="bare"), Reading(percent="relative"))


def other_values(tree: Node, run: Sequence[Token], joints: Sequence[Sequence[Token]]) -> Iterator[Fraction]:
    """Values under readings that would excuse the writer."""
    # A dash may be punctuation ("Day 1 - 5 + 3 = 8"), an "of" may belong to the words before.
    cuts = [at + 1 for at, t in enumerate(run[:3]) if t.kind == "op" and (t.text == "-" or t.start == t.end)]
    tails = [run[at:] for at in cuts]
    longer = [[*joint, *run] for joint in joints]
    trees = [parsed(tokens) for tokens in [_bracketed(run), *longer, *(tail for tail in tails if len(tail) > 1)]]
    trees += [parsed(run, precedence) for precedence in _CARELESS]
    values = [value_of(tree, reading) for reading in _LOOSE_READINGS] + [value_of(other) for other in trees]
    yield from (value for value in values if value is not None)


def parsed(tokens: Sequence[Token], precedence: Mapping[str, int] = PRECEDENCE) -> Node | None:
    """The tree of some tokens, or None."""
    try:
        return parse(tokens, precedence)
    except CannotTellError:
        return None


def value_of(node: Node | None, reading: Reading = EXACT) -> Fraction | None:
    """The value of a tree, or None."""
    try:
        return evaluate(node, reading) if node else None
    except CannotTellError:
        return None


def _bracketed(tokens: Sequence[Token]) -> list[Token]:
    """28 / 1/5 as 28 / (1/5)."""
    shape = [token.text if token.kind == "op" else token.kind for token in tokens]
    found = list(tokens)
    for at in range(len(tokens) - 4, -1, -1):  # from the end, so that insertions move nothing still to be seen
        if shape[at : at + 4] == ["/", "num", "/", "num"]:
            first, last = tokens[at + 1], tokens[at + 3]
            found.insert(at + 4, Token(")", ")", last.end, last.end))
            found.insert(at + 1, Token("(", "(", first.start, first.start))
    return found
