"""What was said: whether a message is a problem, which one, and what of a conversation the model is told.

Pure, and cheap to import: the first screen needs it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from score_local.engine.protocol import Message
from score_local.problem import CHOICE_LETTERS, AnswerKind, Problem
from score_local.trace import Attempt, Candidate, Trace
from tui.records import Turn

CHARACTERS_A_TOKEN = 3  # fewer than most texts have, so that what is kept of a conversation fits
_CHOICE = re.compile(r"^\(?([A-J])[.):]\s+(\S.*)$")
_QUANTITY = re.compile(r"\d|\bhow (many|much|long|far|old|often|tall|fast)\b|\\boxed|\\frac|\bsolve\b", re.IGNORECASE)


def is_problem(text: str) -> bool:
    """Whether a message is solved and doubted rather than chatted about: it holds a number, asks for a quantity, or has
    choices. `/solve` and `/chat` decide otherwise."""
    return bool(_QUANTITY.search(text)) or bool(_split_choices(text)[1])


def problem_of(turn: Turn) -> Problem:
    """The problem of a turn. Lines "A. ..." at its end are choices; LaTeX in it asks for an expression."""
    question, choices = _split_choices(turn.question)
    kind: AnswerKind = "choice" if choices else "expression" if "\\" in question else "number"
    return Problem(turn.id, question, choices=choices, kind=kind)


def _split_choices(text: str) -> tuple[str, tuple[str, ...]]:
    lines = text.strip().splitlines()
    found = [_CHOICE.match(line.strip()) for line in lines]
    start = next((i for i in range(len(lines)) if all(found[i:])), len(lines))
    labels = [match[1] for match in found[start:] if match]
    if len(labels) < 2 or labels != list(CHOICE_LETTERS[: len(labels)]):
        return text, ()
    return "\n".join(lines[:start]), tuple(match[2] for match in found[start:] if match)


def context_of(turns: Sequence[Turn], room: int) -> tuple[Message, ...]:
    """What was said before, as the model is told it: of each question the latest answer, the latest turns first to
    stay where not all fit into `room` tokens."""
    latest = {turn.question: turn for turn in turns if turn.state == "done"}
    kept: list[Message] = []
    for turn in reversed([turn for turn in turns if latest.get(turn.question) is turn]):
        pair = [Message("user", turn.question), Message("assistant", said(turn))]
        room -= sum(len(message.content) for message in pair) // CHARACTERS_A_TOKEN
        if room < 0:
            break
        kept = pair + kept
    return tuple(kept)


def said(turn: Turn) -> str:
    """The text that a turn came to: the reply, or a solution whose answer stands; where only programs computed that
    answer, the answer."""
    trace = turn.trace
    if trace is None or trace.initial is None:
        return turn.reply
    solutions: list[Attempt | Candidate] = [*reversed(_refinements(trace)), trace.initial, *trace.candidates]
    texts = (solution.text for solution in solutions if solution.answer == turn.answer and solution.text)
    return next(texts, trace.initial.text if turn.answer is None else f"The answer is {turn.answer}.")


def refinement_of(trace: Trace) -> Attempt | None:
    """The last refinement that was written."""
    return next(reversed(_refinements(trace)), None)


def other_answer(turn: Turn) -> str | None:
    """The first answer; where that stands, the one that was decided, or else the last refinement's. An answer that is
    known is never given up for none."""
    trace = turn.trace
    if trace is None or trace.initial is None:
        return turn.answer
    first = trace.initial.answer
    if first is not None and turn.answer != first:
        return first
    others = (trace.answer, *(refined.answer for refined in reversed(_refinements(trace))))
    return next((answer for answer in others if answer not in (None, first)), turn.answer)


def standing_answer(turn: Turn, trace: Trace) -> str | None:
    """The answer of a turn that came to `trace`. What the person chose stands until another answer is found."""
    last = trace.rounds[-1].refinement if trace.rounds else None
    found = turn.trace is None or trace.answer != turn.trace.answer or (last is not None and last.answer is not None)
    return trace.answer if found else turn.answer


def _refinements(trace: Trace) -> list[Attempt]:
    return [round_.refinement for round_ in trace.rounds if round_.refinement]
