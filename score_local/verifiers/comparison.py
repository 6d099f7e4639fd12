"""Whether an exact value is the number that somebody wrote down: rounding, percentages, canonical text."""

from __future__ import annotations

from fractions import Fraction

from score_local.verifiers.expressions import Node, Number, Percent, evaluate

ROUNDING = {"/", ".", "%"}
"""What leaves something to round, among `expressions.operators`."""

_FLOAT_NOISE = Fraction(1, 10**9)


def agrees(value: Fraction, target: Node, kinds: set[str], loose: bool = False) -> bool:
    """Whether a value is what the target says, as exactly as the target is written."""
    if isinstance(target, Percent) and isinstance(target.of, Number):
        return _rounds_to(value * 100, target.of, kinds, loose) or _rounds_to(value, target.of, kinds, loose)
    if isinstance(target, Number):
        return _rounds_to(value, target, kinds, loose)
    return value == evaluate(target)


def _rounds_to(value: Fraction, written: Number, kinds: set[str], loose: bool) -> bool:
    """Equal, or rounded or truncated to the decimals written; whole things are also rounded up.

    Only a division, a decimal or a percentage gives something to round. Loosely, any neighbour at that precision does.
    """
    gap = abs(value - written.value)
    unit = Fraction(1, 10**written.decimals)
    noise = _FLOAT_NOISE * abs(value) if written.decimals >= 9 else 0
    if gap <= noise:
        return True
    if (written.value.denominator != 1 and not written.decimals) or gap >= unit:
        return False
    if loose:
        return True
    if not written.decimals:
        return bool(kinds & ROUNDING) and abs(value) >= 1
    return 2 * gap <= unit or abs(written.value) < abs(value)


def canonical(value: Fraction) -> str:
    """A whole number or a decimal of at most six places where that is exact, else a fraction: 24, 2.5, 1/3."""
    if value.denominator == 1:
        return str(value.numerator)
    if 10**6 % value.denominator == 0:
        digits = f"{abs(value.numerator) * 10**6 // value.denominator:07d}"
        sign = "-" if value < 0 else ""
        return f"{sign}{digits[:-6]}.{digits[-6:]}".rstrip("0")
    return f"{value.numerator}/{value.denominator}"
