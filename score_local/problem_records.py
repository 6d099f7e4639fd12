"""One record of a problem file (a JSON object, a CSV row, a line of text) becomes a `Problem`.

Knows nothing of files: what it raises is an InputError without a place, because whoever read the record knows its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import cast, get_args

from score_local.answers import parse_number
from score_local.errors import InputError
from score_local.problem import CHOICE_LETTERS, AnswerKind, Problem

Record = Mapping[str, object]

# A sign, a currency, digits with or without thousands, a decimal part, an exponent, per cent.
PLAIN_NUMBER = re.compile(r"[-+−]?\s*[$€£]?\s*((\d{1,3}(,\d{3})+|\d+)(\.\d*)?|\.\d+)([eE][-+]?\d+)?\s*%?", re.ASCII)
# Words of one or two letters may be variables.
WITH_UNIT = re.compile(
    rf"{PLAIN_NUMBER.pattern}\s+(?:[^\W\d_]{{3,}}|[cdkm]m|[km]g|m[lL]|ft|oz|lb)(?:[\s/.-]+[^\W\d_]+)*\.?"
)
GSM8K_MARK = "####"
CHOICES_WANTED = "Give a list of 2 to 10 texts"
MESSAGES_WANTED = "Give body.messages as OpenAI's batch format does: a list of objects with role and content"


def problem_from(record: Record, fallback_id: str) -> Problem:
    """The problem of a record; `fallback_id` is used where it has no id. Raises InputError without a place.

    Keys that are not known are passed over. `answerKey` (CommonsenseQA, ARC) is another name of `answer`.
    """
    if "question" not in record and "body" in record:
        record = _from_batch(record)
    question = _question(record)
    labels, choices = _choices(record.get("choices"))
    answer = _gold(record)
    kind = _kind(record, choices, answer)
    if kind == "choice" and answer is not None:
        answer = _letter(answer, labels, choices)
    return Problem(_text(record, "id") or fallback_id, question, answer, choices, kind)


def _question(record: Record) -> str:
    given = record.get("question")
    if given is not None and not isinstance(given, str):
        raise InputError(f"the question is {_name(given)}, not text", next='Write it in quotes: "question": "..."')
    question = _text(record, "question")
    if question is None:
        raise InputError("there is no question", next="Give it one under the name question, or delete the line")
    return question


def _gold(record: Record) -> str | None:
    """The gold answer; of a published GSM8K solution, what stands after its mark."""
    answer = _text(record, "answer") or _text(record, "answerKey")
    if answer is None or GSM8K_MARK not in answer:
        return answer
    return answer.rpartition(GSM8K_MARK)[2].strip() or None


def _kind(record: Record, choices: Sequence[str], answer: str | None) -> AnswerKind:
    given = _text(record, "kind")
    if given is None:
        return _guessed_kind(choices, answer)
    if given not in get_args(AnswerKind):
        kinds = ", ".join(get_args(AnswerKind))
        raise InputError(f"the kind is {_quoted(given)}", next=f"Use {kinds}, or leave it out")
    if (given == "choice") != bool(choices):
        what = "has choices" if choices else "has no choices"
        raise InputError(f"the kind is {given}, but the problem {what}", next="Leave the kind out, or mend the choices")
    return cast(AnswerKind, given)


def _guessed_kind(choices: Sequence[str], answer: str | None) -> AnswerKind:
    if choices:
        return "choice"
    return "number" if answer is None or _is_number(answer) else "expression"


def _is_number(answer: str) -> bool:
    """Whether it is one number, alone or with its unit; "5 or more" is none, nor "2 pi"."""
    counted = WITH_UNIT.fullmatch(answer) and parse_number(answer) is not None
    return bool(counted or PLAIN_NUMBER.fullmatch(answer))


def _choices(value: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(labels, texts): of a list of texts, or of CommonsenseQA's {"label": [...], "text": [...]}."""
    labels: Sequence[object] = CHOICE_LETTERS
    if isinstance(value, Mapping):
        labels, value = _lists(value)
    if value is None or value == []:
        return (), ()
    if not isinstance(value, list):
        raise InputError(f"the choices are {_name(value)}", next=CHOICES_WANTED)
    if not 2 <= len(value) <= len(CHOICE_LETTERS):
        raise InputError(f"the number of choices is {len(value)}", next=CHOICES_WANTED)
    return _listed(labels[: len(value)], "label"), _listed(value, "choice")


def _lists(value: Record) -> tuple[list[object], list[object]]:
    labels, texts = value.get("label"), value.get("text")
    if isinstance(labels, list) and isinstance(texts, list) and len(labels) == len(texts):
        return labels, texts
    raise InputError("the choices are an object without equally long lists label and text", next=CHOICES_WANTED)


def _listed(values: Iterable[object], name: str) -> tuple[str, ...]:
    texts = []
    for number, value in enumerate(values, 1):
        text = _text({f"{name} {number}": value}, f"{name} {number}")
        if text is None:
            raise InputError(f"{name} {number} is empty", next=CHOICES_WANTED)
        texts.append(text)
    return tuple(texts)


def _letter(answer: str, labels: Sequence[str], choices: Sequence[str]) -> str:
    """The letter of a gold answer that is a label ("b", "(B)") or else the very text of a choice."""
    bare = answer.strip("().: ").casefold()
    for letter, label in zip(CHOICE_LETTERS, labels, strict=False):
        if label.casefold() == bare:
            return letter
    if answer in choices:
        return CHOICE_LETTERS[choices.index(answer)]
    letters = f"A to {CHOICE_LETTERS[len(choices) - 1]}"
    what = f"the answer {_quoted(answer)} is none of the choices"
    raise InputError(what, next=f"Give a letter, {letters}, or the text of a choice")


def _from_batch(record: Record) -> Record:
    """A line of an OpenAI batch file: its last user message is the question, and system messages stand before it."""
    body = record["body"]
    messages = body.get("messages") if isinstance(body, Mapping) else None
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        raise InputError("the request has no list of messages", next=MESSAGES_WANTED)
    system = [_content(m) for m in messages if m.get("role") in ("system", "developer")]
    user = [m for m in messages if m.get("role") == "user"]
    if not user:
        raise InputError("the request has no message of the user", next=MESSAGES_WANTED)
    asked = _content(user[-1])
    question = "\n\n".join([*filter(None, system), asked]) if asked else ""
    return {**record, "id": record.get("custom_id"), "question": question}


def _content(message: Record) -> str:
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return "\n".join(map(_part, parts)).strip()


def _part(part: object) -> str:
    text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
    if not isinstance(text, str):
        what = "a message holds something other than text"
        raise InputError(what, next="Only text can be read: remove the other parts")
    return text


def _text(record: Record, key: str) -> str | None:
    """Text or a number as text, without the space around it; None where there is none."""
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise InputError(f"the {key} is {_name(value)}, not text or a number", next=f"Write the {key} as text")
    # Decimal writes out what str() shortens to 1e+20, which reads as an expression in e.
    text = value if isinstance(value, str) else format(Decimal(str(value)), "f")
    if "\0" in text:
        raise InputError(f"the {key} holds a NUL character", next="Remove it")
    return text.strip() or None


def _name(value: object) -> str:
    """What a JSON reader would call it."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
