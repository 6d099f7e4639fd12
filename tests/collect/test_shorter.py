"""Shorter questions: what is stated, what makes room for it, and what is left alone."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.collect.rationales import Worked, calculations_in, program_of
from score_local.collect.shorter import shorter
from score_local.problem import Problem
from score_local.sandbox.program import outcome_of

EGGS = "A carton holds 12 eggs. Ana buys 5 cartons. She breaks 4 eggs on the way. How many eggs are whole?"
BOUGHT = "Ana buys 5*12 = <<5*12=60>>60 eggs."
WHOLE = "Then 60-4 = <<60-4=56>>56 eggs are whole."
CAKES = "Half of the whole ones, so 56/2 = <<56/2=28>>28 eggs, go into cakes."


def worked(question: str, *steps: str, answer: str = "56") -> Worked:
    return Worked(Problem("p", question, answer), "\n".join([*steps, f"#### {answer}"]))


def questions(one: Worked, calculations: int = 2) -> list[str]:
    return [shortened.problem.question for shortened in shorter(one, calculations)]


# (what, question, steps, the shorter questions)
CASES = [
    (
        "sentences that only the first step needs make room for what it comes to",
        EGGS,
        [BOUGHT, WHOLE],
        ["Ana buys 60 eggs. She breaks 4 eggs on the way. How many eggs are whole?"],
    ),
    (
        "one whose number is taken again stays",
        "Tom has 3 dogs. Each eats 2 bones. Tom himself wants 3 bones. How many bones does Tom need?",
        ["The dogs eat 3*2 = <<3*2=6>>6 bones.", "He needs 6+3 = <<6+3=9>>9 bones."],
        [
            "Tom has 3 dogs. The dogs eat 6 bones. Tom himself wants 3 bones. How many bones does Tom need?",
        ],
    ),
    (
        "with all numbers in the question itself, the statement stands before it",
        "Ben likes nuts. If he eats 3 of 9 nuts, and then 2, how many are left?",
        ["Then 9-3 = <<9-3=6>>6 nuts are left.", "He leaves 6-2 = <<6-2=4>>4 nuts."],
        ["Ben likes nuts. Then 6 nuts are left. If he eats 3 of 9 nuts, and then 2, how many are left?"],
    ),
    (
        "an amount of money keeps its sign",
        "Eggs cost $3 a box. Ana buys 5 boxes. She pays with $20. How much does she get back?",
        ["The eggs cost 5*3 = $<<5*3=15>>15 in all.", "She gets 20-15 = $<<20-15=5>>5 back."],
        ["The eggs cost $15 in all. She pays with $20. How much does she get back?"],
    ),
    (
        "two of three steps, and one",
        EGGS.replace("How many eggs are whole?", "How many go into cakes?"),
        [BOUGHT, WHOLE, CAKES],
        [
            "Ana buys 60 eggs. She breaks 4 eggs on the way. How many go into cakes?",
            "Ana buys 60 eggs. Then 56 eggs are whole. How many go into cakes?",
        ],
    ),
    ("a step that is no sentence", EGGS, ["5*12 = <<5*12=60>>60 eggs.", WHOLE], []),
    ("a step with two equations", EGGS, ["Ana buys 5*12 = 2*30 = <<5*12=60>>60 eggs.", WHOLE], []),
    ("two calculations in a step", EGGS, [BOUGHT + " She loses 2*2 = <<2*2=4>>4.", WHOLE], []),
    ("a step without a calculation", EGGS, ["First we count the eggs.", BOUGHT, WHOLE], []),
    ("no question at the end", EGGS.replace("?", "."), [BOUGHT, WHOLE], []),
    ("a title is no end of a sentence", EGGS.replace("Ana", "Mrs. Bell"), [BOUGHT, WHOLE], []),
    ("one step", EGGS, [WHOLE], []),
    ("too many steps", EGGS, [BOUGHT, WHOLE, CAKES, CAKES], []),
]


@pytest.mark.parametrize(("question", "steps", "found"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_stated_and_what_is_asked(question: str, steps: list[str], found: list[str]) -> None:
    assert questions(worked(question, *steps)) == found


def test_what_is_left_of_the_rationale_computes_the_same_answer() -> None:
    (one,) = shorter(worked(EGGS, BOUGHT, WHOLE), 1)
    assert (one.problem.id, one.problem.answer, calculations_in(one)) == ("p", "56", 1)
    assert program_of(one) == "    eggs = 60 - 4\n    return eggs"


def test_with_fewer_calculations_fewer_questions_are_short_enough() -> None:
    three = worked(EGGS, BOUGHT, WHOLE, CAKES, answer="28")
    assert (len(questions(three, 1)), len(questions(three, 2)), len(questions(three, 3))) == (0, 2, 2)


AMOUNTS = st.integers(13, 99)


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_a_shorter_question_gives_every_number_that_its_program_takes(boxes: int, each: int, eaten: int) -> None:
    all_, left = boxes * each, boxes * each - eaten
    one = worked(
        f"A box holds {each} nuts. Ben has {boxes} boxes. He eats {eaten} nuts. How many nuts are left?",
        f"Ben has {boxes}*{each} = <<{boxes}*{each}={all_}>>{all_} nuts.",
        f"He has {all_}-{eaten} = <<{all_}-{eaten}={left}>>{left} nuts left.",
        answer=str(left),
    )
    (short,) = shorter(one, 1)
    assert Fraction(outcome_of(f"def solution():\n{program_of(short)}\n")[1]) == left


@given(st.text(), st.lists(st.text()), st.integers(0, 4))
def test_no_text_is_a_reason_to_fail(question: str, steps: list[str], calculations: int) -> None:
    for one in shorter(Worked(Problem("p", question, "1"), "\n".join(steps)), calculations):
        assert one.problem.question and one.rationale
