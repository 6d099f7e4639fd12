"""Which samples are asked for, how they are labelled and paired."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from score_local.collect.records import Labelled, Pair, Sample
from score_local.collect.settings import Settings
from score_local.collect.stages import has_gold, label, labels_of, pairs_of, sample_loops, texts_of
from score_local.engine.protocol import Generate
from score_local.problem import Problem

PROBLEM = Problem("p", "What is 2 + 2?", "4")


def sample(index: int, text: str, problem: str = "p", **fields: str) -> Sample:
    return Sample(
        id=f"{problem}/{index}", problem=problem, index=index, seed=index, **({"text": text, "finish": "stop"} | fields)
    )


def solving(answer: str, how: str = "") -> str:
    return f"Step 1: {how or 'It'} is {answer}.\n\\boxed{{{answer}}}"


def paired(texts: Sequence[str], most: int = 4, **settings: int) -> list[Pair]:
    samples = {f"p/{i}": sample(i, text) for i, text in enumerate(texts)}
    return pairs_of(
        labels_of([PROBLEM], samples), samples, Settings(**({"samples": len(texts), "pairs": most} | settings))
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"text": solving("4")}, "correct"),
        ({"text": solving("4.0")}, "correct"),
        ({"text": solving("-4")}, "incorrect"),
        ({"text": "It is 4, I think"}, "unknown"),
        ({"text": "Step 1: ... \\boxed{4"}, "unknown"),
        ({"text": solving("many")}, "unknown"),
        ({"text": "<think>\\boxed{4}</think>I do not know"}, "unknown"),
        ({"text": "", "error": "broken"}, "failed"),
    ],
)
def test_failure_and_doubt_are_labels_and_never_correct(fields: dict[str, str], expected: str) -> None:
    labelled = label(PROBLEM, sample(0, **fields))
    assert labelled.label == expected


@pytest.mark.parametrize(
    ("problem", "usable"),
    [
        (PROBLEM, True),
        (Problem("p", "?"), False),
        (Problem("p", "?", "some"), False),
        (Problem("p", "?", "B", choices=("x", "y"), kind="choice"), True),
    ],
)
def test_a_gold_answer_must_be_one_that_can_be_compared(problem: Problem, usable: bool) -> None:
    assert has_gold(problem) is usable


def test_a_pair_knows_the_right_samples_of_its_problem_whose_equations_hold() -> None:
    texts = [solving("4"), solving("5"), solving("4", "2 + 2 = 5, so it"), solving("4", "The sum")]
    samples = {f"p/{i}": sample(i, text) for i, text in enumerate([*texts, "I do not know"])}
    samples["q/0"] = sample(0, solving("4"), "q")
    labels = {row.id: row for row in labels_of([PROBLEM, Problem("q", "What is 3 + 1?", "4")], samples)}
    pair = Pair(id="p/1+0", problem="p", wrong="p/1", correct="p/0")
    found = texts_of([pair], {"p": PROBLEM}, samples, labels)["p/1+0"]
    assert [row.id for row in found.right] == ["p/0", "p/3"] and found.wrong_answer == "5"


def test_only_what_is_missing_is_sampled() -> None:
    done = {"p/0": sample(0, "x"), "p/1": sample(1, "", error="broken")}
    settings = Settings(samples=3, seed=5)
    loops = dict(sample_loops([PROBLEM, Problem("open", "?")], settings, done, "solver"))
    assert list(loops) == ["p/1", "p/2"]
    (request,) = next(loops["p/1"])
    assert isinstance(request, Generate) and request.sampling.seed != settings.seed and request.adapter == "solver"


def test_a_seed_does_not_depend_on_what_else_is_sampled() -> None:
    def seeds(problems: Sequence[Problem]) -> dict[str, int]:
        loops = sample_loops(problems, Settings(samples=2), {})
        return {key: next(loop)[0].sampling.seed for key, loop in loops}  # type: ignore[union-attr]

    both = seeds([Problem("other", "?", "1"), PROBLEM])
    assert seeds([PROBLEM]) == {key: both[key] for key in ("p/0", "p/1")} and len(set(both.values())) == 4


@pytest.mark.parametrize(
    ("texts", "most", "pairs", "why"),
    [
        ([solving("4"), solving("5")], 4, ["p/1+0"], "one of each"),
        ([solving("4"), solving("5"), solving("5", "5")], 1, ["p/1+0"], "the cap"),
        ([solving("4")] * 3, 4, [], "nothing is wrong"),
        ([solving("5")] * 3, 4, [], "nothing is right"),
        ([solving("4"), solving("5"), solving("5")], 4, ["p/1+0"], "the same solution twice is one"),
        ([solving("4"), solving("4"), solving("5")], 4, ["p/2+0"], "the same hint twice is one"),
        (
            [solving("5"), solving("5", "Sum"), solving("6"), solving("4")],
            2,
            ["p/0+3", "p/2+3"],
            "other answers come before the same answer again",
        ),
        (
            [solving("5"), solving("6"), solving("4"), solving("4", "Sum")],
            4,
            ["p/0+2", "p/1+3", "p/0+3", "p/1+2"],
            "each wrong one gets a right one before any gets a second",
        ),
        (
            [solving("5"), "Step 1: 2 + 3 = 4.\n\\boxed{4}", solving("4")],
            1,
            ["p/0+2"],
            "a hint whose arithmetic holds comes first",
        ),
        (
            ["It is \\boxed{5}", "\\boxed{6}", solving("4")],
            4,
            ["p/0+2"],
            "a solution without steps cannot be criticised",
        ),
        (["I do not know", solving("4")], 4, [], "the wrong one must hold an answer"),
    ],
)
def test_pairs(texts: list[str], most: int, pairs: list[str], why: str) -> None:
    assert [pair.id for pair in paired(texts, most)] == pairs, why


def test_pairs_wait_until_all_samples_of_the_problem_are_there() -> None:
    assert paired([solving("4"), solving("5")], samples=3) == []


def test_a_solution_that_was_cut_off_is_not_paired() -> None:
    samples = {"p/0": sample(0, solving("4")), "p/1": sample(1, solving("5"), finish="loop")}
    assert pairs_of(labels_of([PROBLEM], samples), samples, Settings(samples=2)) == []


def test_labels_come_by_problem_and_index() -> None:
    other = Problem("a", "?", "1")
    samples = [
        sample(1, "x"),
        sample(0, "x", "a"),
        sample(0, "x"),
        sample(1, "x", "a"),
        sample(10, "x"),
        sample(2, "x"),
    ]
    labels = labels_of([PROBLEM, other], {row.id: row for row in samples})
    assert [row.id for row in labels] == ["p/0", "p/1", "p/2", "p/10", "a/0", "a/1"]
    assert all(isinstance(row, Labelled) for row in labels)
