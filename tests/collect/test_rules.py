"""The two filters: a row for every rule, with what breaks it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.collect.records import Correction, Critique
from score_local.collect.rules import (
    CORRECTION_RULES,
    EVERY_STEP_RULES,
    FIRST_STEP_RULES,
    Attempted,
    Critiqued,
    judge_correction,
    judge_critique,
)
from score_local.problem import Problem

PROBLEM = Problem("bags", "Tom has 3 bags of 4 apples and eats 2 of them. How many apples are left?", "10")
WRONG = "Step 1: There are 3 * 4 = 12 apples.\nStep 2: He has 12 + 2 = 14 apples.\n\\boxed{14}"
HINT = (
    "Step 1: The three bags hold 3 * 4 = 12 apples altogether.\n"
    "Step 2: After eating two of them there are 12 - 2 = 10 apples left.\n\\boxed{10}"
)
BECAUSE = "incorrect. The apples that he eats must be taken away, 12 - 2 = 10. The right answer is 10."
GOOD = Critiqued(PROBLEM, WRONG, HINT, Critique(id="bags/1+0", feedback=("correct.", BECAUSE), finish="stop"))

BROKEN_CRITIQUES: list[tuple[str, dict[str, Any]]] = [
    ("failed", {"error": "out of memory", "feedback": ()}),
    ("cut off", {"finish": "length"}),
    ("cut off", {"finish": "loop"}),
    ("not one feedback for each step", {"feedback": ("correct.",)}),
    ("not one feedback for each step", {"feedback": ()}),
    ("a feedback gives no verdict", {"feedback": ("Three bags of four.", BECAUSE)}),
    ("calls every step correct", {"feedback": ("correct.", "correct. The right answer is 10.")}),
    ("does not say what is wrong", {"feedback": ("correct.", "incorrect. 10.")}),
    (
        "calls a step correct whose equation does not hold",
        {"wrong": "Step 1: There are 3 * 4 = 13 apples.\nStep 2: He has 13 + 2 = 15 apples.\n\\boxed{15}"},
    ),
    (
        "the last feedback lacks the right answer",
        {"feedback": ("correct.", "incorrect. The apples that he eats must be taken away.")},
    ),
    (
        "the last feedback lacks the right answer",
        {"feedback": (BECAUSE, "incorrect. It goes on from a wrong number and ends at 100.")},
    ),
    (
        "the wrong last step holds the right answer",
        {"wrong": "Step 1: There are 12 apples.\nStep 2: Of 12 he eats 2, so 10, and 2 more are 12.\n\\boxed{12}"},
    ),
    ("speaks of the hint", {"feedback": ("correct.", "incorrect. The hint takes the 2 apples away: 10.")}),
    ("speaks of the hint", {"feedback": ("correct.", "incorrect. In the correct solution it is 12 - 2 = 10.")}),
    (
        "quotes the hint",
        {"feedback": ("correct.", "incorrect. After eating two of them there are 12 - 2 = 10 apples left.")},
    ),
]


@pytest.mark.parametrize(("reason", "changes"), BROKEN_CRITIQUES)
def test_a_critique_is_rejected_for_the_rule_it_breaks(reason: str, changes: dict[str, Any]) -> None:
    wrong = changes.get("wrong", WRONG)
    critique = msgspec.structs.replace(GOOD.critique, **{k: v for k, v in changes.items() if k != "wrong"})
    judged = judge_critique(replace(GOOD, wrong=wrong, critique=critique))
    assert (judged.reason, judged.critique, judged.critique_step) == (reason, "", None)


def test_a_critique_that_breaks_no_rule_is_kept() -> None:
    judged = judge_critique(GOOD)
    assert judged.reason == "" and judged.critique_step == 2
    assert judged.critique == (
        "Step 2 is the first wrong step. The apples that he eats must be taken away, 12 - 2 = 10."
        " The right answer is 10."
    )


def test_what_the_later_feedbacks_say_of_the_hint_is_not_learnt() -> None:
    said = ("incorrect. There is one bag less than that.", f"{BECAUSE} The hint says so.")
    critique = msgspec.structs.replace(GOOD.critique, feedback=said)
    assert judge_critique(replace(GOOD, critique=critique)).reason == ""


def test_words_of_the_question_are_no_quote() -> None:
    asked = msgspec.structs.replace(
        PROBLEM, question=PROBLEM.question + " After eating two of them there are some left."
    )
    said = ("correct.", "incorrect. After eating two of them there are some left, namely 12 - 2 = 10.")
    hint = HINT.replace("there are", "there are some left,")
    judged = judge_critique(
        replace(GOOD, problem=asked, hint=hint, critique=msgspec.structs.replace(GOOD.critique, feedback=said))
    )
    assert judged.reason == ""


RIGHT = "Step 1: There are 3 * 4 = 12 apples.\nStep 2: He has 12 - 2 = 10 apples left.\n\\boxed{10}"
BROKEN_CORRECTIONS: list[tuple[str, dict[str, Any]]] = [
    ("failed", {"error": "out of memory", "text": ""}),
    ("cut off", {"finish": "length"}),
    ("no answer", {"text": "Step 1: I do not know."}),
    ("not the gold answer", {"text": WRONG}),
    ("not the gold answer", {"text": "Step 1: It is five or six.\n\\boxed{-10}"}),
    ("no step", {"text": "\\boxed{10}"}),
    ("an equation does not hold", {"text": RIGHT.replace("= 12", "= 11")}),
    ("speaks of the critique", {"text": RIGHT.replace("He has", "As the feedback says, he has")}),
]


@pytest.mark.parametrize(("reason", "changes"), BROKEN_CORRECTIONS)
def test_a_correction_is_rejected_for_the_rule_it_breaks(reason: str, changes: dict[str, Any]) -> None:
    correction = msgspec.structs.replace(Correction(id="bags/1+0", text=RIGHT, finish="stop"), **changes)
    judged = judge_correction(Attempted(PROBLEM, correction))
    assert (judged.reason, judged.solution) == (reason, "")


@pytest.mark.parametrize("text", [RIGHT, f"Corrected solution:\n{RIGHT}", f"<think>\\boxed{{3}}</think>{RIGHT}\n"])
def test_a_correction_that_breaks_no_rule_is_kept(text: str) -> None:
    judged = judge_correction(Attempted(PROBLEM, Correction(id="bags/1+0", text=text, finish="stop")))
    assert (judged.reason, judged.solution) == ("", RIGHT)


MENDED = "It should be 12 - 2 = 10 apples, because he eats 2 of them."
FIRST = msgspec.structs.replace(GOOD.critique, feedback=(MENDED,), step=2)
BROKEN_FIRST_STEPS: list[tuple[str, dict[str, Any]]] = [
    ("failed", {"error": "out of memory", "feedback": ()}),
    ("cut off", {"finish": "length"}),
    ("does not say what it should be", {"feedback": ("It should be",)}),
    ("does not say what it should be", {"feedback": ("It should be right.",)}),
    ("does not say what it should be", {"feedback": ()}),
    ("repeats the wrong step", {"feedback": ("It should be 12+2 = 14, because he eats 2 of them.",)}),
    ("an equation of it does not hold", {"feedback": ("It should be 12 - 2 = 9 apples, because he eats 2.",)}),
    (
        "the wrong last step holds the right answer",
        {"wrong": "Step 1: There are 12 apples.\nStep 2: Of 12 he eats 2, so 10, and 2 more are 12.\n\\boxed{12}"},
    ),
    ("speaks of the hint", {"feedback": ("It should be 12 - 2 = 10 apples, as in the right solution.",)}),
]


@pytest.mark.parametrize(("reason", "changes"), BROKEN_FIRST_STEPS)
def test_what_is_said_of_the_first_wrong_step_is_judged_too(reason: str, changes: dict[str, Any]) -> None:
    critique = msgspec.structs.replace(FIRST, **{k: v for k, v in changes.items() if k != "wrong"})
    judged = judge_critique(replace(GOOD, wrong=changes.get("wrong", WRONG), critique=critique))
    assert (judged.reason, judged.critique, judged.critique_step) == (reason, "", None)


def test_what_the_first_wrong_step_should_be_is_kept() -> None:
    judged = judge_critique(replace(GOOD, critique=FIRST))
    assert (judged.reason, judged.critique_step) == ("", 2)
    assert judged.critique == f"Step 2 is the first wrong step. {MENDED}"


@pytest.mark.parametrize(
    ("step", "said", "repeated"),
    [
        ("12 + 2 = 14", "12+2 = 14", True),
        ("He has 12 + 2 = 14 apples.", "12 + 2 = 14 apples", True),
        ("12 + 2 = 14", "14", True),
        ("12 + 2 = 14.00 dollars", "$14", True),
        ("12 * 100 = 1,200", "1200 apples", True),
        ("3 * 4 = 12, and 12 + 2 = 14", "14 apples", True),
        ("So 14 are left", "14", True),
        ("2 * 24 = 48", "24", False),
        ("24 apples * 2 = 48 apples", "24 apples", False),
        ("15 + 4 = 19", "5", False),
        ("3 - 8 = -5", "5", False),
        ("12 * 3 = 36", "12 * 3 = 3", False),
        ("12 * 3 = 36", "2 * 3 = 36", False),
        ("12 * 3 = 36.5", "12 * 3 = 36", False),
        ("3 * 2 + 4 = 6", "2 + 4 = 6", False),
        ("3 * 4 = 12, and 12 + 2 = 14", "12 apples", False),
        ("So 14 are left", "4", False),
    ],
)
def test_a_repeated_step_is_a_calculation_or_its_result(step: str, said: str, repeated: bool) -> None:
    wrong = f"Step 1: There are 3 * 4 = 12 apples.\nStep 2: {step}\n\\boxed{{14}}"
    critique = msgspec.structs.replace(FIRST, feedback=(f"It should be {said}, because he eats 2 of them.",))
    judged = judge_critique(replace(GOOD, wrong=wrong, critique=critique))
    assert (judged.reason == "repeats the wrong step") is repeated


def test_every_rule_has_a_row() -> None:
    assert [rule.name for rule in EVERY_STEP_RULES] == list(dict.fromkeys(name for name, _ in BROKEN_CRITIQUES))
    assert [rule.name for rule in FIRST_STEP_RULES] == list(dict.fromkeys(name for name, _ in BROKEN_FIRST_STEPS))
    assert [rule.name for rule in CORRECTION_RULES] == list(dict.fromkeys(name for name, _ in BROKEN_CORRECTIONS))


@given(st.lists(st.text(max_size=60), max_size=3), st.sampled_from([None, 1, 2]))
def test_whatever_a_model_says_is_judged(feedback: list[str], step: int | None) -> None:
    critique = msgspec.structs.replace(GOOD.critique, feedback=tuple(feedback), step=step)
    judged = judge_critique(replace(GOOD, critique=critique))
    assert (judged.reason == "") == (judged.critique_step is not None)
