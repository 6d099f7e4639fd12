"""Feedback on the first wrong step alone: where it is, how it is asked for, and how the correction goes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.collect import conversations, first_step
from score_local.collect.critiques import should_be
from score_local.collect.records import Correction, Critique, Judged, PairTexts, Sample
from score_local.collect.settings import Settings
from score_local.collect.solutions import steps_of
from score_local.engine.protocol import Completion, Generate
from score_local.errors import EngineError
from score_local.problem import Problem

QUESTION = "Tom has 3 bags of 4 apples and eats 50% of them. How many apples are left?"
RIGHT = "Step 1: There are 3 * 4 = 12 apples.\nStep 2: He eats 12 / 2 = 6.\nStep 3: So 12 - 6 = 6 are left.\n\\boxed{6}"


def sample(index: int, text: str) -> Sample:
    return Sample(id=f"p/{index}", problem="p", index=index, seed=0, text=text, finish="stop")


@pytest.mark.parametrize(
    ("wrong", "step", "why"),
    [
        ("Step 1: There are 3 + 4 = 7 apples.\nStep 2: 7 / 2 = 3.5 are left.", 1, "7 is in neither"),
        ("Step 1: There are 3 * 4 = 12.\nStep 2: 12 + 6 = 18 are left.", 2, "18 is in neither"),
        ("Step 1: There are 3 * 4 = 12.\nStep 2: So 12 are left.", 2, "nothing is strange: the last"),
        ("Step 1: There are 3 * 4 = 12.\nStep 2: 12 - 2 = 6.\nStep 3: 6 * 2 = 12.", 2, "its equation does not hold"),
        ("Step 1: 50% = 0.5.\nStep 2: 0.5 * 18 = 9.\nStep 3: It is 9.", 2, "a percentage is known as a share"),
        ("Step 1: A box of 99 apples.\nStep 2: 99 - 12 = 87.", 2, "only what a step comes to counts"),
        ("Step 1: 3 * 4 = 3 * 2 * 2 = 12.\nStep 2: 12 * 2 = 24.", 2, "nor what stands between"),
        ("Step 1: There are 3 * 4 = $1,2 apples.", 1, "one step"),
    ],
)
def test_where_the_first_wrong_step_is(wrong: str, step: int, why: str) -> None:
    assert first_step.first_wrong_step(QUESTION, wrong, RIGHT) == step, why


PENS = "Ann buys 2 pens at 3 dollars and 2 books at 4 dollars. How many dollars does she pay?"
IN_PAIRS = "Step 1: A pen and a book are 3 + 4 = 7.\nStep 2: Two of each are 7 * 2 = 14.\n\\boxed{14}"
BY_KIND = "Step 1: 3 * 2 = 6.\nStep 2: 4 * 2 = 8.\nStep 3: 6 + 8 = 14.\n\\boxed{14}"


@pytest.mark.parametrize(
    ("wrong", "right", "step", "why"),
    [
        ("Step 1: 3 * 2 = 6.\nStep 2: 4 * 2 = 8.\nStep 3: 6 + 8 = 15.", IN_PAIRS, 3, "only the slip is proven"),
        ("Step 1: 3 * 2 = 7.\nStep 2: 4 * 2 = 8.\nStep 3: 7 + 8 = 16.", IN_PAIRS, 1, "the first of two slips"),
        ("Step 1: 3 * 2 = 6.\nStep 2: 4 * 2 = 8.\nStep 3: 6 * 8 = 48.", f"{IN_PAIRS}\n{BY_KIND}", 3, "8 is right, too"),
    ],
)
def test_another_way_is_no_wrong_way(wrong: str, right: str, step: int, why: str) -> None:
    assert first_step.first_wrong_step(PENS, wrong, right) == step, why


def test_all_right_solutions_tell_what_is_wrong() -> None:
    problem = Problem("p", PENS, "14")
    wrong = sample(2, "Step 1: 3 * 2 = 6.\nStep 2: 4 * 2 = 8.\nStep 3: 6 * 8 = 48.\n\\boxed{48}")
    pair = PairTexts(problem, wrong, sample(0, IN_PAIRS), "48", right=(sample(0, IN_PAIRS), sample(1, BY_KIND)))
    for known, step in ((pair.right, 3), ((), 1)):
        loop = first_step.critique("p/2+0", pair._replace(right=known), Settings())
        next(loop)
        with pytest.raises(StopIteration) as end:
            loop.send((Completion("It should be 6 + 8 = 14."),))
        assert end.value.value.step == step


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4), st.text(max_size=60), st.text(max_size=60))
def test_it_is_one_of_the_steps(steps: list[str], question: str, right: str) -> None:
    wrong = "\n".join(f"Step {n}: x{step}" for n, step in enumerate(steps, 1))
    assert 1 <= first_step.first_wrong_step(question, wrong, right) <= len(steps_of(wrong))


@pytest.mark.parametrize(
    ("so_far", "shown", "why"),
    [
        (["3 + 4 = 7 apples."], 1, "12 is what they should have come to"),
        (["3 * 4 = 12.", "12 + 6 = 18."], 2, "12 they have; 6 comes next"),
        (["It is 18."], 1, "what is wrong is not theirs"),
        (["3 * 4 = 12.", "12 / 2 = 6.", "12 + 6 = 18."], 3, "they have all numbers: all of it"),
    ],
)
def test_the_hint_ends_with_the_step_that_should_stand_there(so_far: list[str], shown: int, why: str) -> None:
    right = steps_of(RIGHT)
    assert first_step.hint_for(QUESTION, so_far, right) == right[:shown], why


@pytest.mark.parametrize(
    ("slip", "shown", "why"),
    [
        ("Together it is 6 + 8 = 15.", ["3 * 2 = 6.", "4 * 2 = 8.", "6 + 8 = 14."], "14 is right, on this way too"),
        ("Together it is $6 + $8 = $15.", ["3 * 2 = 6.", "4 * 2 = 8.", "$6 + $8 = 14."], "with its signs"),
        ("6 * 8 = 40.", steps_of(IN_PAIRS)[:1], "48 is as wrong"),
        ("6 + 8 equals 15.", steps_of(IN_PAIRS)[:1], "no equals sign to put it behind"),
    ],
)
def test_a_slip_on_another_way_is_mended_on_that_way(slip: str, shown: list[str], why: str) -> None:
    assert first_step.hint_for(PENS, ["3 * 2 = 6.", "4 * 2 = 8.", slip], steps_of(IN_PAIRS)) == shown, why


@pytest.mark.parametrize(
    ("critique", "step"),
    [
        ("Step 1 is the first wrong step. It should be 3 * 4 = 12, because there are 3 bags.", "3 * 4 = 12"),
        ("It should be 3 * 4 = 12 because there are 3 bags.", "3 * 4 = 12"),
        ("It should be 3 * 4 = 12 apples.", "3 * 4 = 12 apples"),
        ("It should be 3 * 4 = 12 apples. There are 3 bags.", "3 * 4 = 12 apples"),
        ("It should be $2.50 * 2 = $5.00, because a pen costs $2.50.", "$2.50 * 2 = $5.00"),
        ("It should be 3 * 4 = 12", "3 * 4 = 12"),
        ("It should be 16 large and 8 small ones, because it is twice as much.", "16 large and 8 small ones"),
        ("It should be that books are kept in a library, because a dictionary is a book.", ""),
        ("The bags hold 3 * 4 = 12 apples.", ""),
    ],
)
def test_what_it_should_be(critique: str, step: str) -> None:
    assert should_be(critique) == step


PROBLEM = Problem("p", QUESTION, "6")
WRONG = "Step 1: There are 3 * 4 = 12 apples.\nStep 2: So 12 + 6 = 18 are left.\nStep 3: It is 18.\n\\boxed{18}"
PAIR = PairTexts(PROBLEM, sample(1, WRONG), sample(0, RIGHT), "18")


def test_the_critic_sees_the_steps_up_to_the_wrong_one_and_then_the_hint() -> None:
    loop = first_step.critique("p/1+0", PAIR, Settings())
    (asked,) = next(loop)
    assert isinstance(asked, Generate) and asked.prefix == "It should be" and asked.sampling.temperature == 0
    told = asked.messages[-1].content
    assert "Step 2: So 12 + 6 = 18" in told and "It is 18" not in told
    assert told.index("So 12 + 6 = 18") < told.index("He eats 12 / 2 = 6") and "So 12 - 6 = 6" not in told
    with pytest.raises(StopIteration) as end:
        loop.send((Completion("It should be 12 - 6 = 6,\nbecause he eats 6."),))
    expected = Critique(id="p/1+0", feedback=("It should be 12 - 6 = 6, because he eats 6.",), step=2, finish="stop")
    assert end.value.value == expected


@pytest.mark.parametrize(
    ("said", "prefix"),
    [
        ("It should be 12 - 6 = 6, because he eats 6.", "Step 1: There are 3 * 4 = 12 apples.\nStep 2: 12 - 6 = 6.\n"),
        ("It should be that some are eaten.", "Step 1: There are 3 * 4 = 12 apples.\nStep 2:"),
    ],
)
def test_the_correction_keeps_what_was_right_and_goes_on(said: str, prefix: str) -> None:
    critique = f"Step 2 is the first wrong step. {said}"
    row = Judged(id="p/1+0", critique=critique, critique_step=2)
    loop = first_step.correct(row, PAIR, Settings())
    (asked,) = next(loop)
    assert isinstance(asked, Generate) and asked.prefix == prefix
    told = asked.messages[-1].content
    assert critique in told and "So 12 + 6 = 18" in told
    assert "It is 18" not in told and "12 - 6 = 6 are left" not in told, "neither what went wrong later, nor the hint"
    with pytest.raises(StopIteration) as end:
        loop.send((Completion(f"{prefix}\\boxed{{6}}"),))
    assert end.value.value == Correction(id="p/1+0", text=f"{prefix}\\boxed{{6}}", finish="stop")


def test_what_fails_is_a_row_that_says_so() -> None:
    row = Judged(id="p/1+0", critique="Step 1 is the first wrong step. It should be.", critique_step=1)
    for loop in (first_step.critique("p/1+0", PAIR, Settings()), first_step.correct(row, PAIR, Settings())):
        next(loop)
        with pytest.raises(StopIteration) as end:
            loop.send((EngineError("broken"),))
        assert end.value.value.error == "broken"


@pytest.mark.parametrize("kind", ["number", "choice", "expression"])
def test_the_worked_examples_are_sound(kind: str) -> None:
    examples = conversations._examples("first_step")[kind]  # type: ignore[index]
    assert len(examples) >= 2
    for example in examples:
        (said,) = example.feedback
        assert said.startswith(first_step.OPENING)
        if kind == "number":
            wrong, right = (f"Step {n}: {s}" for n, s in [(1, example.wrong[-1]), (1, " ".join(example.correct))])
            assert first_step.first_wrong_step(example.question, wrong, right) == 1 and should_be(said)
