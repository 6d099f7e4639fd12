"""Reading solutions and feedbacks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.collect.critiques import calls_correct, exported, feedback_of, first_wrong, reason_of
from score_local.collect.solutions import names_answer, numbered, steps_of
from score_local.problem import Problem


@pytest.mark.parametrize(
    ("solution", "steps"),
    [
        ("Step 1: a = 1\nStep 2: b = 2\n\\boxed{3}", ["a = 1", "b = 2"]),
        ("**Step 1:** a = 1\n\n**Step 2:** b = 2\n\nThe final answer is: $\\boxed{3}$.", ["a = 1", "b = 2"]),
        ("Step 1: a\n  goes on\nStep 2: so it is \\boxed{3}.", ["a goes on", "so it is \\boxed{3}."]),
        ("1. a = 1\n2. b = 2\n\\boxed{3}", ["a = 1", "b = 2"]),
        ("<think>Step 1: no</think>Step 1: yes\n\\boxed{3}", ["yes"]),
        ("There are 3 apples.\n\nThere are 2 pears.", ["There are 3 apples.", "There are 2 pears."]),
        ("\\boxed{3}", []),
        ("", []),
    ],
)
def test_steps(solution: str, steps: list[str]) -> None:
    assert steps_of(solution) == steps


WORDS = st.from_regex(r"[a-z]{2,8}( [a-z0-9+*=]{1,6}){0,5}", fullmatch=True)


@given(st.lists(WORDS, min_size=1, max_size=9))
def test_numbered_steps_are_read_again(steps: list[str]) -> None:
    assert steps_of(f"{numbered(steps)}\n\\boxed{{3}}") == steps


@given(st.text(max_size=300))
def test_any_text_has_steps_on_one_line_each(text: str) -> None:
    assert all(step == " ".join(step.split()) for step in steps_of(text))


NUMBER = Problem("n", "?", "1200")
CHOICE = Problem("c", "?", "B", choices=("a stable", "a library"), kind="choice")
EXPRESSION = Problem("e", "?", "6x - 10", kind="expression")


@pytest.mark.parametrize(
    ("problem", "text", "named"),
    [
        (NUMBER, "The right answer is 1200.", True),
        (NUMBER, "It costs $1,200 in all", True),
        (NUMBER, "1200.00", True),
        (NUMBER, "2400/2, as a fraction", True),
        (NUMBER, "12000", False),
        (NUMBER, "-1200", False),
        (NUMBER, "it is 1 or 200", False),
        (NUMBER, "", False),
        (Problem("n", "?", "-3"), "so it is -3 degrees", True),
        (Problem("n", "?", "3"), "8-5=3", True),
        (Problem("n", "?", "5"), "8-5=3", True),
        (Problem("n", "?", "0.5"), "a half is 1/2", True),
        (CHOICE, "The right answer is B.", True),
        (CHOICE, "So (B)", True),
        (CHOICE, "\\boxed{B}", True),
        (CHOICE, "Books are kept in a Library.", True),
        (CHOICE, "Be careful, A is wrong", False),
        (Problem("c", "?", "A", choices=("x1", "x2"), kind="choice"), "A stable is not it", False),
        (EXPRESSION, "It is $6x-10$.", True),
        (EXPRESSION, "It is 6x - 2.", False),
        (Problem("e", "?", "7", kind="expression"), "the value is 7", True),
        (Problem("e", "?", "7", kind="expression"), "the value is 70", False),
    ],
)
def test_what_names_the_answer(problem: Problem, text: str, named: bool) -> None:
    assert names_answer(text, problem) is named


@given(st.sampled_from([NUMBER, CHOICE, EXPRESSION]), st.text(max_size=200))
def test_any_text_names_the_answer_or_not(problem: Problem, text: str) -> None:
    assert names_answer(text, problem) in (True, False)


@pytest.mark.parametrize(
    ("feedback", "correct", "reason"),
    [
        ("correct.", True, "Correct."),
        ("Correct! The sum is right.", True, None),
        ("incorrect. The sum is 4.", False, "The sum is 4."),
        ("Incorrect, the sum is 4.", False, "The sum is 4."),
        ("This step is incorrect. The sum is 4.", False, "The sum is 4."),
        ("It is not quite right: the sum is 4.", False, "The sum is 4."),
        ("The step is not correct because the sum is 4.", False, "Because the sum is 4."),
        ("That isn't correct. The sum is 4.", False, "The sum is 4."),
        ("The sum is wrong, it is 4.", False, "The sum is wrong, it is 4."),
        ("This is not the correct calculation. The sum is 4.", False, None),
        ("That isn't the right operation: add.", False, "That isn't the right operation: add."),
        ("This is not a right step.", False, None),
        ("It cannot be right, because the sum is 4.", False, "Because the sum is 4."),
        ("It can't be correct: the sum is 4.", False, "The sum is 4."),
        ("This does not look correct. The sum is 4.", False, "The sum is 4."),
        ("This doesn't seem right. The sum is 4.", False, "The sum is 4."),
        ("It doesn’t seem to be quite right. The sum is 4.", False, "The sum is 4."),
        ("The units don't look right.", False, None),
        ("That is never true.", False, None),
        ("Why not? It is correct.", True, None),
        ("There is nothing wrong with this step.", True, None),
        ("This step is not wrong: it repeats the question.", True, None),
        ("It isn't incorrect.", True, None),
        ("Nothing is wrong here.", True, None),
        ("No, wrong.", False, None),
        ("He does not pay the rest. Correct.", True, None),
        ("The sum is 4.", None, "The sum is 4."),
        ("", None, ""),
    ],
)
def test_verdicts(feedback: str, correct: bool | None, reason: str | None) -> None:
    assert calls_correct(feedback) is correct
    assert reason is None or reason_of(feedback) == reason


@pytest.mark.parametrize(
    ("reply", "feedback"),
    [
        ("correct.", "correct."),
        ("\n**Feedback:** incorrect.\n\nIt is 4.\n", "incorrect. It is 4."),
        ("<think>hm</think> incorrect.", "incorrect."),
    ],
)
def test_a_feedback_is_one_line(reply: str, feedback: str) -> None:
    assert feedback_of(reply) == feedback


@given(st.text(max_size=200))
def test_any_reply_is_a_feedback(reply: str) -> None:
    feedback = feedback_of(reply)
    assert calls_correct(feedback) in (True, False, None)
    assert "\n" not in exported(1, feedback)


def test_the_first_wrong_step() -> None:
    assert first_wrong(["correct.", "incorrect. x", "wrong"]) == 2
    assert first_wrong(["correct.", "hm"]) is None and first_wrong([]) is None
