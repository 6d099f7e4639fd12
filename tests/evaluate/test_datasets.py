"""Data sets in the shapes in which they are published: a made-up row of each, row by row."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from score_local.commands import eval_options
from score_local.errors import InputError, ModelError
from score_local.evaluate.datasets import ON_HUB, located, ordinary, read_dataset
from score_local.problem import Problem
from score_local.problem_files import read_problems
from score_local.problem_records import problem_from

BOXED = {
    "problem": "What is $\\frac{1}{4}+\\frac{1}{2}$?",
    "level": "Level 1",
    "type": "Prealgebra",
    "solution": "We have $\\frac14+\\frac24=\\boxed{\\frac{3}{4}}$.",
}
CHOSEN = {
    "answerKey": "C",
    "id": "a1",
    "question": {
        "question_concept": "rain",
        "choices": [{"label": "A", "text": "sun"}, {"label": "B", "text": "salt"}, {"label": "C", "text": "clouds"}],
        "stem": "What does rain fall from?",
    },
}
RAIN = Problem("a1", "What does rain fall from?", "C", ("sun", "salt", "clouds"), "choice")

ROWS: list[tuple[str, dict[str, Any], Problem]] = [
    (
        "GSM8K",
        {"question": "Ann has 3 hens and buys 4. How many?", "answer": "3 + 4 = <<3+4=7>>7 hens.\n#### 7"},
        Problem("line-1", "Ann has 3 hens and buys 4. How many?", "7"),
    ),
    (
        "GSM8K, thousands",
        {"question": "A car costs?", "answer": "Dear.\n#### 12,500"},
        Problem("line-1", "A car costs?", "12,500"),
    ),
    (
        "MATH",
        BOXED,
        Problem("line-1", "What is $\\frac{1}{4}+\\frac{1}{2}$?", "0.75", kind="expression"),
    ),
    (
        "MATH-500",
        BOXED | {"answer": "\\frac{3}{4}", "subject": "Prealgebra", "unique_id": "test/prealgebra/7.json"},
        Problem("test/prealgebra/7.json", "What is $\\frac{1}{4}+\\frac{1}{2}$?", "\\frac{3}{4}", kind="expression"),
    ),
    (
        "SVAMP",
        {
            "ID": "chal-1",
            "Body": "Tom has 9 pens. He loses 2.",
            "Question": "How many pens are left?",
            "Equation": "( 9.0 - 2.0 )",
            "Answer": 7.0,
            "Type": "Subtraction",
        },
        Problem("chal-1", "Tom has 9 pens. He loses 2. How many pens are left?", "7.0"),
    ),
    (
        "SVAMP, a body without its full stop",
        {"ID": "chal-2", "Body": "Tom has 9 pens", "Question": "How many pens has he?", "Answer": 9.0},
        Problem("chal-2", "Tom has 9 pens. How many pens has he?", "9.0"),
    ),
    (
        "MAWPS",
        {
            "iIndex": 12,
            "sQuestion": "Tom has 9.0 pens . He loses 2.0 . How many are left ?",
            "lEquations": ["X=9.0-2.0"],
            "lSolutions": [7.0],
        },
        Problem("12", "Tom has 9.0 pens . He loses 2.0 . How many are left ?", "7.0"),
    ),
    (
        "MAWPS of MWPToolkit",
        {"id": 12, "original_text": "Tom has 9 pens .", "segmented_text": "Tom ...", "equation": "X=9", "ans": 9.0},
        Problem("12", "Tom has 9 pens .", "9.0"),
    ),
    (
        "MAWPS of Calc-X",
        {
            "id": "mawps__12",
            "question": "Tom has 9 pens?",
            "chain": "<result>9</result>",
            "result": "9",
            "result_float": 9.0,
        },
        Problem("mawps__12", "Tom has 9 pens?", "9"),
    ),
    ("CommonsenseQA", CHOSEN, RAIN),
    (
        "CommonsenseQA on the hub",
        {
            "id": "a1",
            "question": "What does rain fall from?",
            "question_concept": "rain",
            "choices": {"label": ["A", "B", "C"], "text": ["sun", "salt", "clouds"]},
            "answerKey": "C",
        },
        RAIN,
    ),
    (
        "CommonsenseQA, a test row without its answer",
        {key: value for key, value in CHOSEN.items() if key != "answerKey"},
        Problem("a1", RAIN.question, None, RAIN.choices, "choice"),
    ),
    (
        "RiddleSense",
        CHOSEN | {"question": {key: CHOSEN["question"][key] for key in ("choices", "stem")}},  # type: ignore[index]
        RAIN,
    ),
    (
        "QASC",
        CHOSEN | {"fact1": "Clouds hold water.", "fact2": "Rain is water.", "formatted_question": "(A) sun"},
        RAIN,
    ),
    (
        "an ordinary problem",
        {"id": "p", "question": "Two?", "answer": "2", "rationale": "obvious"},
        Problem("p", "Two?", "2"),
    ),
]


# Columns of a data set that an ordinary problem has as well.
ORDINARY: list[tuple[str, dict[str, Any]]] = [
    ("result beside the answer", {"question": "q?", "answer": "18", "result": "17"}),
    ("an answer of nought", {"question": "q?", "answer": 0, "result": "17"}),
    ("result beside answerKey", {"question": "q?", "answerKey": "18", "result": "17"}),
    ("result beside choices", {"question": "q?", "choices": ["17", "18"], "answer": "B", "result": "17"}),
    ("choices without a gold answer", {"question": "q?", "choices": ["17", "18"], "result": "17"}),
    ("result beside a kind", {"question": "q?", "kind": "expression", "result": "17"}),
    ("a solution", {"question": "q?", "answer": "18", "problem": "p?", "solution": "\\boxed{17}"}),
    ("a question beside a problem", {"question": "q?", "problem": "p?", "solution": "\\boxed{17}"}),
    ("a solution alone", {"question": "q?", "answer": "18", "solution": "\\boxed{17}"}),
    ("the columns of SVAMP", {"question": "q?", "answer": "18", "Body": "b", "Question": "p?", "Answer": 17}),
    ("the columns of MAWPS", {"question": "q?", "answer": "18", "sQuestion": "p?", "lSolutions": [17]}),
    ("the columns of MWPToolkit", {"question": "q?", "answer": "18", "original_text": "p?", "ans": 17}),
    ("numbers that stand in no question", {"question": "q?", "answer": "18", "Numbers": "17"}),
]


@pytest.mark.parametrize("record", [row[1] for row in ORDINARY], ids=[row[0] for row in ORDINARY])
def test_an_ordinary_problem_means_what_it_means_elsewhere(record: dict[str, Any]) -> None:
    assert problem_from(ordinary(record), "x") == problem_from(record, "x")


EMPTY = [None, "", []]


@pytest.mark.parametrize("nothing", EMPTY, ids=["null", "an empty cell", "the empty choices of a CSV row"])
def test_an_empty_field_is_no_field(nothing: object) -> None:
    record = {"id": "a", "question": "q?", "answer": nothing, "choices": nothing, "result": "17"}
    assert problem_from(ordinary(record), "x") == Problem("a", "q?", "17")


@pytest.mark.parametrize(("record", "problem"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
@pytest.mark.parametrize("shape", ["a line", "a list", "a pretty list"])
def test_a_row(shape: str, record: dict[str, Any], problem: Problem, tmp_path: Path) -> None:
    path = tmp_path / ("data.jsonl" if shape == "a line" else "data.json")
    content: object = record if shape == "a line" else [record]
    path.write_text(json.dumps(content, indent=2 if shape == "a pretty list" else None) + "\n")
    assert read_dataset(str(path)).problems == (problem,)


def test_mawps_with_its_numbers_apart(tmp_path: Path) -> None:
    path = tmp_path / "dev.csv"
    path.write_text(
        "Question,Numbers,Equation,Answer,group_nums,Body,Ques\n"
        'tom has number0 pens . he gets number1 . how many ?,9.0 2.5,+ number0 number1,11.5,"[1, 2]",tom,how many ?\n'
        "tom has number1 pens,9,number0,9,[],tom,?\n"
    )
    found = read_dataset(str(path))
    assert found.problems == (Problem("line-2", "tom has 9 pens . he gets 2.5 . how many ?", "11.5"),)
    assert "dev.csv:3: number1 is none of its 1 numbers" in str(found.faults[0])


def test_math_as_a_folder(tmp_path: Path) -> None:
    for name in ("algebra/2", "algebra/10", "geometry/1"):
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(BOXED))
    (tmp_path / "geometry/2.json").write_text("[]")
    (tmp_path / "geometry/3.json").write_text(json.dumps([BOXED, BOXED | {"problem": "Another?"}]))
    found = read_dataset(str(tmp_path))
    assert [problem.id for problem in found.problems] == ["algebra/10", "algebra/2", "geometry/1"]
    assert [fault.what for fault in found.faults] == ["there is no problem in it", "holds 2 problems"]


KEYS = [
    "question", "answer", "answerKey", "choices", "stem", "label", "text", "problem", "solution", "Body", "Question",
    "Answer", "sQuestion", "lSolutions", "original_text", "ans", "Numbers", "result", "id", "unique_id", "kind",
]  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8))
def test_any_record_is_a_problem_or_told(record: dict[str, Any]) -> None:
    try:
        problem = problem_from(ordinary(record), "x")
    except InputError as error:
        assert str(error)
    else:
        assert problem.question and (problem.answer is None or problem.answer)


REFUSED = [
    ({"question": {"stem": "Why?"}, "answerKey": "A"}, "the question has no list of choices"),
    ({"question": {"stem": "Why?", "choices": ["a", "b"]}}, "the question has no list of choices"),
    ({"question": {"choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]}}, "there is no question"),
    ({"sQuestion": "Two?", "lSolutions": [1.0, 2.0]}, "it has not one solution"),
    ({"sQuestion": "Two?", "lSolutions": 2.0}, "it has not one solution"),
    ({"Body": "Two", "Question": "Two?", "Answer": [1]}, "the answer is a list"),
    ({"Body": "Two", "Question": None, "Answer": 1}, "there is no question"),
    ({"problem": ["x"], "solution": "\\boxed{1}"}, "the question is a list"),
]


@pytest.mark.parametrize(("record", "told"), REFUSED)
def test_a_row_that_cannot_be_used_is_told_with_its_line(record: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"question": "fine?"}) + "\n" + json.dumps(record) + "\n")
    found = read_dataset(str(path))
    assert len(found.problems) == 1 and told in str(found.faults[0]) and "data.jsonl:2" in str(found.faults[0])


def test_a_folder_without_problems_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no JSON file"):
        read_dataset(str(tmp_path))
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match="there is no question"):
        read_dataset(str(tmp_path))


def test_a_list_from_stdin() -> None:
    stdin = io.BytesIO(b'[\n {"question": "One?"},\n 7\n]\n')
    found = read_problems("-", stdin)
    assert [problem.question for problem in found.problems] == ["One?"]
    assert "stdin:2: not a JSON object" in str(found.faults[0])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str | None, str]]:
    """A library `datasets` that knows a split of two rows; what was asked of it."""
    asked: list[tuple[str, str | None, str]] = []

    def load_dataset(repo: str, config: str | None, split: str) -> list[dict[str, str]]:
        asked.append((repo, config, split))
        if repo != "openai/gsm8k":
            raise ConnectionError("cannot be reached")
        return [{"question": "One?", "answer": "#### 1"}, {"question": "Two?", "answer": "#### 2"}]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path))
    return asked


def test_a_data_set_is_fetched_once_and_only_on_request(hub: list[tuple[str, str | None, str]]) -> None:
    with pytest.raises(InputError, match=r"gsm8k: is not on this machine.*add --pull"):
        located("gsm8k", pull=False)
    assert hub == []
    for pull in (True, True, False):
        problems = read_dataset(located("gsm8k", pull=pull)).problems
        assert problems == (Problem("gsm8k-0", "One?", "1"), Problem("gsm8k-1", "Two?", "2"))
    assert hub == [("openai/gsm8k", "main", "test")]


@pytest.mark.usefixtures("hub")
def test_a_hub_that_cannot_be_reached_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="datasets/allenai/qasc: the hub cannot be reached"):
        located("qasc", pull=True)
    assert not (tmp_path / "datasets").exists()


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match=r"pip install 'score-local\[datasets\]'"):
        located("math", pull=True)


def test_a_file_is_meant_before_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("math").write_text('{"question": "One?"}\n')
    assert located("math", pull=True) == "math" and located("other.jsonl", pull=True) == "other.jsonl"


def test_every_data_set_has_its_name_in_the_help() -> None:
    assert tuple(ON_HUB) == eval_options.ON_HUB


def test_svamp_as_csv_keeps_its_bodies(tmp_path: Path) -> None:
    path = tmp_path / "svamp.csv"
    path.write_text("ID,Body,Question,Answer\nchal-1,Tom has 9 pens. He loses 2.,How many are left?,7.0\n")
    assert read_dataset(str(path)).problems == (
        Problem("chal-1", "Tom has 9 pens. He loses 2. How many are left?", "7.0"),
    )
