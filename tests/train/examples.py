"""Training examples of each role over tiny models, as `score-local collect` exports them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from score_local import prompts
from score_local.collect.records import Example, Turn
from score_local.engine.protocol import Message
from score_local.problem import Problem
from score_local.roles import Role
from score_local.verifiers import program

RIGHT = "Step 1: Tom picks {a} + 1 = {b} apples.\n\\boxed{{{b}}}"
WRONG = "Step 1: Tom picks {a} + 1 = {a} apples.\n\\boxed{{{a}}}"


def examples(role: Role, count: int = 8, dev: int = 4) -> list[Example]:
    """`count` training and `dev` dev examples; those of a verifier are right and wrong in turn."""
    return [_example(role, i, "train" if i < count else "dev") for i in range(count + dev)]


def write_examples(path: Path, rows: Iterable[Example]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return path


def _example(role: Role, i: int, split: str) -> Example:
    question = f"Tom picks {i // 2} apples and one more. How many?"
    problem = Problem(id=f"p{i // 2}", question=question, answer=str(i // 2 + 1))
    asked, right = prompts.solve_messages(problem), RIGHT.format(a=i // 2, b=i // 2 + 1)
    wrong, is_wrong = WRONG.format(a=i // 2), i % 2 == 1
    if role == "solver":
        messages, target = asked, right
    elif role == "programmer":
        target = f"    return {i // 2} + 1\n{program.FENCE}"
        return Example(
            id=f"{problem.id}/{i}",
            problem=problem.id,
            role=role,
            messages=turns_of(program.program_messages(problem)),
            prefix=program.PREFIX,
            target=target,
            split=split,  # type: ignore[arg-type]
            meta={"value": problem.answer, "kind": problem.kind},
        )
    elif role == "refiner":
        messages = prompts.refine_messages((*asked, Message("assistant", wrong)))
        target = f"Critique: Step 1 is the first wrong step. One is missing.\n{prompts.CORRECTED}\n{right}"
    else:
        messages = prompts.verify_messages((*asked, Message("assistant", wrong if is_wrong else right)))
        target = prompts.INCORRECT if is_wrong else prompts.CORRECT
    return Example(
        id=f"{problem.id}/{i}", problem=problem.id, role=role, messages=turns_of(messages), target=target, split=split
    )  # type: ignore[arg-type]


def turns_of(messages: Sequence[Message]) -> tuple[Turn, ...]:
    return tuple(Turn(message.role, message.content) for message in messages)
