"""Feedback on the first wrong step alone, for models too small to judge every step.

A 0.5B model that is asked about each step calls them all correct. What it can do is say what a step should be, once it
is told which. The first wrong step is the one whose equation does not hold; without one, comparing the numbers that the
wrong and the right solutions come to tells it. The words are the model's. The hint ends with the step that should stand
there: shown all of it, the model leaps to the last calculation, over numbers that the student never had. Its correction
keeps the steps before, and goes on from what its critique says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from score_local import answers
from score_local.collect import conversations
from score_local.collect.critiques import OPENING, should_be
from score_local.collect.records import Correction, Critique, Judged, PairTexts
from score_local.collect.rules import arithmetic_step
from score_local.collect.settings import Settings
from score_local.collect.solutions import numbered, one_line, steps_of
from score_local.engine.protocol import Generate
from score_local.engine.steps import Steps, generate
from score_local.errors import EngineError
from score_local.verifiers import equations

_NUMBER = r"[-−]?\$?\d[\d,]*(?:\.\d+)?"
_STATED = re.compile(_NUMBER)
_RESULT = re.compile(rf"(?<==)\s*{_NUMBER}(?![\d.,]*\s*[-+*/×÷])")


def first_wrong_step(question: str, wrong: str, right: str) -> int:
    """The number of the first step of the solution `wrong` that has an equation that does not hold: that is proven,
    while a strange number before it may come of taking the problem apart in another way. Where all equations hold, of
    the first step that comes to a number which neither the question nor the solutions `right` know; else of the last,
    whose answer is wrong."""
    steps, slip = steps_of(wrong), arithmetic_step(wrong)
    if slip is not None:
        return min(slip, len(steps))
    known = {value / scale for value in _values(_STATED, f"{question}\n{right}") for scale in (1, 100)}
    strange = (n for n, step in enumerate(steps, 1) if not known.issuperset(_values(_RESULT, step)))
    return next(strange, len(steps))


def hint_for(question: str, so_far: Sequence[str], right: Sequence[str]) -> Sequence[str]:
    """What should stand in place of the last of the steps `so_far`, which is wrong, and what leads there.

    Where that one only miscalculates what the solution `right` comes to as well, the same steps with its equation
    recomputed: they may take the problem apart in another way. Else the steps of `right` up to the first that comes to
    a number which neither the question states nor the steps so far have come to."""
    *kept, wrong = so_far
    mended = _recomputed(wrong)
    if mended and set(_values(_RESULT, "\n".join(right))).issuperset(_values(_RESULT, mended)):
        return [*kept, mended]
    known = {*_values(_STATED, "\n".join([question, *kept])), *_values(_RESULT, wrong)}
    for number, step in enumerate(right, 1):
        if not known.issuperset(_values(_RESULT, step)):
            return right[:number]
    return right


def critique(key: str, pair: PairTexts, settings: Settings) -> Steps[Critique]:
    """Asks what the first wrong step should be, and why, with the right solution in view as far as that step."""
    question, steps = pair.problem.question, steps_of(pair.wrong.text)
    number = first_wrong_step(question, pair.wrong.text, _right_texts(pair))
    hint = hint_for(question, steps[:number], steps_of(pair.correct.text))
    task = conversations.critique_task(pair.problem, steps[:number], pair.wrong_answer, hint)
    asked = conversations.first_step_messages(pair.problem.kind, task)
    request = Generate(asked, phase="refine", sampling=settings.critique.sampling(settings.seed), prefix=OPENING)
    try:
        reply = yield from generate(request)
    except EngineError as error:
        return Critique(id=key, error=str(error))
    said = (one_line(answers.split_thought(reply.text)[1]),)
    return Critique(id=key, feedback=said, step=number, finish=reply.finish, usage=reply.usage)


def correct(row: Judged, pair: PairTexts, settings: Settings) -> Steps[Correction]:
    """Has the problem solved again from the first wrong step on: without the hint, and without the steps that went
    wrong, which a small model would only repeat."""
    assert row.critique_step is not None, "else a rule is broken"
    steps = steps_of(pair.wrong.text)
    kept, wrong = steps[: row.critique_step - 1], steps[row.critique_step - 1]
    asked = conversations.amend_messages(pair.problem, row.critique_step, wrong, row.critique)
    mended = should_be(row.critique)
    prefix = numbered([*kept, mended]) + ".\n" if mended else numbered([*kept, ""]).rstrip()
    request = Generate(asked, phase="refine", sampling=settings.correction.sampling(settings.seed), prefix=prefix)
    try:
        reply = yield from generate(request)
    except EngineError as error:
        return Correction(id=row.id, error=str(error))
    return Correction(id=row.id, text=reply.text, finish=reply.finish, usage=reply.usage)


def _right_texts(pair: PairTexts) -> str:
    """All that is known to be right, thoughts left out: they may try what is not."""
    return "\n".join(answers.split_thought(sample.text)[1] for sample in (pair.correct, *pair.right))


def _recomputed(step: str) -> str:
    """The first equation of a step that does not hold, with what its left side gives; "" where all hold, or where it
    is written without an equals sign."""
    check = equations.first_wrong(equations.check_steps([step]))
    left, sign, _ = check.text.rpartition("=") if check else ("", "", "")
    return f"{left.strip()} = {check.expected}." if check and sign else ""


def _values(pattern: re.Pattern[str], text: str) -> Iterator[Fraction]:
    for found in pattern.findall(text):
        value = answers.parse_number(found.replace("$", "").rstrip(","))
        if value is not None:
            yield value
