"""A scripted model that adds, is often wrong, often knows it, and often repairs it; always the same for a request."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from score_local.engine.protocol import Request, Score
from score_local.engine.scripted import ScriptedEngine
from score_local.errors import EngineError


def write_problems(path: Path, count: int) -> Path:
    """Sums with gold answers: their ids fall into both halves."""
    lines = [{"id": f"sum-{i}", "question": f"What is {i} + {i + 1}?", "answer": str(2 * i + 1)} for i in range(count)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def script(request: Request) -> str | tuple[float, ...] | EngineError:
    """Greedy solutions are right half of the time, samples more often; a refinement repairs two of three, and breaks
    one of seven."""
    turns = "".join(message.content for message in request.messages if message.role == "user")
    asked = re.findall(r"is (\d+) \+ (\d+)\?", turns)
    gold = sum(map(int, asked[-1]))
    solved_wrong = _luck(gold, "solve") < 0.5
    if isinstance(request, Score):
        doubt = 6 * _luck(gold, "doubt") - 3 + (1.5 if solved_wrong else -1.5)
        return -max(doubt, 0.0), -max(-doubt, 0.0)
    if request.phase == "refine":
        wrong = _luck(gold, "refine") < (0.33 if solved_wrong else 0.15)
        return f"Critique: the sum.\nCorrected solution:\nStep 1: again\n\\boxed{{{gold + wrong}}}"
    wrong = solved_wrong if request.phase == "solve" else _luck(gold, str(request.sampling.seed)) < 0.4
    return f"Step 1: the sum\n\\boxed{{{gold + (1 + gold % 3) * wrong}}}"


def engine() -> ScriptedEngine:
    return ScriptedEngine(script, capacity=4)


def _luck(gold: int, what: str) -> float:
    return random.Random(f"{gold} {what}").random()
