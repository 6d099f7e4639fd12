"""Kind "choice": a letter, or the text of exactly one of the choices.

A letter is taken where it stands as a label: alone, in brackets, before a full stop, after "option". The article in
"the answer is a dog" is no label. Two different letters, or a letter beside the text of another choice, are unknown.
A number may be spelled otherwise than the choice (".5" for "0.5") where all choices are numbers.
"""

from __future__ import annotations

import re

from score_local.answers.final import Final, last_read, states_answer
from score_local.answers.number import parse_number
from score_local.answers.plain import plain
from score_local.problem import CHOICE_LETTERS

_ALONE = re.compile(r"[\s(\[\"']*([A-Ja-j])[\s)\]\"'.:,]*")
_LABELLED = re.compile(
    r"""
    (?:(?i:the\s+)?(?i:option|choice|letter|answer)(?:\s*:\s*|\s+))? (?:
      [(\[] \s* ([A-Ja-j]) \s* [)\]] [.:]?
    | ([A-Jb-hj]) (?: \s*[:)\]] | \s*$ | \.(?!\w) | (?=,\s) | \s+[-–—](?=\s) )
    )
    """,
    re.VERBOSE,
)
_OPTION = re.compile(r"(?i:the\s+)?(?i:option|choice|letter)\s+([A-J])\b")
_CAPITAL = re.compile(r"([B-HJ])(?=\s)")  # "B is right", but neither "A dog" nor "I think"
_OTHER = re.compile(
    r"[(\[]([A-J])[)\]] | \b(?i:or|and|not|option|choice)\s+(?i:option|choice)?\s*([A-J])\b | [,/&]\s*([A-J])\b",
    re.VERBOSE,
)
_DENIED = re.compile(r"\b(?:not|rather\s+than|instead\s+of)\s+(?:(?i:option|choice)\s+)?(?:[(\[][A-J][)\]]|[A-J]\b)")
_RIGHT = re.compile(r"(?:\b(?i:option|choice)\s+([A-J])|[(\[]([A-J])[)\]])\s+is\s+(?:the\s+)?(?:correct|right|best)\b")
_NAMED = re.compile(r"[(\[][A-J][)\]]|\b[B-HJ]\b")
_EMPHASIS = re.compile(r"[*_`]+")
_WHOLE = re.compile(r"\s*(?:(?i:option|choice)\s+)?(?:[(\[][A-Ja-j][)\]]|[A-J](?=\s*(?:[.:)]|$)))[^\n]*\s*")

_BEFORE = re.compile(r"""(?:[\s,:;!"'`*()]|\.(?!\d))+""")  # not the point of ".5"
_BEHIND = re.compile(r"""(?:[\s.,:;"'`*()]|(?<=[^\W\d_]{2})!+)+$""")  # "dog!" is a dog, "5!" and "n!" are factorials
_BARE_NUMBER = re.compile(r"[-−–+]?[\d.,/ ]*\d%?")


def extract(solution: str, choices: tuple[str, ...]) -> str | None:
    """The letter that a solution (without its think block) ends on.

    Where no phrase states an answer, a reply that is only a labelled choice counts, and so does "option B is correct".
    """

    def read(final: Final) -> str | None:
        return _letter(plain(final.text).strip('"“”'), final.boxed, choices) if len(final.text) <= 2000 else None

    if states_answer(solution):
        return last_read(solution, read, lambda stated: _offers(stated, choices))
    bare = _EMPHASIS.sub("", solution)
    if _WHOLE.fullmatch(bare):
        return read(Final(bare.strip(), boxed=False))
    right = {first or second for first, second in _RIGHT.findall(bare)}
    return _offered(right.pop(), choices) if len(right) == 1 else None


def equal(left: str, right: str) -> bool | None:
    """Equality of two letters, as "B", "b" or "(B)"; None where either is none."""
    letters = [match[1].upper() if (match := _ALONE.fullmatch(side)) else None for side in (left, right)]
    return None if None in letters else letters[0] == letters[1]


def _letter(stated: str, boxed: bool, choices: tuple[str, ...]) -> str | None:
    if alone := _ALONE.fullmatch(stated):
        # A sentence cut off after its article also ends in "a".
        return _offered(alone[1], choices) if boxed or stated[0] not in "ai" else None
    by_text = _by_text(stated, choices)
    if by_text is not None:
        return by_text
    label, rest = _label(stated)
    if label is None or _others(rest) - {label}:
        return None
    named = _by_text(rest, choices)
    return _offered(label, choices) if named in (None, label) else None


def _offers(stated: str, choices: tuple[str, ...]) -> bool:
    """Whether a statement names a choice, be it one that is not read."""
    texts = [_normal(plain(choice)) for choice in choices]
    return _NAMED.search(stated) is not None or any(text and text in stated.casefold() for text in texts)


def _label(stated: str) -> tuple[str | None, str]:
    """The label that a statement begins with, and what follows it."""
    for pattern in (_LABELLED, _OPTION, _CAPITAL):
        if match := pattern.match(stated):
            return next(filter(None, match.groups())).upper(), stated[match.end() :]
    return None, stated


def _others(rest: str) -> set[str]:
    return {letter for groups in _OTHER.findall(_DENIED.sub("", rest)) for letter in groups if letter}


def _offered(letter: str, choices: tuple[str, ...]) -> str | None:
    offered = CHOICE_LETTERS[: len(choices)] if choices else CHOICE_LETTERS
    return letter.upper() if letter.upper() in offered else None


def _by_text(stated: str, choices: tuple[str, ...]) -> str | None:
    """The letter of the one choice with this text, or this value; None where there is none or more than one."""
    wanted, texts = _normal(stated), [_normal(plain(choice)) for choice in choices]
    if wanted and wanted not in texts:
        return _by_value(wanted, texts)
    return _only_letter([wanted == text != "" for text in texts])


def _by_value(wanted: str, texts: list[str]) -> str | None:
    """By the value of a number without a unit: "5 mm" is not the choice "5 cm", and 0.5 may be 50% or 0.5%."""
    values = [parse_number(text) for text in texts]
    in_percent = {"%" in text for text in (wanted, *texts)}
    if None in values or len(in_percent) > 1 or not _BARE_NUMBER.fullmatch(wanted):
        return None
    number = parse_number(wanted)
    return _only_letter([number == value for value in values])


def _only_letter(found: list[bool]) -> str | None:
    letters = [letter for letter, one in zip(CHOICE_LETTERS, found, strict=False) if one]
    return letters[0] if len(letters) == 1 else None


def _normal(text: str) -> str:
    words = _BEHIND.sub("", " ".join(text.casefold().split()))
    if before := _BEFORE.match(words):
        words = words[before.end() :]
    return re.sub(r"^(?:an?|the)\s+(?=\S)", "", words)
