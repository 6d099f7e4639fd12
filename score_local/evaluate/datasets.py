"""Data sets as they are published, and any ordinary problem file. A record's keys tell whose it is: an ordinary
problem has a question and an answer, choices or a kind, and means the same as in every other command.

GSM8K           {"question", "answer": "... #### 18"}
MATH            {"problem", "solution": "... \\boxed{...}"}, an object a line, or a folder with a file for each
SVAMP           a list of {"ID", "Body", "Question", "Answer"}
MAWPS           a list of {"iIndex", "sQuestion", "lSolutions"}; as in MWPToolkit {"id", "original_text", "ans"}; as in
                SVAMP's repository, CSV with numbers apart; as in Calc-X {"id", "question", "result"}
CommonsenseQA, RiddleSense, QASC
                {"id", "question": {"stem", "choices": [{"label", "text"}]}, "answerKey"}; flat as on the hub
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from score_local import answers, catalog
from score_local.append_only import write_error
from score_local.errors import InputError
from score_local.problem_files import ProblemFile, read_problems
from score_local.problem_records import Record
from score_local.runs import write_whole


class OnHub(NamedTuple):
    """Where a data set is on the hub, and the split that is reported on: the one whose answers are public."""

    repo: str
    config: str | None
    split: str


ON_HUB = {
    "gsm8k": OnHub("openai/gsm8k", "main", "test"),
    "math": OnHub("HuggingFaceH4/MATH-500", None, "test"),
    "svamp": OnHub("ChilleD/SVAMP", None, "test"),
    "mawps": OnHub("MU-NLPC/Calc-mawps", None, "test"),
    "commonsense_qa": OnHub("tau/commonsense_qa", None, "validation"),
    "riddle_sense": OnHub("INK-USC/riddle_sense", None, "validation"),
    "qasc": OnHub("allenai/qasc", None, "validation"),
}


def read_dataset(path: str) -> ProblemFile:
    """Reads a file, stdin ("-"), or a folder of JSON files with a problem each. Raises InputError."""
    folder = Path(path)
    if path == "-" or not folder.is_dir():
        return read_problems(path, translate=ordinary)
    files = sorted(folder.rglob("*.json"))
    if not files:
        raise InputError("holds no JSON file", path, "Name a folder of problems, as MATH's test/algebra, or a file")
    found = [_read_one(file, file.relative_to(folder).with_suffix("").as_posix()) for file in files]
    problems = tuple(problem for one in found for problem in one.problems)
    faults = tuple(fault for one in found for fault in one.faults)
    if not problems:
        raise faults[0]
    return ProblemFile(problems, faults)


def located(name: str, *, pull: bool) -> str:
    """A path as it is; for a name of ON_HUB, the file that a pull left, or leaves now where `pull` allows the network.

    Raises InputError where it is not here, ModelError where it cannot be fetched, RunError where it cannot be written.
    """
    if name not in ON_HUB or Path(name).exists():
        return name
    file = catalog.models_dir() / "datasets" / f"{name}.jsonl"
    if file.exists():
        return str(file)
    if not pull:
        raise InputError("is not on this machine", name, "Fetch it from the hub: add --pull")
    rows = catalog.pull_dataset(*ON_HUB[name])
    named = (row if _NAMES & row.keys() else {"id": f"{name}-{number}", **row} for number, row in enumerate(rows))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(file, error) from error
    write_whole(file, b"".join(msgspec.json.encode(row) + b"\n" for row in named))
    return str(file)


def ordinary(record: Record) -> Record:
    """A published record under the names that problem files have; what is not known goes through as it is.

    Raises InputError without a place.
    """
    if isinstance(record.get("question"), Mapping):
        return _nested(record)
    own = {name for name in _ORDINARY if record.get(name) not in (None, "", [])}
    if own == {"question"} and "result" in record:
        return _calc(record)
    if "Body" in record and not {"Question", "Numbers"} & record.keys():  # a CSV's columns are in lower case
        return _svamp(record)
    if "question" not in own:
        return next((translate(record) for keys, translate in _SHAPES if keys <= record.keys()), record)
    return _numbers_put_in(record) if "Numbers" in record else record


def _read_one(file: Path, name: str) -> ProblemFile:
    """A file with one problem, which is called by the file's name."""
    try:
        found = read_problems(str(file), translate=ordinary)
    except InputError as error:
        return ProblemFile((), (error,))
    if len(found.problems) != 1:
        return ProblemFile(
            (), (InputError(f"holds {len(found.problems)} problems", str(file), "Name that file alone"),)
        )
    return ProblemFile((msgspec.structs.replace(found.problems[0], id=name),), found.faults)


def _nested(record: Record) -> Record:
    """CommonsenseQA, RiddleSense, QASC: the question's text and its choices are within the question."""
    question = record["question"]
    assert isinstance(question, Mapping)
    choices = question.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, Mapping) for choice in choices):
        raise InputError(
            "the question has no list of choices", next='Give {"stem": ..., "choices": [{"label", "text"}]}'
        )
    columns = {key: [choice.get(key) for choice in choices] for key in ("label", "text")}
    return {
        "id": record.get("id"),
        "question": question.get("stem"),
        "choices": columns,
        "answer": record.get("answerKey"),
    }


def _math(record: Record) -> Record:
    """What counts is what the solution ends with, in its box; MATH-500 states it as well."""
    answer = record.get("answer") or answers.extract(str(record["solution"]), "expression", ())
    name = record.get("unique_id", record.get("id"))
    return {"id": name, "question": record["problem"], "answer": answer, "kind": "expression"}


def _svamp(record: Record) -> Record:
    """As CSV its columns, but for Body, have the names of problem files already."""
    body, asked = record["Body"], record.get("Question", record.get("question"))
    if isinstance(body, str) and isinstance(asked, str):
        stop = "" if body.strip().endswith((".", "!", "?", ",")) else "."  # some of them leave it out
        asked = f"{body.strip()}{stop} {asked.strip()}"
    return {
        "id": record.get("ID", record.get("id")),
        "question": asked,
        "answer": record.get("Answer", record.get("answer")),
    }


def _mawps(record: Record) -> Record:
    solutions = record["lSolutions"]
    if not isinstance(solutions, list) or len(solutions) != 1:
        raise InputError("it has not one solution", next="Leave out problems with several unknowns")
    return {"id": record.get("iIndex"), "question": record["sQuestion"], "answer": solutions[0]}


def _mawps_toolkit(record: Record) -> Record:
    return {"id": record.get("id"), "question": record["original_text"], "answer": record["ans"]}


def _numbers_put_in(record: Record) -> Record:
    """An ordinary problem, but for its numbers. They stand apart: "number0" in the text is the first of them."""
    numbers = [re.sub(r"\.0+$", "", number) for number in str(record["Numbers"]).split()]

    def number(match: re.Match[str]) -> str:
        index = int(match[1])
        if index >= len(numbers):
            raise InputError(f"{match[0]} is none of its {len(numbers)} numbers", next="Mend the column Numbers")
        return numbers[index]

    question = record.get("question")
    return {**record, "question": re.sub(r"\bnumber(\d+)\b", number, question)} if isinstance(question, str) else record


def _calc(record: Record) -> Record:
    return {"id": record.get("id"), "question": record["question"], "answer": record["result"]}


_ORDINARY = ("question", "answer", "answerKey", "choices", "kind")
_NAMES = {"id", "ID", "iIndex", "unique_id"}
_SHAPES: tuple[tuple[frozenset[str], Callable[[Record], Record]], ...] = (
    (frozenset({"problem", "solution"}), _math),
    (frozenset({"Body", "Question"}), _svamp),
    (frozenset({"sQuestion", "lSolutions"}), _mawps),
    (frozenset({"original_text", "ans"}), _mawps_toolkit),
)
