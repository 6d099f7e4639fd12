"""Problem files: what is read, what is a fault and on which line, and what is refused as a whole."""

from __future__ import annotations

import csv
import io
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.errors import InputError
from score_local.problem import CHOICE_LETTERS, AnswerKind, Problem, selected
from score_local.problem_files import ProblemFile, read_problems

GOOD = Problem("good", "What is 1 + 1?")
LINE = json.dumps({"id": GOOD.id, "question": GOOD.question}).encode()


def read(content: bytes, name: str, folder: Path) -> ProblemFile:
    path = folder / name
    path.write_bytes(content)
    return read_problems(str(path))


def from_stdin(content: bytes) -> ProblemFile:
    return read_problems("-", io.BytesIO(content))


def from_record(**record: Any) -> Problem:
    (problem,) = from_stdin(json.dumps(record).encode()).problems
    return problem


def from_rows(text: str) -> ProblemFile:
    return from_stdin(text.encode())


# What is read.

Q = "How many?"
RECORDS = [
    ("no id", {"question": Q}, Problem("line-1", Q)),
    ("an id that is a number", {"id": 7, "question": Q}, Problem("7", Q)),
    ("space around", {"id": " a ", "question": f"\n {Q} ", "answer": " 5\n"}, Problem("a", Q, "5")),
    ("unknown keys", {"id": "a", "question": Q, "rationale": ["x"], "n": None}, Problem("a", Q)),
    ("null and empty are nothing", {"id": None, "question": Q, "answer": "", "choices": []}, Problem("line-1", Q)),
    ("a whole number", {"id": "a", "question": Q, "answer": 72}, Problem("a", Q, "72")),
    ("a decimal number", {"id": "a", "question": Q, "answer": -0.5}, Problem("a", Q, "-0.5")),
    ("no exponent is made", {"id": "a", "question": Q, "answer": 1e20}, Problem("a", Q, "1" + "0" * 20)),
    ("published GSM8K", {"id": "a", "question": Q, "answer": "3 #### 4, so\n#### 1,072"}, Problem("a", Q, "1,072")),
    ("GSM8K without an answer", {"id": "a", "question": Q, "answer": "2+2 #### "}, Problem("a", Q)),
    ("money", {"id": "a", "question": Q, "answer": "$1,200.50"}, Problem("a", Q, "$1,200.50")),
    ("per cent", {"id": "a", "question": Q, "answer": "-5 %"}, Problem("a", Q, "-5 %")),
    ("a pair", {"id": "a", "question": Q, "answer": "1,2"}, Problem("a", Q, "1,2", kind="expression")),
    ("a fraction", {"id": "a", "question": Q, "answer": "3/4"}, Problem("a", Q, "3/4", kind="expression")),
    ("a unit", {"id": "a", "question": Q, "answer": "5 eggs"}, Problem("a", Q, "5 eggs")),
    ("a unit of two words", {"id": "a", "question": Q, "answer": "5 km/h"}, Problem("a", Q, "5 km/h")),
    ("variables", {"id": "a", "question": Q, "answer": "5 xy"}, Problem("a", Q, "5 xy", kind="expression")),
    ("no number", {"id": "a", "question": Q, "answer": "5 or more"}, Problem("a", Q, "5 or more", kind="expression")),
    ("kind is given", {"id": "a", "question": Q, "kind": "expression"}, Problem("a", Q, kind="expression")),
    ("kind and gold", {"id": "a", "question": Q, "answer": "3/4", "kind": "number"}, Problem("a", Q, "3/4")),
]


@pytest.mark.parametrize(("record", "problem"), [row[1:] for row in RECORDS], ids=[row[0] for row in RECORDS])
def test_a_record(record: dict[str, Any], problem: Problem) -> None:
    assert from_record(**record) == problem


CSQA = {"label": ["A", "B"], "text": ["red", "blue"]}
ARC = {"label": ["1", "2", "3"], "text": ["3", "2", "1"]}
GOLDS = [
    ("a letter", ["red", "blue"], "B", "B"),
    ("a small letter", ["red", "blue"], "b", "B"),
    ("a letter in parentheses", ["red", "blue"], "(B)", "B"),
    ("a text", ["red", "blue"], "blue", "B"),
    ("a text that differs in case", ["Pp", "pp"], "pp", "B"),
    ("a number", [10, 20.5], 20.5, "B"),
    ("a letter before a text", ["B", "A"], "A", "A"),
    ("a label", ARC, "3", "C"),
    ("none", CSQA, None, None),
]


@pytest.mark.parametrize(("choices", "gold", "letter"), [row[1:] for row in GOLDS], ids=[row[0] for row in GOLDS])
def test_the_gold_answer_of_a_choice_is_its_letter(choices: Any, gold: Any, letter: str | None) -> None:
    problem = from_record(question=Q, choices=choices, answer=gold)
    assert (problem.kind, problem.answer) == ("choice", letter)


def test_commonsense_qa_as_published() -> None:
    record = {"id": "a", "question": Q, "question_concept": "colour", "choices": CSQA, "answerKey": "B"}
    assert from_record(**record) == Problem("a", Q, "B", ("red", "blue"), "choice")


def batch_line(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": messages}, **more}


SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": Q}
PARTS = {"role": "user", "content": [{"type": "text", "text": "How"}, {"type": "text", "text": "many?"}]}
OLD = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
BATCHES = [
    ("one message", batch_line(USER), Problem("r-1", Q)),
    ("a system message", batch_line(SYSTEM, USER), Problem("r-1", f"Be brief.\n\n{Q}")),
    ("parts", batch_line(PARTS), Problem("r-1", "How\nmany?")),
    ("the last user message", batch_line(*OLD, USER), Problem("r-1", Q)),
    ("an image before", batch_line({"role": "user", "content": [{"type": "image_url"}]}, USER), Problem("r-1", Q)),
    ("with a gold answer", batch_line(USER, answer=5), Problem("r-1", Q, "5")),
]


@pytest.mark.parametrize(("record", "problem"), [row[1:] for row in BATCHES], ids=[row[0] for row in BATCHES])
def test_an_openai_batch_line(record: dict[str, Any], problem: Problem) -> None:
    assert from_record(**record) == problem


TABLES = [
    ("the plain header", 'id,question,answer\na,"1, or 2?",5\n', Problem("a", "1, or 2?", "5")),
    ("a byte-order mark", "\ufeffquestion,id\nHow many?,a\n", Problem("a", Q)),
    ("quoted names, capitals, spaces", '"ID", "Question"\r\na, "How many?"\r\n', Problem("a", Q)),
    ("semicolons", "id;question;answer\na;How many?;2,5\n", Problem("a", Q, "2,5", kind="expression")),
    ("tabs", "id\tquestion\na\tHow many?\n", Problem("a", Q)),
    ("choices", "question,choices,answer\nHow many?,1|2,2\n", Problem("line-2", Q, "B", ("1", "2"), "choice")),
    ("letters", "question,A,B,C,answer\nHow many?,7,8,,a\n", Problem("line-2", Q, "A", ("7", "8"), "choice")),
    ("empty lines and rows", "\nid,question\n\n,,\na,How many?,,\n", Problem("a", Q)),
    ("missing cells", "question,answer,id\nHow many?\n", Problem("line-2", Q)),
    ("a quote within", 'id,question\na,How tall is 5" here?\n', Problem("a", 'How tall is 5" here?')),
]


@pytest.mark.parametrize(("text", "problem"), [row[1:] for row in TABLES], ids=[row[0] for row in TABLES])
def test_a_csv_file(text: str, problem: Problem, tmp_path: Path) -> None:
    expected = ProblemFile((problem,))
    assert read(text.encode(), "table.CSV", tmp_path) == expected
    assert from_stdin(text.encode()) == expected


def test_a_txt_file_has_a_problem_a_line(tmp_path: Path) -> None:
    found = read(b'\xef\xbb\xbfWhat is 1 + 1?\r\n\r\n {2}, "3"?\n', "p.txt", tmp_path)
    assert found == ProblemFile((Problem("line-1", "What is 1 + 1?"), Problem("line-3", '{2}, "3"?')))


@pytest.mark.parametrize("name", ["p.jsonl", "p.ndjson", "p.json", "p.dat", "p"])
def test_jsonl_is_told_by_its_extension_or_content(name: str, tmp_path: Path) -> None:
    assert read(LINE, name, tmp_path).problems == (GOOD,)


def test_the_extension_counts_more_than_the_content(tmp_path: Path) -> None:
    assert read(LINE, "p.txt", tmp_path).problems == (Problem("line-1", LINE.decode()),)


def test_stdin_without_a_known_format_is_text() -> None:
    assert from_stdin(b"Here is a question, answer it\n").problems[0].question == "Here is a question, answer it"


def test_the_shipped_sample() -> None:
    with resources.as_file(resources.files("score_local.samples") / "problems.jsonl") as path:
        found = read_problems(str(path))
    assert not found.faults
    assert len(found.problems) == 40 and all(p.kind == "number" and p.answer for p in found.problems)
    assert selected(found.problems, shuffle=0) == found.problems, "drawn with seed 0"


# Faults: the bad line stands between two good ones, which are read.

JSON_NEXT = "Write each problem as a JSON object on a line of its own"
CHOICES_NEXT = "Give a list of 2 to 10 texts"
BATCH_NEXT = "Give body.messages as OpenAI's batch format does: a list of objects with role and content"
NO_QUESTION = "Give it one under the name question, or delete the line"
IN_QUOTES = 'Write it in quotes: "question": "..."'
MEND = "Leave the kind out, or mend the choices"
IMAGE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
ASKED = {"question": Q}

BAD_LINES: list[tuple[str, bytes | dict[str, Any], str, str]] = [
    ("broken JSON", b'{"question": "a",}', "broken JSON: trailing comma in object (byte 17)", JSON_NEXT),
    ("half a line", b'{"question": "a', "broken JSON: Input data was truncated", JSON_NEXT),
    (
        "endless nesting",
        b'{"a":' * 9999,
        "broken JSON: maximum recursion depth exceeded while deserializing an object",
        JSON_NEXT,
    ),
    ("a list", b"[1, 2]", "not a JSON object", JSON_NEXT),
    ("a number", b"5", "not a JSON object", JSON_NEXT),
    ("no question", {"id": "a"}, "there is no question", NO_QUESTION),
    ("an empty question", {"question": " \n"}, "there is no question", NO_QUESTION),
    ("a question that is a number", {"question": 5}, "the question is a number, not text", IN_QUOTES),
    ("a question that is an object", {"question": {"stem": "a"}}, "the question is an object, not text", IN_QUOTES),
    ("an id seen before", LINE, "the id 'good' is that of line 1", "Give each problem an id of its own"),
    ("an id that is a list", {**ASKED, "id": []}, "the id is a list, not text or a number", "Write the id as text"),
    (
        "a true answer",
        {**ASKED, "answer": True},
        "the answer is true or false, not text or a number",
        "Write the answer as text",
    ),
    ("a NUL character", {"question": "a\0b"}, "the question holds a NUL character", "Remove it"),
    (
        "an unknown kind",
        {**ASKED, "kind": "essay"},
        "the kind is 'essay'",
        "Use number, choice, expression, or leave it out",
    ),
    ("a choice of nothing", {**ASKED, "kind": "choice"}, "the kind is choice, but the problem has no choices", MEND),
    (
        "a number with choices",
        {**ASKED, "kind": "number", "choices": ["1", "2"]},
        "the kind is number, but the problem has choices",
        MEND,
    ),
    ("one choice", {**ASKED, "choices": ["a"]}, "the number of choices is 1", CHOICES_NEXT),
    ("eleven choices", {**ASKED, "choices": ["a"] * 11}, "the number of choices is 11", CHOICES_NEXT),
    ("an empty choice", {**ASKED, "choices": ["a", " "]}, "choice 2 is empty", CHOICES_NEXT),
    (
        "a choice that is a list",
        {**ASKED, "choices": ["a", []]},
        "the choice 2 is a list, not text or a number",
        "Write the choice 2 as text",
    ),
    ("choices in a text", {**ASKED, "choices": "a, b"}, "the choices are text", CHOICES_NEXT),
    (
        "labels too few",
        {**ASKED, "choices": {"label": ["A"], "text": ["x", "y"]}},
        "the choices are an object without equally long lists label and text",
        CHOICES_NEXT,
    ),
    (
        "a gold that is no choice",
        {**ASKED, "choices": ["a", "b", "c"], "answer": "D"},
        "the answer 'D' is none of the choices",
        "Give a letter, A to C, or the text of a choice",
    ),
    ("no messages", batch_line() | {"body": {"input": "a"}}, "the request has no list of messages", BATCH_NEXT),
    ("no user", batch_line(SYSTEM), "the request has no message of the user", BATCH_NEXT),
    (
        "an image",
        batch_line(IMAGE),
        "a message holds something other than text",
        "Only text can be read: remove the other parts",
    ),
    ("a silent user", batch_line(SYSTEM, {"role": "user", "content": ""}), "there is no question", NO_QUESTION),
    (
        "not UTF-8",
        b'{"question": "caf\xe9"}',
        "not UTF-8: byte 0xe9 at offset 17 of the line",
        "Save the file as UTF-8",
    ),
    ("a NUL byte", b'{"question": "a\0b"}', "there is a NUL byte at offset 15 of the line", "Remove it"),
    ("10 MB", b'{"question": "' + b"a" * 10_000_000, "the line is 10.0 MB long", "Shorten it: a line may have 1 MB"),
]


@pytest.mark.parametrize(("bad", "what", "next_"), [row[1:] for row in BAD_LINES], ids=[row[0] for row in BAD_LINES])
def test_a_bad_line_is_a_fault_and_the_others_are_read(
    bad: bytes | dict[str, Any], what: str, next_: str, tmp_path: Path
) -> None:
    raw = bad if isinstance(bad, bytes) else json.dumps(bad).encode()
    found = read(b"\n".join([LINE, b"", raw, LINE.replace(b"good", b"last")]), "p.jsonl", tmp_path)
    assert [p.id for p in found.problems] == ["good", "last"]
    assert_error(found.faults, what, f"{tmp_path / 'p.jsonl'}:3", next_)


def assert_error(faults: tuple[InputError, ...], what: str, where: str, next_: str) -> None:
    (fault,) = faults
    assert (fault.what, fault.where, fault.next) == (what, where, next_)
    assert str(fault) == f"{where}: {what}. {next_}"


def long_list(*sizes: int) -> bytes:
    """A JSON list on one line; one record for each of the sizes in bytes."""
    empty = len(json.dumps({"question": ""}))
    return json.dumps([{"question": "a" * (size - empty)} for size in sizes]).encode()


MIB = 1 << 20


@pytest.mark.parametrize("name", ["p.json", "p.dat", "-"])
def test_a_list_may_be_on_one_long_line(name: str, tmp_path: Path) -> None:
    content = long_list(MIB, MIB // 2, MIB)
    found = from_stdin(content) if name == "-" else read(content, name, tmp_path)
    assert [len(problem.question) for problem in found.problems] == [MIB - 16, MIB // 2 - 16, MIB - 16]
    assert not found.faults


def test_each_problem_of_a_list_has_the_limit_of_a_line() -> None:
    found = from_stdin(long_list(99, MIB + 1, 98))
    assert [problem.id for problem in found.problems] == ["line-1", "line-3"]
    assert_error(found.faults, "the problem is 1.0 MB long", "stdin:2", "Shorten it: a problem may have 1 MB")


@pytest.mark.parametrize(("name", "what"), [("p.json", "problem"), ("p.jsonl", "line"), ("p.txt", "line")])
def test_one_problem_that_is_too_long(name: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"the {what} is 2.1 MB long"):
        read(long_list(2 * MIB)[1:-1], name, tmp_path)


def test_lines_of_json_have_the_limit_whatever_the_file_is_called() -> None:
    found = from_stdin(b"\n".join([LINE, long_list(2 * MIB)[1:-1]]))
    assert_error(found.faults, "the line is 2.1 MB long", "stdin:2", "Shorten it: a line may have 1 MB")


QUOTES = 'Put the cell into double quotes, and write a quote in it as ""'
BAD_ROWS = [
    (
        "too many cells",
        "b,3 apples, 2 pears?\n",
        3,
        "3 cells, but the header names 2 columns",
        "Put a cell that holds the delimiter into double quotes",
    ),
    ("no question", "b,\n", 3, "there is no question", NO_QUESTION),
    ("an id seen before", "a,What?\n", 3, "the id 'a' is that of line 2", "Give each problem an id of its own"),
    ("a quote never closed", 'b,"What?\n', 3, "broken CSV: a quote is opened and never closed", QUOTES),
    (
        "text after a quote",
        'b,"What" now?\n',
        3,
        "broken CSV: ',' expected after '\"'",
        QUOTES,
    ),
    ("a NUL byte", "b,Wh\0t?\n", 3, "there is a NUL byte at offset 4 of the line", "Remove it"),
    ("a NUL byte deep in a row", 'b,"What\nis\0it?"\n', 4, "there is a NUL byte at offset 2 of the line", "Remove it"),
]


@pytest.mark.parametrize(("bad", "number", "what", "next_"), [r[1:] for r in BAD_ROWS], ids=[r[0] for r in BAD_ROWS])
def test_a_bad_row_is_a_fault_and_the_others_are_read(bad: str, number: int, what: str, next_: str) -> None:
    found = from_rows(f"id,question\na,How?\n{bad}y,When?\nz,Where?\n")
    assert [p.id for p in found.problems] == ["a", "y", "z"]
    assert_error(found.faults, what, f"stdin:{number}", next_)


def test_a_csv_gold_that_is_no_choice() -> None:
    found = from_rows("question,choices,answer\nHow?,1|2,3\nWhy?,1|2,1\n")
    assert_error(
        found.faults,
        "the answer '3' is none of the choices",
        "stdin:2",
        "Give a letter, A to B, or the text of a choice",
    )


def test_a_choice_left_out_does_not_move_the_others() -> None:
    found = from_rows("question,A,B,C\nHow?,1,,3\nWhy?,1,2,3\n")
    assert_error(found.faults, "choice 2 is empty", "stdin:2", CHOICES_NEXT)


# What is refused as a whole.

FORMATS = "Name a .jsonl, .csv or .txt file of problems, or - for stdin"
REFUSED = [
    ("p.jsonl", b"", "is empty", FORMATS),
    ("p.jsonl", b" \n\n", "there is no problem in it", FORMATS),
    ("p.csv", b"\n", "there is no problem in it", FORMATS),
    ("p.csv", b"id,question\n", "there is no problem in it", FORMATS),
    (
        "p.csv",
        b"a,What is it?\n",
        "the header has no column question, but a, What is it?",
        "Name the columns in the first line: id,question,answer",
    ),
    (
        "p.csv",
        b"id,qu\xe9stion\n",
        "the header cannot be read: not UTF-8: byte 0xe9 at offset 5 of the line",
        "Save the file as UTF-8",
    ),
    ("model.gguf", b"GGUF\3\0\0\0", "is a GGUF model", FORMATS),
    ("p.xlsx", b"PK\3\4xyz", "is a zip archive or a spreadsheet", FORMATS),
    ("p.csv", "id,question\n".encode("utf-16"), "is UTF-16 text", "Save it as UTF-8"),
    ("p.txt", "id,question\n".encode("utf-16-le"), "is a binary file", FORMATS),
    ("p.bin", bytes(range(256)) * 40, "is a binary file", FORMATS),
]


@pytest.mark.parametrize(("name", "content", "what", "next_"), REFUSED, ids=[row[2] for row in REFUSED])
def test_a_file_of_no_use(name: str, content: bytes, what: str, next_: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(content, name, tmp_path)
    assert_error((caught.value,), what, str(tmp_path / name), next_)


def test_a_file_of_bad_lines_only_tells_the_first_and_their_number(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(b"\n[1]\n{}\n", "p.jsonl", tmp_path)
    what = "none of 2 lines is a problem; the first: not a JSON object"
    assert_error((caught.value,), what, f"{tmp_path / 'p.jsonl'}:2", JSON_NEXT)


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").touch()
    with pytest.raises(InputError) as caught:
        read_problems(str(tmp_path / "problem.jsonl"))
    near = f"Did you mean {tmp_path / 'problems.jsonl'}?"
    assert_error((caught.value,), "there is no such file", str(tmp_path / "problem.jsonl"), near)


def test_a_missing_file_without_neighbours(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_problems(str(tmp_path / "problem.jsonl"))
    assert_error((caught.value,), "there is no such file", str(tmp_path / "problem.jsonl"), FORMATS)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_problems(str(tmp_path / "none" / "p.jsonl"))
    assert_error((caught.value,), "there is no such folder", str(tmp_path / "none"), FORMATS)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_problems(str(tmp_path))
    assert_error((caught.value,), "is a folder", str(tmp_path), FORMATS)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "p.jsonl"
    path.write_bytes(LINE)
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError) as caught:
        read_problems(str(path))
    monkeypatch.undo()
    assert_error((caught.value,), "cannot be read: Permission denied", str(path), FORMATS)


def test_a_pipe_is_read_like_a_file() -> None:
    reader, writer = os.pipe()
    os.write(writer, LINE)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert read_problems("-", pipe).problems == (GOOD,)


# Properties.

NAMES = st.sampled_from(["p.jsonl", "p.csv", "p.txt", "-"])
SHAPED = st.lists(st.sampled_from([LINE, b"id,question", b"a,b", b'"', b",", b"\xff", b"\0", b"{", b"[]", b"\r"]))
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)


@given(NAMES, st.binary() | SHAPED.map(b"\n".join) | SHAPED.map(b"".join))
def test_any_bytes_raise_nothing_but_input_errors(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    try:
        found = from_stdin(content) if name == "-" else read(content, name, tmp_path_factory.getbasetemp())
    except InputError:
        return
    assert found.problems


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    choices = tuple(map(str.strip, draw(st.just([]) | st.lists(TEXT, min_size=2, max_size=10))))
    id_, question = draw(TEXT).strip(), draw(TEXT).strip()
    if choices:
        letters = st.sampled_from(CHOICE_LETTERS[: len(choices)])
        return Problem(id_, question, draw(st.none() | letters), choices, "choice")
    kind: AnswerKind = draw(st.sampled_from(["number", "expression"]))
    answer = draw(st.none() | TEXT.map(str.strip).filter(lambda text: "####" not in text))
    return Problem(id_, question, answer, (), kind)


LISTS = st.lists(problems(), min_size=1, unique_by=lambda problem: problem.id)


def fields(problem: Problem) -> dict[str, Any]:
    return {field: getattr(problem, field) for field in problem.__struct_fields__}


@given(LISTS, st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_jsonl_round_trips(written: list[Problem], ascii_: bool, end: str) -> None:
    content = "".join(json.dumps(fields(p), ensure_ascii=ascii_) + end for p in written)
    assert from_stdin(content.encode()) == ProblemFile(tuple(written))


@given(LISTS, st.sampled_from(["excel", "unix"]))
def test_csv_round_trips(tmp_path_factory: pytest.TempPathFactory, written: list[Problem], dialect: str) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["id", "question", "answer", "kind", *CHOICE_LETTERS], dialect=dialect)
    writer.writeheader()
    for problem in written:
        row = fields(problem)
        writer.writerow({**dict(zip(CHOICE_LETTERS, row.pop("choices"), strict=False)), **row})
    found = read(text.getvalue().encode(), "p.csv", tmp_path_factory.getbasetemp())
    assert found == ProblemFile(tuple(written))


PLANTED = [b"[]", b"{}", b"\xff\xfe\xfd", b'{"question": "a\0"}', b'{"question": 5}', b"{"]


@given(st.lists(st.sampled_from([b"", LINE, *PLANTED])))
def test_planted_faults_have_their_line_numbers(lines: list[bytes]) -> None:
    content = b"\n".join([LINE, *(line.replace(b"good", b"%d" % k) for k, line in enumerate(lines))])
    planted = [f"stdin:{number}" for number, line in enumerate(lines, 2) if line in PLANTED]
    assert [fault.where for fault in from_stdin(content).faults] == planted


# Not among them: a quote never closed, for it ends at the next quote there is (the table above has one without).
BAD_CELLS = ['{},"a"b', "{},a,b", "{},", "{},\0"]


@given(st.lists(st.sampled_from(["", "{},What?", '{},"one\ntwo"', *BAD_CELLS])))
def test_planted_faults_in_csv_have_their_line_numbers(rows: list[str]) -> None:
    text, planted = "id,question\nfirst,Why?\n", []
    for k, row in enumerate(rows):
        if row in BAD_CELLS:
            planted.append(f"stdin:{text.count(chr(10)) + 1}")
        text += row.format(k) + "\n"
    assert [fault.where for fault in from_rows(text).faults] == planted
