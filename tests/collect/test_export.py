"""Training examples: splits, balance, repeats."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.collect.export import solver_examples, split_of, verifier_examples
from score_local.collect.records import Labelled, Sample
from score_local.collect.settings import ExportSettings
from score_local.problem import Problem

PLANS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30)
World = tuple[dict[str, Problem], dict[str, Sample], list[Labelled]]


def world(plans: list[tuple[int, int]]) -> World:
    """For each problem, so many right and so many wrong samples."""
    problems = {f"p{i}": Problem(f"p{i}", f"question {i}", "1") for i in range(len(plans))}
    samples, labels = dict[str, Sample](), list[Labelled]()
    for problem, (right, wrong) in zip(problems, plans, strict=True):
        for index in range(right + wrong):
            key, answer = f"{problem}/{index}", "1" if index < right else "2"
            text = f"Step 1: way {index}\n\\boxed{{{answer}}}"
            samples[key] = Sample(id=key, problem=problem, index=index, seed=0, text=text, finish="stop")
            name = "correct" if answer == "1" else "incorrect"
            labels.append(Labelled(id=key, problem=problem, label=name, answer=answer))
    return problems, samples, labels


@given(PLANS, st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_verifier_examples_are_balanced_to_train_on_and_as_sampled_to_calibrate_on(
    plans: list[tuple[int, int]], share: float
) -> None:
    problems, samples, labels = world(plans)
    examples = verifier_examples(problems, samples, labels, {}, ExportSettings(dev_share=share))
    counts = Counter((example.split, example.target) for example in examples)
    have = Counter((split_of(row.problem, share), row.label) for row in labels)
    fewer = min(have["train", "correct"], have["train", "incorrect"])
    assert counts["train", "Yes"] == counts["train", "No"] == fewer
    assert (counts["dev", "Yes"], counts["dev", "No"]) == (have["dev", "correct"], have["dev", "incorrect"])
    splits = {(example.problem, example.split) for example in examples}
    assert len(splits) == len({problem for problem, _ in splits}), "a problem is in one split only"


def test_repeats_count_for_the_base_rate_alone() -> None:
    problems, samples, labels = world([(3, 3)])
    same = {key: msgspec.structs.replace(row, text=row.text.replace("way 1", "way 0")) for key, row in samples.items()}
    counts = {
        share: len(verifier_examples(problems, same, labels, {}, ExportSettings(dev_share=share))) for share in (0, 1)
    }
    assert counts == {0: 4, 1: 6}, "of the three right ones two are the same: one to train on"


def test_balance_takes_from_as_many_problems_as_it_can() -> None:
    problems, samples, labels = world([(5, 0), (5, 0), (0, 1), (0, 1)])
    examples = verifier_examples(problems, samples, labels, {}, ExportSettings(dev_share=0))
    assert {example.problem for example in examples} == {"p0", "p1", "p2", "p3"}


def test_the_wrong_step_is_the_critiques_else_the_arithmetic_checkers() -> None:
    problems, samples, labels = world([(2, 2)])
    labels = [Labelled(id=r.id, problem=r.problem, label=r.label, answer=r.answer, arithmetic_step=3) for r in labels]
    examples = verifier_examples(problems, samples, labels, {"p0/2": 1}, ExportSettings(dev_share=0))
    assert [(e.id, e.meta["wrong_step"], e.meta["arithmetic_step"]) for e in examples] == [
        ("p0/0", None, 3),
        ("p0/1", None, 3),
        ("p0/2", 1, 3),
        ("p0/3", 3, 3),
    ]


@given(PLANS)
def test_solver_examples_are_capped(plans: list[tuple[int, int]]) -> None:
    problems, samples, labels = world(plans)
    examples = solver_examples(problems, samples, labels, ExportSettings(solutions=2))
    counts = Counter(example.problem for example in examples)
    assert counts == Counter({f"p{i}": min(2, right) for i, (right, _) in enumerate(plans) if right})


@pytest.mark.parametrize(
    ("text", "finish", "slip", "kept"),
    [
        ("Step 1: fine\n\\boxed{1}", "stop", None, 1),
        ("Step 1: fine\n\\boxed{1}", "length", None, 0),
        ("Step 1: 1 + 1 = 1\n\\boxed{1}", "stop", 1, 0),
    ],
)
def test_a_solver_learns_from_whole_and_sound_solutions(text: str, finish: str, slip: int | None, kept: int) -> None:
    rows = [Sample(id=f"p/{i}", problem="p", index=i, seed=i, text=text, finish=finish) for i in range(2)]
    labels = [Labelled(id=row.id, problem="p", label="correct", answer="1", arithmetic_step=slip) for row in rows]
    problems = {"p": Problem("p", "?", "1")}
    examples = solver_examples(problems, {row.id: row for row in rows}, labels, ExportSettings())
    assert len(examples) == kept, "and not twice from the same"


@given(st.text(max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_dev_split_holds_the_smaller(problem: str, share: float, other: float) -> None:
    small, large = sorted((share, other))
    assert (split_of(problem, small), split_of(problem, large)) != ("dev", "train")


def test_the_shares_of_the_splits() -> None:
    dev = sum(split_of(f"gsm8k-train-{i}", 0.1) == "dev" for i in range(5000))
    assert 420 < dev < 580
    assert {split_of(str(i), 0.0) for i in range(100)} == {"train"} and {split_of(str(i), 1.0) for i in range(100)} == {
        "dev"
    }
