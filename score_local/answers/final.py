r"""Where a solution states its final answer: the last `\boxed{...}`, else the last phrase such as "the answer is".

It finds the place and knows nothing of what an answer looks like. A box that was begun and not closed (the generation
was cut off) makes the answer unknown, because the digits in it may be half a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Small models drop the backslash, and a JSON decoder may have eaten it together with the b.
_BOX = re.compile(r"(?:\\fbox|b?oxed)\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

# The minus of a box, "$-\boxed{5}$". Spaces around it only within a formula: elsewhere it may be a bullet or a dash.
_SIGN = re.compile(r"(?:(?:^|[\s:*{])[-−–]|[$=(\[][ ]?[-−–][ ]?)(?:\\?[$(,;!{]|\\left\(?)*[\\\x08]?\Z")
_UNSIGNED = re.compile(r"(?:[\d.,/{}\s]|\\[dtc]?frac)+")

# Between two boxes that are one answer: "\boxed{2} or \boxed{3}", "x = \boxed{2}, y = \boxed{3}".
_JOINED = re.compile(r"[\s$.]*(?:,|\band\b|\bor\b|,\s*and\b|,\s*or\b)[\s$]*(?:[a-z]\s*=\s*)?[-−–]?", re.IGNORECASE)

_PHRASE = re.compile(
    r"""
    \#{4}
  | \banswer\b (?!\s+(?:the|this|these|each|all|every|your|with)\b)   # "answer the question: ..." asks
    (?: [^.:=?!\n]{0,80}? (?: [:=] | \b(?:is|are|equals|(?:would|should|must|will)\ be)\b )
        (?: [\s*_]* (?: [:=] | \b(?:is|therefore|thus|simply|just)\b ) )*
      | [\s*_]*\n )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LEAD = re.compile(r"(?:[\s*_`]|\\\[|\$\$)*")
_BULLET = re.compile(r"[-•]\s+")
_LONGEST = 2000  # characters of a phrase that are looked at
# A full stop ends the answer only before a capital or the end of the line: "Rs. 500" goes on.
_END = re.compile(r"\n|[.!](?=\s{1,9}[*_\"'(]{0,4}[A-Z])|[.!][\s*_\"'`$]*(?=\n|$)|\s(?i:because|since)\b")


@dataclass(frozen=True, slots=True)
class Final:
    """The text of the final answer, and whether it stood in a box."""

    text: str
    boxed: bool


def final_answer(text: str) -> Final | None:
    """The final answer as it was written, None where the text states none."""
    boxes = list(_BOX.finditer(text))
    while boxes:
        end = _closing(text, boxes[-1].end())
        if end is None:
            return None
        if text[boxes[-1].end() : end].strip():
            return Final(", ".join(reversed(list(_joined(text, boxes)))), boxed=True)
        boxes.pop()  # an empty box quotes the instruction
    return _last_phrase(text)


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


def _last_phrase(text: str) -> Final | None:
    match = None
    for match in _PHRASE.finditer(text):  # noqa: B007 (the last one is wanted)
        pass
    if match is None:
        return None
    lead = _LEAD.match(text, match.end())
    start = lead.end() if lead else match.end()
    if "\n" in text[match.start() : start] and (bullet := _BULLET.match(text, start)):
        start = bullet.end()
    stated = _END.split(text[start : start + _LONGEST], maxsplit=1)[0].strip().rstrip(",")
    return Final(stated, boxed=False) if stated else None
