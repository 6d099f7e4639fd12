"""The conversations that collect training data, made of the files in `collect/prompts`.

They are asked while collecting and never at run time: the models that are trained never see them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources

import msgspec

from score_local import prompts
from score_local.collect.solutions import numbered
from score_local.engine.protocol import Message
from score_local.problem import CHOICE_LETTERS, AnswerKind, Problem
from score_local.prompts import Conversation

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable
else:
    from importlib.abc import Traversable


class CritiqueTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wrong solution to go through, with a right one as the hint (SCORE, section 4.1).

    `wrong` and `correct` are steps; `feedback`, in a worked example, is one for each step of `wrong`, or one for the
    last of them.
    """

    question: str
    wrong: tuple[str, ...]
    correct: tuple[str, ...]
    answer: str
    wrong_answer: str = ""
    feedback: tuple[str, ...] = ()


def critique_task(problem: Problem, wrong: Sequence[str], wrong_answer: str, correct: Sequence[str]) -> CritiqueTask:
    choices = zip(CHOICE_LETTERS, problem.choices, strict=False)
    question = "\n".join([problem.question.strip(), *(f"{letter}. {choice}" for letter, choice in choices)])
    return CritiqueTask(question, tuple(wrong), tuple(correct), problem.answer or "", wrong_answer)


def critique_opening(kind: AnswerKind) -> Conversation:
    """The system turn and the worked examples, the same for every critique of a kind."""
    turns = [Message("system", _text("critique_system"))]
    for example in _examples("critique")[kind]:
        for asked, feedback in zip(critique_turns(example), example.feedback, strict=True):
            turns += [asked, Message("assistant", feedback)]
    return tuple(turns)


def critique_turns(task: CritiqueTask) -> Iterator[Message]:
    """A turn for each step of the wrong solution, the first with the question and the hint before it."""
    header = _filled(
        "critique",
        question=task.question,
        correct=numbered(task.correct),
        answer=task.answer,
        wrong_answer=task.wrong_answer,
    )
    for number, step in enumerate(task.wrong, 1):
        name = "critique_last" if number == len(task.wrong) else "critique_step"
        asked = _filled(name, number=str(number), step=step)
        yield Message("user", f"{header}\n{asked}" if number == 1 else asked)


def first_step_messages(kind: AnswerKind, task: CritiqueTask) -> Conversation:
    """Asks what the last of the steps `task.wrong` should be, and why, after worked examples."""
    turns = [Message("system", _text("first_step_system"))]
    for example in _examples("first_step")[kind]:
        turns += [_first_step(example), Message("assistant", example.feedback[0])]
    return (*turns, _first_step(task))


def _first_step(task: CritiqueTask) -> Message:
    # What is right comes last: a small model repeats what it read last.
    asked = _filled(
        "first_step",
        question=task.question,
        wrong=numbered(task.wrong),
        correct=numbered(task.correct),
        number=str(len(task.wrong)),
        step=task.correct[-1],
    )
    return Message("user", asked)


def amend_messages(problem: Problem, number: int, wrong: str, critique: str) -> Conversation:
    """Asks the problem anew, with a note of the step that was wrong and no hint (the prompt filter)."""
    *opening, asked = prompts.solve_messages(problem)
    note = _filled("amend", asked=asked.content, number=str(number), step=wrong, critique=critique)
    return (*opening, Message("user", note))


def correct_messages(conversation: Conversation, critique: str) -> Conversation:
    """Continues a solve conversation: asks for another solution, given the critique and no hint (the prompt filter)."""
    return (*conversation, Message("user", _filled("correct", critique=critique)))


@cache
def fingerprint() -> str:
    """SHA-256 over the prompts that collect, names included."""
    return prompts.hash_of(_folder())


def _filled(name: str, **fields: str) -> str:
    """The prompt with its fields, in one pass: a question that holds "{correct}" keeps it."""
    pattern = "|".join(rf"\{{{key}\}}" for key in fields)
    return re.sub(pattern, lambda match: fields[match[0][1:-1]], _text(name))


@cache
def _examples(name: str) -> dict[AnswerKind, tuple[CritiqueTask, ...]]:
    content = _folder().joinpath(f"{name}_examples.toml").read_bytes()
    return msgspec.toml.decode(content, type=dict[AnswerKind, tuple[CritiqueTask, ...]])


@cache
def _text(name: str) -> str:
    return _folder().joinpath(f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")


def _folder() -> Traversable:
    return resources.files("score_local.collect").joinpath("prompts")
