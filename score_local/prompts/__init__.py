"""The prompts, one text file each, and the conversations made of them.

Conversations only grow: verifying and refining *continue* the solve conversation, so their prompts begin with the very
tokens that the solver left in the KV cache.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from functools import cache
from importlib import resources

import msgspec

from score_local.engine.protocol import Completion, Message
from score_local.problem import CHOICE_LETTERS, AnswerKind, Problem

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable
else:
    from importlib.abc import Traversable

Conversation = tuple[Message, ...]
CORRECT, INCORRECT = VERDICTS = ("Yes", "No")
CORRECTED = "Corrected solution:"
_MARKER = re.compile(r"corrected solution\s*\**\s*:", re.IGNORECASE)  # small models write it in capitals, or bold


def solve_messages(problem: Problem) -> Conversation:
    """The system turn, the worked examples (the same for every problem of a kind: the cache pays for them once), and
    the problem."""
    turns = [Message("system", text("system"))]
    for example in examples()[problem.kind]:
        turns += [_ask(problem.kind, example.question, example.choices), Message("assistant", example.solution.strip())]
    return (*turns, _ask(problem.kind, problem.question, problem.choices))


def _ask(kind: AnswerKind, question: str, choices: Sequence[str]) -> Message:
    labelled = "\n".join(f"{letter}. {choice}" for letter, choice in zip(CHOICE_LETTERS, choices, strict=False))
    fields = {"{question}": question.strip(), "{choices}": labelled}
    # In one pass: a question that holds "{choices}" keeps it.
    return Message("user", re.sub(r"\{question\}|\{choices\}", lambda field: fields[field[0]], text(f"solve_{kind}")))


def answered(conversation: Conversation, completion: Completion) -> Conversation:
    """The conversation with the model's reply, in the very tokens of the reply."""
    return (*conversation, Message("assistant", completion.text, completion.tokens))


def verify_messages(conversation: Conversation) -> Conversation:
    """Asks for a verdict on the last solution: one of VERDICTS."""
    return (*conversation, Message("user", text("verify")))


def refine_messages(conversation: Conversation, hint: str = "") -> Conversation:
    """Asks for a critique of the last solution and a corrected one; a hint stands behind what is asked."""
    asked = text("refine")
    return (*conversation, Message("user", f"{asked}\n{text('hint')} {hint.strip()}" if hint.strip() else asked))


def split_refinement(reply: str) -> tuple[str, str]:
    """(critique, corrected solution) of a refiner's reply; without the marker, all of it is the solution."""
    critique, *solution = _MARKER.split(reply, maxsplit=1)
    if not solution:
        return "", reply.strip()
    return critique.strip().removeprefix("Critique:").strip(" *\n"), solution[0].strip().strip("*").strip()


def holds_correction(reply: str) -> bool:
    """Whether a refiner's reply has come to its corrected solution."""
    return _MARKER.search(reply) is not None


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worked example of `examples.toml`."""

    question: str
    solution: str
    choices: tuple[str, ...] = ()


@cache
def examples() -> dict[AnswerKind, tuple[Example, ...]]:
    """The worked examples by kind of answer."""
    content = _folder().joinpath("examples.toml").read_bytes()
    return msgspec.toml.decode(content, type=dict[AnswerKind, tuple[Example, ...]])


@cache
def text(name: str) -> str:
    """One prompt file, without the line break that ends it."""
    return _folder().joinpath(f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")


@cache
def fingerprint() -> str:
    """SHA-256 over the prompts that solve, verify and refine: an adapter was trained with them."""
    return hash_of(_folder())


def hash_of(*folders: Traversable) -> str:
    """SHA-256 over the prompt files of `folders`, names included."""
    files = [
        file
        for folder in folders
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith((".txt", ".toml"))
    ]
    return hashlib.sha256(b"\0".join(f.name.encode() + b"\0" + f.read_bytes() for f in files)).hexdigest()


def _folder() -> Traversable:
    return resources.files(__package__)
