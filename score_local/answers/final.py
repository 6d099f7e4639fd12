r"""Where a solution states its final answer: the last `\boxed{...}`, else the last phrase such as "the answer is".

It finds the places and knows nothing of what an answer looks like. A box that was begun and not closed (the generation
was cut off) makes the answer unknown, because the digits in it may be half a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Small models drop the backslash, and a JSON decoder may have eaten it together with the b.
_BOX = re.compile(r"(?:\\fbox|b?oxed)\s*\{")
_BARE_BOX = re.compile(r"\\boxed[ ]?([-−]?\d[\d,]*(?:\.\d+)?)(?!\d|[.,]\d|[ ]?[-+*/×^(\\])")  # \boxed 18
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

# The minus of a box, "$-\boxed{5}$". Spaces around it only within a formula: elsewhere it may be a bullet or a dash.
_SIGN = re.compile(r"(?:(?:^|[\s:*{])[-−–]|[$=(\[][ ]?[-−–][ ]?)(?:\\?[$(,;!{]|\\left\(?)*[\\\x08]?\Z")
_UNSIGNED = re.compile(r"(?:[\d.,/{}\s]|\\[dtc]?frac)+")

# Between two boxes that are one answer: "\boxed{2} or \boxed{3}", "x = \boxed{2}, y = \boxed{3}".
_JOINED = re.compile(r"[\s$.]*(?:,|\band\b|\bor\b|,\s*and\b|,\s*or\b)[\s$]*(?:[a-z]\s*=\s*)?[-−–]?", re.IGNORECASE)

_PHRASE = re.compile(
    r"""
    \#{4}
  | 答案[\s*_]*(?:[是为為][\s*_]*[:：]?|[:：])
  | \b(?:correct|right|best)\s(?:option|choice)(?:\s+is\b)?:? (?=[\s*_"(\[]{0,9}(?-i:[A-J])\b)
  | \banswer\b
    (?!\s+(?:the|this|these|each|all|every|your|with)\b)   # "answer the question: ..." asks
    (?: [^.:=?!\n]{0,80}? (?: [:=] | \b(?:is|are|equals|(?:would|should|must|will)\ be)\b )
        (?: [\s*_]* (?: [:=] | \b(?:is|therefore|thus|simply|just)\b ) )*
      | [\s*_]*\n )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LEAD = re.compile(r"(?:[\s*_`]|\\\[|\$\$)*")
_BULLET = re.compile(r"[-•]\s+")
_LONGEST, _MOST = 2000, 8  # characters of a phrase, and phrases, that are looked at
# A full stop ends the answer only before a capital or the end of the line: "Rs. 500" goes on.
_END = re.compile(
    r"\n|[.!](?=\s{1,9}[*_\"'(]{0,4}[A-Z])|[.!][\s*_\"'`$]*(?=\n|$)|\s\(?(?i:because|since)\b|[。！？]|，\s?(?:因为|因為)"
)
_STOP = re.compile(r"\.\s{1,9}[$£€(]{0,3}(?=\d)")
_ABOUT = re.compile(
    r"(?i:correct|right|wrong|incorrect|helpful|reasonable|consistent|clear|verified|based|obtained|derived)\b"
)
_DENIAL = re.compile(r"not\s+(?:(?:option|choice)\s+)?(?=[\W\d_]|[A-Z]\b)")


@dataclass(frozen=True, slots=True)
class Final:
    """The text of a final answer, whether it stood in a box, and whether the text ended before the sentence did."""

    text: str
    boxed: bool
    cut: bool = False


def last_read(text: str, read: Callable[[Final], str | None], offers: Callable[[str], bool]) -> str | None:
    """What `read` makes of the last statement of a text that `offers` an answer; None where it cannot be read.

    A denial ("the answer is not C") offers none, but takes back what it denies; one that is cut off may have offered
    another.
    """
    denied = set[str | None]()
    for final in _statements(_BARE_BOX.sub(r"\\boxed{\1}", text)):
        answer = read(final)
        if not final.boxed and (denial := _DENIAL.match(final.text)):
            denied.add(read(Final(final.text[denial.end() :], boxed=False)))
        elif answer is not None or final.cut or offers(final.text):
            return None if answer in denied else answer
    return None


def states_answer(text: str) -> bool:
    """Whether there is a box or a phrase at all."""
    return _BOX.search(text) is not None or _PHRASE.search(text) is not None


def _statements(text: str) -> list[Final]:
    """The final answers as they were written, the last first; after a box nothing else is believed."""
    boxes = list(_BOX.finditer(text))
    while boxes:
        end = _closing(text, boxes[-1].end())
        if end is None:
            return []
        if text[boxes[-1].end() : end].strip():
            return [Final(", ".join(reversed(list(_joined(text, boxes)))), boxed=True)]
        boxes.pop()  # an empty box quotes the instruction
    phrases = [_phrase(text, match) for match in list(_PHRASE.finditer(text))[: -_MOST - 1 : -1]]
    # "This answer is correct" may be an answer, but only where there is no other.
    return sorted(phrases, key=lambda final: _ABOUT.match(final.text) is not None)


def _closing(text: str, start: int) -> int | None:
    """Where the brace that was opened before `start` is closed."""
    depth = 1
    for match in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    return None


def _joined(text: str, boxes: list[re.Match[str]]) -> Iterator[str]:
    """The last box and those joined to it, last first."""
    following: int | None = None
    for box in reversed(boxes[-8:]):
        end = _closing(text, box.end())
        if end is None or (following is not None and not _is_joint(text, end, following)):
            return
        yield _signed(text, box.start(), text[box.end() : end].strip())
        following = box.end()


def _signed(text: str, start: int, stated: str) -> str:
    """What a box states that begins at `start`, with the minus before it."""
    if not _SIGN.search(text, max(start - 16, 0), start):
        return stated
    return f"-{stated}" if _UNSIGNED.fullmatch(stated) else f"-({stated})"


def _is_joint(text: str, end: int, start: int) -> bool:
    between = text[end + 1 : start] if start - end < 60 else ""
    return _JOINED.fullmatch(_BOX.sub("", between).replace("\\", "")) is not None


def _phrase(text: str, match: re.Match[str]) -> Final:
    """What is stated behind a phrase, perhaps nothing."""
    lead = _LEAD.match(text, match.end())
    start = lead.end() if lead else match.end()
    below = "\n" in text[match.start() : start]
    if below and (bullet := _BULLET.match(text, start)):
        start = bullet.end()
    stated, *more = _END.split(text[start : start + _LONGEST], maxsplit=1)
    # "1. 2 + 3 = 5" may be the first of a list.
    stated = (stated if below else _without_calculation(stated)).strip().rstrip(",")
    return Final(stated, boxed=False, cut=not more and _ABOUT.match(stated) is None)


def _without_calculation(stated: str) -> str:
    """The first sentence, where the next is an equation: "18. 16 - 3 - 4 = 9 eggs remain"."""
    for stop in _STOP.finditer(stated):
        before = stated[: stop.start()]
        if re.search(r"\d", before) and "=" in stated[stop.end() :]:
            return before
    return stated
