"""The prompts, one text file each, and the conversations made of them.

Conversations only grow: verifying and refining *continue* the solve conversation, so their prompts begin with the very
tokens that the solver left in the KV cache.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from score_local.engine.protocol import Completion, Message
from score_local.problem import CHOICE_LETTERS, Problem

Conversation = tuple[Message, ...]
CORRECT, INCORRECT = VERDICTS = ("Yes", "No")
CORRECTED = "Corrected solution:"


def solve_messages(problem: Problem) -> Conversation:
    """The system turn and the problem."""
    choices = "\n".join(f"{letter}. {text}" for letter, text in zip(CHOICE_LETTERS, problem.choices, strict=False))
    # The question goes in last: whatever braces it holds are its own.
    turn = text(f"solve_{problem.kind}").replace("{choices}", choices).replace("{question}", problem.question.strip())
    return (Message("system", text("system")), Message("user", turn))


def answered(conversation: Conversation, completion: Completion) -> Conversation:
    """The conversation with the model's reply, in the very tokens of the reply."""
    return (*conversation, Message("assistant", completion.text, completion.tokens))


def verify_messages(conversation: Conversation) -> Conversation:
    """Asks for a verdict on the last solution: one of VERDICTS."""
    return (*conversation, Message("user", text("verify")))


def refine_messages(conversation: Conversation) -> Conversation:
    """Asks for a critique of the last solution and a corrected one."""
    return (*conversation, Message("user", text("refine")))


def split_refinement(reply: str) -> tuple[str, str]:
    """(critique, corrected solution) of a refiner's reply; without the marker, all of it is the solution."""
    critique, marker, solution = reply.partition(CORRECTED)
    if not marker:
        return "", reply.strip()
    return critique.strip().removeprefix("Critique:").strip(), solution.strip().strip("*").strip()


@cache
def text(name: str) -> str:
    """One prompt file, without the line break that ends it."""
    return (resources.files(__package__) / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")


@cache
def fingerprint() -> str:
    """SHA-256 over all prompt files, names included: a run is resumed only with the prompts it began with."""
    files = sorted((f for f in resources.files(__package__).iterdir() if f.name.endswith(".txt")), key=lambda f: f.name)
    return hashlib.sha256(b"\0".join(f.name.encode() + b"\0" + f.read_bytes() for f in files)).hexdigest()
