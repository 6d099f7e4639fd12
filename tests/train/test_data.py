from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from score_local.collect.rationales import Worked, program_of
from score_local.collect.records import Turn
from score_local.errors import InputError
from score_local.problem import Problem
from score_local.sandbox.program import outcome_of
from score_local.train.data import read_data
from score_local.train.recipe import Role
from tests.train.examples import examples, write_examples


def test_a_file_is_read_by_split(tmp_path: Path) -> None:
    file = write_examples(tmp_path / "verifier.jsonl", examples("verifier", 6, 2))
    data = read_data([file], "verifier")
    assert (len(data.train), len(data.dev), data.names) == (6, 2, ("verifier.jsonl",))


def test_some_of_the_examples_are_of_both_classes_even_where_one_comes_after_the_other(tmp_path: Path) -> None:
    rows = sorted(examples("verifier", 40, 2), key=lambda row: row.target)
    some = read_data([write_examples(tmp_path / "verifier.jsonl", rows)], "verifier", limit=20).train
    assert len(some) == 20 and 5 < sum(row.target == "No" for row in some) < 15
    assert some == [row for row in rows if row in some], "in their order"


def test_several_files_are_one_and_repeats_count_once(tmp_path: Path) -> None:
    rows = examples("verifier", 6, 2)
    one, other = write_examples(tmp_path / "a.jsonl", rows[:4]), write_examples(tmp_path / "b.jsonl", rows[2:])
    data = read_data([one, other], "verifier")
    assert [*data.train, *data.dev] == rows
    assert data.names == ("a.jsonl", "b.jsonl")
    assert data.sha256 != read_data([other, one], "verifier").sha256


def test_examples_of_other_solutions_are_others_whatever_they_are_called(tmp_path: Path) -> None:
    rows = examples("verifier", 6, 2)
    solution = Turn("assistant", r"\boxed{1}")
    others = [
        msgspec.structs.replace(row, messages=(*row.messages[:-2], solution, row.messages[-1])) for row in rows[:2]
    ]
    files = [write_examples(tmp_path / name, some) for name, some in (("a.jsonl", rows), ("b.jsonl", others))]
    assert len(read_data(files, "verifier").train) == 8
    assert len(read_data(files, "verifier", limit=7).train) == 7


def test_a_problem_is_not_trained_on_and_measured_with(tmp_path: Path) -> None:
    for role in get_args(Role):
        rows = examples(role, 4, 2)
        leaked = msgspec.structs.replace(rows[0], id="again", split="dev")
        for problem in ("p0", "under another id"):
            one = msgspec.structs.replace(leaked, problem=problem)
            with pytest.raises(InputError, match=f"1 problems are in both splits, the first is '{problem}'"):
                read_data([write_examples(tmp_path / "v.jsonl", [*rows, one])], role)


def test_bad_files(tmp_path: Path) -> None:
    rows = examples("refiner", 2, 1)
    stale = msgspec.structs.replace(rows[0], messages=(*rows[0].messages[:-1], Turn("user", "Mend it.")))
    cases = [
        (examples("refiner", 2, 0), "holds no dev example"),
        (examples("refiner", 0, 2), "holds no train example"),
        (examples("verifier", 2, 1), "an example for a verifier, and a refiner is to be trained"),
        ([stale], "another prompt than refine.txt"),
    ]
    for content, told in cases:
        with pytest.raises(InputError, match=told):
            read_data([write_examples(tmp_path / "refiner.jsonl", content)], "refiner")


NO_EXAMPLES = [
    ('{"question": "caf\xe9", "answer": "5", "rationale": "5"}'.encode("latin-1"), "solver"),
    (
        b'{"id": "a", "role": "verifier", "split": "dev", "problem": "p", "messages": [], "target": "Yes"}',
        "verifier",
    ),
]


@pytest.mark.parametrize(("line", "role"), NO_EXAMPLES)
def test_a_line_that_cannot_be_one_is_named(line: bytes, role: Role, tmp_path: Path) -> None:
    file = tmp_path / f"{role}.jsonl"
    file.write_bytes(line + b"\n")
    with pytest.raises(InputError, match=rf"{role}\.jsonl:1: no training example"):
        read_data([file], role)


def test_a_line_that_is_no_example_is_named(tmp_path: Path) -> None:
    file = write_examples(tmp_path / "solver.jsonl", examples("solver", 2, 1))
    file.write_bytes(file.read_bytes() + b'{"id": 3}\n')
    with pytest.raises(InputError, match=r"solver\.jsonl:4: no training example"):
        read_data([file], "solver")


def test_an_interrupted_export_is_refused(tmp_path: Path) -> None:
    write_examples(tmp_path / "solver.jsonl", examples("solver", 2, 1))
    with pytest.raises(InputError, match=r"has no dataset\.json.*interrupted"):
        read_data([tmp_path], "solver")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_data([tmp_path / "none.jsonl"], "solver")


WORKED = {
    "id": "g7",
    "question": "Ann has 48 clips and sells half of them at $2. How much does she get?",
    "answer": "48",
    "rationale": "Ann sells 48/2 = <<48/2=24>>24 clips.\nShe gets 24*2 = $<<24*2=48>>48.\n#### 48",
}


def worked_file(path: Path, *changes: dict[str, object]) -> Path:
    """`WORKED` with changes, each asked in another way."""
    rows = ({"question": f"{WORKED['question']} ({number})"} | change for number, change in enumerate(changes))
    path.write_bytes(b"".join(msgspec.json.encode(WORKED | row) + b"\n" for row in rows))
    return path


def test_a_solver_learns_from_rationales(tmp_path: Path) -> None:
    rows = [{"id": f"g{number}"} for number in range(60)]
    data = read_data([worked_file(tmp_path / "train.jsonl", *rows)], "solver")
    assert len(data.train) + len(data.dev) == 60 and len(data.dev) > 0
    first = data.train[0]
    assert first.target == "Step 1: Ann sells 48/2 = 24 clips.\nStep 2: She gets 24*2 = $48.\n\\boxed{48}"
    assert first.messages[-1].content.startswith(WORKED["question"])


def test_a_rationale_that_miscalculates_teaches_nothing(tmp_path: Path) -> None:
    rows = [{"id": f"g{number}"} for number in range(60)]
    wrong = {"id": "wrong", "rationale": "Ann sells 48/2 = 25 clips.\n#### 50"}
    data = read_data([worked_file(tmp_path / "train.jsonl", *rows, wrong)], "solver")
    assert len(data.train) + len(data.dev) == 60


CHOICES = {"choices": ["24", "48"], "answer": "B", "rationale": "Half of 48 is 24.\nAnn gets 24*2 = 48."}
# (what is another than in WORKED, how the target ends, what the question ends with)
PROBLEMS = [
    ({}, "\n\\boxed{48}", "The final answer is a number."),
    (CHOICES, "\n\\boxed{B}", "A. 24\nB. 48"),
    ({"answer": "She gets 24*2 = 48.\n#### 48"}, "= $48.\n\\boxed{48}", "The final answer is a number."),
    ({"answer": 48}, "\n\\boxed{48}", "The final answer is a number."),
    ({"answer": None, "result": "48"}, "\n\\boxed{48}", "The final answer is a number."),
]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("change", "end", "asked"), PROBLEMS)
def test_a_problem_with_a_rationale_is_read_as_in_every_other_command(
    change: dict[str, object], end: str, asked: str, named: bool, tmp_path: Path
) -> None:
    rows = [{"id": f"g{number}" if named else None, **change} for number in range(200)]
    data = read_data([worked_file(tmp_path / "train.jsonl", *rows)], "solver")
    assert len(data.train) + len(data.dev) == 200 and len({row.id for row in data.train}) == len(data.train)
    assert all(row.target.endswith(end) and asked in row.messages[-1].content for row in data.train)


def test_a_rationale_with_another_answer_teaches_nothing(tmp_path: Path) -> None:
    rows = [{"id": f"g{number}"} for number in range(60)]
    data = read_data([worked_file(tmp_path / "train.jsonl", *rows, {"id": "other", "answer": "47"})], "solver")
    assert len(data.train) + len(data.dev) == 60


@pytest.mark.parametrize("change", [{"answer": None}, {"answer": "many", "kind": "number"}, {"choices": ["48"]}])
def test_a_rationale_without_an_answer_of_use_is_named(change: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.jsonl:2: (it has a rationale, and its answer|the number of choices)"):
        read_data([worked_file(tmp_path / "train.jsonl", {}, change)], "solver")


# (question, rationale, answer, the program's lines; None: it teaches nothing)
CALCULATIONS = [
    (WORKED["question"], WORKED["rationale"], "48", ["clips = 48 / 2", "amount = clips * 2", "return amount"]),
    ("8 bags of 4.", "8*4 = <<8*4=32>>32 nuts, 32-2 = <<32-2=30>>30 nuts", "30", ["nuts = 8 * 4", "nuts_2 = nuts - 2"]),
    ("A class of 8, then 8 more.", "8+8=<<8+8=16>>16, 8*2=<<8*2=16>>16", "16", ["amount = 8 + 8", "amount_2 = 8 * 2"]),
    (
        "1,200 for .5 and 07.",
        "1,200*.5=<<1,200*.5=600>>600. 600-07=<<600-07=593>>593",
        "593",
        ["amount_2 = amount - 7"],
    ),
    ("10 at 3.", "(10+2)*3=<<(10+2)*3=36>>36 in all", "36", ["amount = (10 + 2) * 3"]),
    ("Ten for fifty, and half of it.", "50*10=<<50*10=500>>500, 500*.5=<<500*.5=250>>250", "250", ["amount = 50 * 10"]),
    ("40 less 15%.", "40*.85=<<40*.85=34>>34", "34", ["amount = 40 * 0.85"]),
    ("6 dozen and a week.", "6*12=<<6*12=72>>72, 72+7=<<72+7=79>>79", "79", ["amount = 6 * 12"]),
    ("18, twice the other.", "The other is 18/2 = 9. 18+9=<<18+9=27>>27", "27", None),
    ("It says x = 465.", "x = 930 / 2. So x=<<930/2=465>>465", "465", None),
    ("No numbers.", "It is 5.\n#### 5", "5", None),
    ("A slip.", "3+4=<<3+4=8>>8", "8", None),
    ("Not the end.", "3+4=<<3+4=7>>7, and one more", "8", None),
    ("A power.", "2^3=<<2^3=8>>8", "8", None),
    ("A letter.", "2*x=<<2*x=8>>8", "8", None),
    ("Unfinished.", "(3+4=<<(3+4=7>>7", "7", None),
]


@pytest.mark.parametrize(("question", "rationale", "answer", "lines"), CALCULATIONS)
def test_a_programmer_learns_from_calculations(
    question: str, rationale: str, answer: str, lines: list[str] | None
) -> None:
    body = program_of(Worked(Problem("p", question, answer), rationale))
    if lines is None:
        assert body is None
    else:
        assert body and all(f"    {line}" in body.splitlines() for line in lines)
        assert Fraction(outcome_of(f"def solution():\n{body}\n")[1]) == Fraction(answer)


def test_a_programmer_learns_from_a_file_of_rationales(tmp_path: Path) -> None:
    rows = [{"id": f"g{number}"} for number in range(60)]
    data = read_data([worked_file(tmp_path / "train.jsonl", *rows, {"answer": "47"})], "programmer")
    assert len(data.train) + len(data.dev) == 60 and len(data.dev) > 0
    first = data.train[0]
    assert first.prefix + first.target == (
        "```python\ndef solution():\n    clips = 48 / 2\n    amount = clips * 2\n    return amount\n```"
    )
    assert first.messages[-1].content.startswith(WORKED["question"]) and first.meta["value"] == "48"


ROOMS = {
    "question": "A house has 20 rooms. Each room has 5 lamps. The hall has 11 more lamps. How many are in {name}?",
    "rationale": "The rooms have 20*5 = <<20*5=100>>100 lamps.\nThere are 100+11 = <<100+11=111>>111 lamps.\n#### 111",
    "answer": "111",
}


@pytest.mark.parametrize("role", ["solver", "programmer"])
@pytest.mark.parametrize(("calculations", "each"), [(0, 1), (1, 1), (2, 2), (3, 2)])
def test_shorter_questions_are_made_of_longer_ones(calculations: int, each: int, role: Role, tmp_path: Path) -> None:
    rows = [ROOMS | {"id": f"g{n}", "question": ROOMS["question"].format(name=f"house {n}")} for n in range(60)]
    data = read_data([worked_file(tmp_path / "train.jsonl", *rows)], role, calculations=calculations)
    assert len(data.train) + len(data.dev) == 60 * each and len(data.dev) > 0
    stated = [row for row in data.train if "The rooms have 100 lamps. The hall" in row.messages[-1].content]
    assert bool(stated) == (calculations > 0) and all("100" in row.target for row in stated)


def test_only_who_replies_to_the_question_learns_from_rationales(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.jsonl:1: no training example"):
        read_data([worked_file(tmp_path / "train.jsonl", {})], "verifier")
