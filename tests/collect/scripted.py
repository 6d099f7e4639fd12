"""Questions about sums, an engine that is right or wrong on purpose, and a command line over it, for real processes:

python -m tests.collect.scripted RATE QUESTIONS --out DIR ...
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from score_local.collect.collection import Source
from score_local.collect.options import add_arguments
from score_local.commands import collect, collect_engine
from score_local.engine.protocol import Generate, Request
from score_local.engine.scripted import ScriptedEngine
from score_local.errors import EngineError, UserError
from score_local.verifiers.draws import seed_of
from score_local.verifiers.program import PREFIX

SAMPLES = 4
FAILS, SILENT = "fails", "gives no answer"
# By the first summand of a question: what is added to the right sum, for each sample.
PLANS: dict[int, tuple[int | str, ...]] = {3: (0, 0, 0, 0), 9: (1, 1, FAILS, 1)}
MIXED: tuple[int | str, ...] = (0, 1, 2, SILENT)
SUM = re.compile(r"(\d+) \+ (\d+)")


def question(a: int, b: int) -> str:
    return f"What is {a} + {b}?"


def solution(a: int, b: int, off: int | str) -> str | EngineError:
    if off == FAILS:
        return EngineError("broken")
    if off == SILENT:
        return "I do not know."
    return f"Step 1: Adding gives {a} + {b} = {a + b + int(off)}.\n\\boxed{{{a + b + int(off)}}}"


def program(a: int, b: int, off: int | str) -> str | EngineError:
    if off == FAILS:
        return EngineError("broken")
    return f"{PREFIX}    return {a} + {b} + {'unknown' if off == SILENT else off}\n"


def script(request: Request) -> str | EngineError:
    """Samples by `PLANS`; sees what is wrong unless it is off by two; corrects what it is told."""
    assert isinstance(request, Generate)
    last = request.messages[-1].content
    if request.phase == "sample":
        a, b = _summands(last)
        indices = {seed_of(0, key, i): i for key in (str(a), f"q{a}") for i in range(SAMPLES)}
        off = PLANS.get(a, MIXED)[indices[request.sampling.seed]]
        return program(a, b, off) if request.prefix else solution(a, b, off)
    if "Solve the problem again" in last:
        return f"{solution(*_summands(request.messages[-3].content), 0)}"
    a, b = _summands(last.splitlines()[-2])
    if f"= {a + b + 2}." in last.splitlines()[-2]:
        return "correct."
    return f"incorrect. Counting on from {a} by {b} does not lead there. The right answer is {a + b}."


def _summands(text: str) -> tuple[int, int]:
    found = SUM.search(text)
    assert found, text
    return int(found[1]), int(found[2])


def options(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(flags)


def main(arguments: Sequence[str]) -> int:
    rate, *flags = arguments
    source = Source("scripted", "tiny")
    collect_engine.source_of = lambda _: (source, lambda: ScriptedEngine(script, rate=float(rate)))
    try:
        return collect.run(options(*flags))
    except UserError as error:
        print(f"score-local: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
