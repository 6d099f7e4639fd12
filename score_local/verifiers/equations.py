"""Finds `a op b = c` in a worked solution and recomputes it exactly. Pure: no model, no engine.

Precision comes first. An equation is called wrong only when every sensible reading of it fails and no word, unit or
variable in it could have carried meaning; what is left over is None, "cannot tell". It does not know whether the right
numbers were combined, only whether what is written adds up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from score_local.verifiers.comparison import ROUNDING, agrees, canonical
from score_local.verifiers.expressions import Binary, Node, Number, Percent, evaluate, operators
from score_local.verifiers.readings import other_values, parsed, value_of
from score_local.verifiers.runs import Run
from score_local.verifiers.segments import runs_of
from score_local.verifiers.tokens import Token, tokenize
from score_local.verifiers.units import (
    ABOUT,
    conversion_factors,
    counts_in_words,
    denies,
    explains_nothing,
    leads_on,
    measures_several,
    mixes_units,
    operates_in_words,
    scales,
)

_STEP = re.compile(
    r"^[ \t>#*_-]{0,9}step[ \t]{0,3}\d{1,3}\b[*_]{0,3}[ \t]{0,3}(?:[:.)–—-]|$)", re.IGNORECASE | re.MULTILINE
)
_NUMBERED = re.compile(r"(?m)^[ \t>#*_]{0,9}\d{1,3}[.)](?=[\s*])")
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n")
_REMAINDER = re.compile(r"r\d+")  # 17 / 5 = 3 r2
_ANNOTATION = re.compile(r"<<([^<>\n]{0,200})>>")


@dataclass(frozen=True, slots=True)
class Check:
    """One equation of a solution.

    `step` counts from 1, `text` is the equation as written, `holds` is None where it cannot be told, and `expected` is
    what the left side gives ("" when unknown).
    """

    step: int
    text: str
    holds: bool | None
    expected: str = ""


def split_steps(solution: str) -> list[str]:
    """The steps of a solution: at "Step 1:" or "1." markers, else paragraphs, else lines.

    What precedes the first marker belongs to the first step, so that the n-th entry is step n.
    """
    for marker, least in ((_STEP, 1), (_NUMBERED, 2)):
        starts = [match.start() for match in marker.finditer(solution)]
        if len(starts) >= least:
            edges = [0, *starts[1:], len(solution)]
            return [solution[a:b].strip() for a, b in pairwise(edges)]
    paragraphs = [part.strip() for part in _PARAGRAPH.split(solution) if part.strip()]
    if len(paragraphs) > 1:
        return paragraphs
    return _joined_lines(solution)


def _joined_lines(text: str) -> list[str]:
    """Lines that are not blank; one that goes on with an equals sign stays with the line before."""
    lines: list[list[str]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if lines and (line.startswith(("=", "&=", "≈")) or lines[-1][-1].endswith("=")):
            lines[-1].append(line)
        else:
            lines.append([line])
    return ["\n".join(parts) for parts in lines]


def check_steps(steps: Sequence[str]) -> list[Check]:
    """Every equation of every step that has an operator on its left and a number on its right, in order."""
    return [check for number, step in enumerate(steps, 1) for check in _check_text(number, step)]


def first_wrong(checks: Iterable[Check]) -> Check | None:
    """The first equation that certainly does not hold."""
    return next((check for check in checks if check.holds is False), None)


def _check_text(step: int, text: str) -> Iterator[Check]:
    for match in _ANNOTATION.finditer(text):  # the calculator annotations of GSM8K, <<48/2=24>>
        yield from _check_flat(step, match.group(1))
    yield from _check_flat(step, text)


def _check_flat(step: int, text: str) -> Iterator[Check]:
    segments, signs = _segments(tokenize(text))
    runs = [runs_of(segment, last=number == len(segments)) for number, segment in enumerate(segments, 1)]
    for before, after, approximate in zip(runs, runs[1:], signs, strict=False):
        left, right = before[-1] if before else None, after[0] if after else None
        if left and right and _has_operator(left):
            yield _Equation(left, right, approximate).check(step, text)


def _segments(tokens: Sequence[Token]) -> tuple[list[list[Token]], list[bool]]:
    """The tokens between equals signs, and for each sign whether it means "about"."""
    segments: list[list[Token]] = [[]]
    signs: list[bool] = []
    for token in tokens:
        if token.kind != "eq":
            segments[-1].append(token)
        elif signs and not segments[-1]:  # "=~", "= \approx"
            signs[-1] |= _is_about(token)
        else:
            segments.append([])
            signs.append(_is_about(token))
    return segments, signs


def _is_about(sign: Token) -> bool:
    return sign.text.strip("=").lower() not in ("", "equals", "equal to")


def _has_operator(run: Run) -> bool:
    return any(token.kind == "op" for token in run.tokens[1:])


class _Equation:
    """A left run, a right run, and the doubts about them."""

    def __init__(self, left: Run, right: Run, approximate: bool) -> None:
        self.left, self.right = left, right
        self.approximate = approximate or any(word in ABOUT for word in right.lead)
        opening = _last_unmatched(left.tokens)
        self.tokens = left.tokens[opening + 1 :]
        self.cut = opening > 0
        self.units = [*left.lead[-1:], *left.words, *right.lead, *right.tail[:3]]

    def check(self, step: int, text: str) -> Check:
        written = _as_written(text, self.left.start, self.right.end)
        tree = parsed(self.tokens)
        value = value_of(tree)
        if tree is None or value is None or self.left.invalid:
            return Check(step, written, None)
        percent = abs(value) <= 1 and any(isinstance(target, Percent) for target in self.targets())
        expected = f"{canonical(value * 100)}%" if percent else canonical(value)
        return Check(step, written, self.holds(tree, value), expected)

    def holds(self, tree: Node, value: Fraction) -> bool | None:
        targets = self.targets()
        if not targets:
            return None
        kinds = operators(tree)
        units_differ = mixes_units(self.units)
        if any(agrees(value, target, kinds) for target in targets):
            return None if units_differ and kinds & {"+", "-"} else True
        if kinds & {"+", "-"} and (units_differ or self.adds_units(kinds)):
            return None
        if self.is_doubtful(tree) or self.nearly(value, targets):
            return None
        return None if self.is_excused(tree, value, targets, kinds) else False

    def adds_units(self, kinds: set[str]) -> bool:
        """Whether it is a bare sum of operands in different units, 3 pounds + 50 pence: nobody says what it counts."""
        return not kinds & {"*", "/", "^"} and measures_several(self.left.units)

    def is_excused(self, tree: Node, value: Fraction, targets: Iterable[Node], kinds: set[str]) -> bool:
        """Whether an unwritten conversion of units or another reading of the left side would make it right."""
        loose = bool(kinds & ROUNDING)
        converted = [value * factor for factor in conversion_factors(self.units)]
        others = [value, *other_values(tree, self.tokens, self.left.joints)]
        return any(
            any(agrees(other, target, kinds, loose) for other in others)
            or any(agrees(other, target, {"/"}) for other in converted)
            for target in targets
        )

    def targets(self) -> list[Node]:
        """What the right side may claim: all of it, or (a running total) its first number."""
        tokens = self.right.tokens
        first = 2 if tokens and tokens[0].kind == "op" else 1
        if tokens[first : first + 1] and tokens[first].kind == "%":
            first += 1
        parts = [tokens[:first]] if self.right.invalid else [_trimmed(tokens), tokens[:first]]
        return [node for node in map(parsed, parts) if node and value_of(node) is not None]

    def is_doubtful(self, tree: Node) -> bool:
        """Whether words or missing pieces could explain that the sides differ."""
        left, right, kinds = self.left, self.right, operators(tree)
        reach = 2 if left.lead[-1:] in (["of"], ["the"]) else 1
        lead = [word for word in left.lead if word != "$"]  # two $20 bills
        around_left = [*lead[-reach:], *left.words]
        return (
            self.cut
            or len((left.tail or ["unit"])[-1]) == 1  # "11/4 we get X = 120"
            or left.doubtful
            or right.invalid
            or right.doubtful
            or _is_share(tree, left.tail)
            or not all(explains_nothing(word) for word in right.lead)
            or any(counts_in_words(word) for word in [*around_left, *right.tail[:1]])
            or any(operates_in_words(word) for word in around_left)
            or (scales(left.words) and bool(kinds & {"+", "-"}))
            or right.tail[:3] == ["and", "a", "half"]
            or any(map(denies, (left.heading, left.lead, right.tail[:4])))
            or left.lead[-1:] == ["not"]
            or _REMAINDER.fullmatch("".join(right.tail[:1])) is not None
            or ("remainder" in [*left.heading[-1:], *left.lead[-2:]] and "/" in kinds)
            or (leads_on(left.heading) and "than" not in left.heading and not kinds & {"*", "/"})
        )

    def nearly(self, value: Fraction, targets: Iterable[Node]) -> bool:
        """Rounded in a way that nobody can check: said to be approximate, or between two expressions."""
        allowed = Fraction(1, 10) if self.approximate else Fraction(1, 100)
        loose = (node for node in targets if self.approximate or _is_rounded(node))
        return any(abs(evaluate(node) - value) <= allowed * abs(value) for node in loose)


def _is_share(tree: Node, tail: Sequence[str]) -> bool:
    """A plain fraction of something: "1/3 of the apples = 10", "1/2 hour = 30 minutes", "1/4 = 15"."""
    if tail[:1] == ["of"]:
        return True
    if not isinstance(tree, Binary) or tree.op != "/" or not isinstance(tree.right, Number):
        return False
    return len(tail) > 2 or (abs(evaluate(tree)) < 1 and (bool(tail) or tree.right.value <= 12))


def _as_written(text: str, start: int, end: int) -> str:
    """The equation on one line, with the brace or the dollar that closes what it opened."""
    written = " ".join(_ANNOTATION.sub("", text[start:end]).split()).strip("*_ ")
    closer = text[end : end + 1]
    if (closer == "}" and written.count("{") > written.count("}")) or (closer == "$" and written.count("$") % 2):
        written += closer
    return written


def _last_unmatched(tokens: Sequence[Token]) -> int:
    """The index of the innermost bracket left open ("(48/2 = 24)"), or -1."""
    open_at: list[int] = []
    for index, token in enumerate(tokens):
        if token.kind == "(":
            open_at.append(index)
        elif token.kind == ")" and open_at:
            open_at.pop()
    return open_at[-1] if open_at else -1


def _trimmed(tokens: Sequence[Token]) -> Sequence[Token]:
    """Without the operator that a sentence left behind: "= 24 - so"."""
    end = len(tokens)
    while end and tokens[end - 1].kind == "op":
        end -= 1
    return tokens[:end]


def _is_rounded(node: Node) -> bool:
    return isinstance(node, Binary) and "." in operators(node)
