"""Flags that several commands take, and values of flags, for `type=` of argparse."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def natural(text: str) -> int:
    """A whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def probability(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def add_selection(command: argparse.ArgumentParser, what: str = "problems") -> None:
    """The flags that `problem.selected` is given."""
    command.add_argument("--limit", type=positive, metavar="N", help=f"only the first N {what}")
    command.add_argument(
        "--shuffle", type=natural, metavar="SEED", help="in an order drawn with SEED: --limit takes a random sample"
    )
