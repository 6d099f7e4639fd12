"""The commands as a user runs them, with a scripted engine in place of the model."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from score_local import cli
from score_local.commands import setup
from score_local.engine.protocol import Request, Score
from score_local.engine.scripted import ScriptedEngine
from score_local.errors import EngineError, ModelError
from score_local.problem import selected
from score_local.problem_files import read_problems
from score_local.trace import Attempt, Candidate, Round, Signal, Trace

Script = Callable[[Request], "str | tuple[float, ...] | EngineError"]
PROBLEMS = [
    {"id": "right", "question": "What is 2 + 2?", "answer": "4"},
    {"id": "wrong", "question": "What is 3 + 3?", "answer": "6"},
    {"id": "open", "question": "What is 5 + 5?"},
]


def problem_turn(request: Request) -> str:
    """The user's turn that the problem stands in: the one before the solution."""
    turns = [m.content for m in request.messages if m.role == "user"]
    return turns[-1] if request.phase in ("solve", "sample") else turns[-2]


def script(request: Request) -> str | tuple[float, ...] | EngineError:
    """Solves 2 + 2, is wrong about the rest and doubts it, and repairs it."""
    question = problem_turn(request)
    if isinstance(request, Score):
        return (-0.1, -3.0) if "2 + 2" in question else (-3.0, -0.1)
    if request.phase == "refine":
        return "Critique: the sum.\nCorrected solution:\nStep 1: 3 + 3 = 6\n\\boxed{6}"
    if "fail" in question:
        return EngineError("the prompt has 9999 tokens and a sequence holds 2048")
    return "Step 1: easy\n\\boxed{4}"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[ScriptedEngine]]:
    """Replaces model and engine; the engines that were opened, so that a test sees whether any was."""
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    opened: list[ScriptedEngine] = []

    def open_scripted(*_: object) -> ScriptedEngine:
        opened.append(ScriptedEngine(script))
        return opened[-1]

    monkeypatch.setattr(setup, "engine_of", open_scripted)
    monkeypatch.setattr(setup, "model_of", lambda options: model)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(p) + "\n" for p in PROBLEMS))
    yield opened


def run(*arguments: str) -> int:
    return cli.main(list(arguments))


BATCH = ("batch", "problems.jsonl", "--run", "run", "--verifiers", "self")


def store(*traces: Trace) -> None:
    """Puts these traces in the place of the run's."""
    Path("run/traces.jsonl").write_bytes(b"".join(msgspec.json.encode(trace) + b"\n" for trace in traces))


@pytest.mark.usefixtures("engine")
def test_batch_writes_traces_summary_and_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BATCH, "--output", "answers.csv") == 0
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(Path("answers.csv").read_text()))}
    assert [rows[i]["answer"] for i in ("right", "wrong", "open")] == ["4", "6", "6"]
    assert (rows["wrong"]["initial_answer"], rows["wrong"]["refined"], rows["wrong"]["status"]) == (
        "4",
        "true",
        "solved",
    )
    summary = json.loads(Path("run/summary.json").read_text())
    assert (summary["initial"]["count"], summary["final"]["count"], summary["with_gold"]) == (1, 2, 2)
    assert len(Path("run/traces.jsonl").read_text().splitlines()) == 3
    captured = capsys.readouterr()
    assert "initial accuracy" in captured.out and "3/3 done" in captured.err


@pytest.mark.usefixtures("engine")
def test_output_to_stdout_is_data_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BATCH, "--output", "-") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in rows] == ["right", "wrong", "open"]


@pytest.mark.parametrize("seed", range(3))
def test_a_random_sample_of_a_file(seed: int, engine: list[ScriptedEngine]) -> None:
    assert run(*BATCH, "--limit", "2", "--shuffle", str(seed)) == 0
    drawn = selected(read_problems("problems.jsonl").problems, 2, seed)
    assert {problem_turn(r).splitlines()[0] for r in engine[0].requests} == {p.question for p in drawn}


def test_resume_does_only_what_is_left(engine: list[ScriptedEngine]) -> None:
    assert run(*BATCH, "--limit", "1", "--resume") == 0
    assert run(*BATCH) == 2, "without --resume a run is never touched"
    assert run(*BATCH, "--resume") == 0
    asked = {problem_turn(request).splitlines()[0] for request in engine[1].requests}
    assert asked == {"What is 3 + 3?", "What is 5 + 5?"}
    assert run(*BATCH, "--resume") == 0
    assert len(engine) == 2, "nothing left: no model is loaded"


def test_a_changed_policy_is_refused(engine: list[ScriptedEngine], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BATCH) == 0
    assert run(*BATCH, "--resume", "--threshold", "0.9") == 2
    assert "made with another policy" in capsys.readouterr().err and len(engine) == 1


@pytest.mark.usefixtures("engine")
def test_stdin_and_faulty_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [json.dumps(PROBLEMS[0]), "{broken", json.dumps({"id": "x"}), json.dumps(PROBLEMS[1])]
    Path("problems.jsonl").write_text("\n".join(lines) + "\n")
    assert run(*BATCH, "--output", "answers.jsonl") == 2, "told by the exit code, too"
    err = capsys.readouterr().err
    assert "problems.jsonl:2: " in err and "problems.jsonl:3: " in err
    rows = [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]
    assert [row["status"].split(":")[0] for row in rows] == ["solved", "solved", "failed", "failed"]
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps(PROBLEMS[2]).encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert run("batch", "-", "--run", "other", "--verifiers", "self") == 0


@pytest.mark.usefixtures("engine")
def test_a_problem_that_fails_is_told_and_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    Path("problems.jsonl").write_text('{"question": "fail"}\n{"question": "What is 2 + 2?"}\n')
    assert run(*BATCH) == 1
    assert run(*BATCH, "--resume", "--output", "a.jsonl") == 1
    rows = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    assert rows[0]["status"].startswith("failed: the prompt has 9999 tokens") and rows[1]["status"] == "solved"
    capsys.readouterr()


@pytest.mark.usefixtures("engine")
def test_rethreshold_decides_again_without_the_model(
    engine: list[ScriptedEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BATCH, "--refine", "always") == 0
    assert run("rethreshold", "run", "--threshold", "1.0", "--output", "a.jsonl") == 0
    assert not any(json.loads(line)["refined"] for line in Path("a.jsonl").read_text().splitlines())
    assert run("rethreshold", "run", "--threshold", "0", "--output", "a.jsonl", "--markdown") == 0
    assert all(json.loads(line)["refined"] for line in Path("a.jsonl").read_text().splitlines())
    assert Path("run/summary-0.00.json").exists() and len(engine) == 1
    assert "| initial accuracy |" in capsys.readouterr().out
    assert run("rethreshold", "run", "--threshold", "0.5", "--verifiers", "oracle") == 2
    assert "'oracle' did not speak" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        (*BATCH, "--resume", "--output", "./problems.jsonl"),
        (*BATCH, "--resume", "--output", "run/traces.jsonl"),
        ("rethreshold", "run", "--threshold", "1", "--output", "run/traces.jsonl"),
        ("rethreshold", "run", "--threshold", "1", "--output", "link.csv"),
    ],
)
def test_answers_are_written_over_nothing_that_is_needed(
    arguments: tuple[str, ...], engine: list[ScriptedEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BATCH, "--limit", "1") == 0
    Path("link.csv").symlink_to("run/summary.json")
    before = {path: path.read_bytes() for path in (Path("problems.jsonl"), *Path("run").iterdir())}
    capsys.readouterr()
    assert run(*arguments) == 2
    assert {path: path.read_bytes() for path in (Path("problems.jsonl"), *Path("run").iterdir())} == before
    assert "which would be lost. Give --output another name" in capsys.readouterr().err
    assert len(engine) == 1, "no work was done"


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("threshold", "name"),
    [("0.5", "0.50"), ("1", "1.00"), ("0.7", "0.70"), ("0.701", "0.701"), ("0.704", "0.704"), ("0.00001", "1e-05")],
)
def test_every_threshold_has_a_summary_of_its_own(threshold: str, name: str) -> None:
    assert run(*BATCH, "--refine", "always") == 0
    before = set(Path("run").iterdir())
    assert run("rethreshold", "run", "--threshold", threshold) == 0
    assert run("rethreshold", "run", "--threshold", threshold, "--verifiers", "self") == 0
    made = {path.name for path in set(Path("run").iterdir()) - before}
    assert made == {f"summary-{name}.json", f"summary-{name}-self.json"}


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("output", "in_the_way", "next_"),
    [
        ((), "run/summary-0.50.json", "Make room or choose another place, then give the command again"),
        (("--output", "a.csv"), "a.csv.part", "Run again with another --output\n"),
    ],
)
def test_rethreshold_advises_no_flag_that_it_has_not(
    output: tuple[str, ...], in_the_way: str, next_: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BATCH, "--refine", "always") == 0
    Path(in_the_way).mkdir()
    assert run("rethreshold", "run", "--threshold", "0.5", *output) == 2
    assert f"cannot be written: Is a directory. {next_}" in capsys.readouterr().err


@pytest.mark.usefixtures("engine")
def test_rethreshold_refuses_what_was_never_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BATCH, "--threshold", "0.99") == 0
    assert run("rethreshold", "run", "--threshold", "0.5") == 2
    assert "2 problems need a refinement" in capsys.readouterr().err


@pytest.mark.usefixtures("engine")
def test_rethreshold_of_a_calibrated_vote(capsys: pytest.CaptureFixture[str]) -> None:
    """The run's own P(incorrect) counts, not the mean of its signals; a vote that confirms the answer was asked for."""
    assert run(*BATCH) == 0
    manifest = json.loads(Path("run/manifest.json").read_text())
    manifest["policy"]["verify"]["calibration"] = "calibration.toml"
    Path("run/manifest.json").write_text(json.dumps(manifest))
    believed = Round(0.81, (Signal("self", 0.3),))
    votes = (Candidate("initial", "4", 1.0), Candidate("sample", "7", 2.0)), (Candidate("initial", "4", 1.0),)
    trace = Trace(id="a", question="?", method="refine-then-vote", initial=Attempt("", "4"), rounds=(believed,))
    traces = [msgspec.structs.replace(trace, id=id, candidates=of) for id, of in zip("ab", votes, strict=True)]
    store(*traces)
    for flags, answers in (((), ["7", "4"]), (("--verifiers", "self"), ["4", "4"])):
        assert run("rethreshold", "run", "--threshold", "0.8", "--output", "a.jsonl", *flags) == 0
        assert [json.loads(line)["answer"] for line in Path("a.jsonl").read_text().splitlines()] == answers
    assert "the run's calibration is for all of them" in capsys.readouterr().err
    store(trace)
    assert run("rethreshold", "run", "--threshold", "0.8") == 2, "the gate was shut in the run"


# (what the second round of a run with --threshold 0.8 --rounds 2 came to, another threshold, the answer, why)
SECOND_ROUNDS: list[tuple[Round, str, str | None, str]] = [
    (Round(0.6, ()), "0.7", "7", "the gate of the second round stays shut"),
    (Round(0.6, ()), "0.5", None, "it opens on a refinement that was not asked for"),
    (Round(0.6, ()), "0.95", "5", "the gate of the first round is shut, and what lies behind it is nobody's"),
    (Round(0.9, (), error="broken"), "0.5", "7", "it was asked for, and failed"),
    (Round(0.9, (), refinement=Attempt("", "8")), "0.5", "8", "it was asked for"),
    (Round(None, ()), "0", "7", "an unknown verdict opens nothing"),
]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("second", "threshold", "answer", "why"), SECOND_ROUNDS)
def test_rethreshold_follows_every_round(
    second: Round, threshold: str, answer: str | None, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BATCH, "--threshold", "0.8", "--rounds", "2") == 0
    rounds = Round(0.9, (), refinement=Attempt("", "7")), second
    store(Trace(id="a", question="?", initial=Attempt("", "5"), rounds=rounds))
    code = run("rethreshold", "run", "--threshold", threshold, "--output", "a.jsonl")
    assert code == (2 if answer is None else 0), why
    if answer is None:
        assert "1 problems need a refinement" in capsys.readouterr().err
    else:
        assert json.loads(Path("a.jsonl").read_text())["answer"] == answer, why


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("answer", ["4", None])
def test_rethreshold_refuses_verifiers_that_were_not_asked(
    answer: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A calibrated run stops asking once it is decided; of a solution without an answer it never asks."""
    assert run("batch", "problems.jsonl", "--run", "run", "--verifiers", "self,arithmetic") == 0
    both = Round(0.2, (Signal("self", 0.3), Signal("arithmetic", None)))
    early = Round(0.1, (Signal("self", 0.1),) if answer else (), refinement=Attempt("", "4"))
    asked = Trace(id="asked", question="?", initial=Attempt("", "4"), rounds=(both,))
    store(asked, Trace(id="early", question="?", initial=Attempt("", answer), rounds=(early,)))
    capsys.readouterr()
    assert run("rethreshold", "run", "--threshold", "0.5", "--verifiers", "self,arithmetic") == (2 if answer else 0)
    refusal = (
        "score-local: run: 1 problems were decided before all of self, arithmetic were asked, the first is 'early'."
        " Leave --verifiers out, or make a run without a calibration\n"
    )
    assert capsys.readouterr().err == (refusal if answer else "")
    assert run("rethreshold", "run", "--threshold", "0.5", "--verifiers", "self") == 0, "these were asked"


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("method", ["weighted-vote", "best-of-n", "majority"])
def test_rethreshold_refuses_a_run_without_a_gate(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*BATCH, "--method", method) == 0
    capsys.readouterr()
    assert run("rethreshold", "run", "--threshold", "0.5") == 2
    told = capsys.readouterr().err
    assert told.startswith(f"score-local: run: the method {method} has no gate") and told.count("\n") == 1


@pytest.mark.usefixtures("engine")
def test_show(capsys: pytest.CaptureFixture[str]) -> None:
    run(*BATCH)
    capsys.readouterr()
    assert run("show", "run") == 0
    assert "initial accuracy" in capsys.readouterr().out
    assert run("show", "run", "wrong") == 0
    out = capsys.readouterr().out
    assert "What is 3 + 3?" in out and "the sum." in out and "(refined)" in out
    assert run("show", "run", "wrong", "--json") == 0
    assert json.loads(capsys.readouterr().out)["id"] == "wrong"
    assert run("show", "run", "nobody") == 2
    assert run("show", "nowhere") == 2
    assert "there is no run here" in capsys.readouterr().err


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "\\x1b[2J\\x9bH é 中 \\u202e"),
        ("cp1252", "\\x1b[2J\\x9bH é \\u4e2d \\u202e"),
        ("ascii", "\\x1b[2J\\x9bH \\xe9 \\u4e2d \\u202e"),
    ],
)
def test_what_a_model_wrote_is_shown_and_not_obeyed(encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run(*BATCH)
    trace = Trace(id="a", question="?", initial=Attempt("\x1b[2J\x9bH é 中 \u202e", "4"))
    store(trace)
    for flags in ((), ("--json",)):
        stdout = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stdout, encoding))
        assert run("show", "run", "a", *flags) == 0
        text = stdout.getvalue().decode(encoding)
        assert text.replace("\n", "").isprintable()
        assert msgspec.json.decode(text, type=Trace) == trace if flags else shown in text.splitlines()


@pytest.mark.usefixtures("engine")
def test_solve_prints_the_answer_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("solve", "What is 3 + 3?", "--verifiers", "self,arithmetic") == 0
    captured = capsys.readouterr()
    assert captured.out == "6\n"
    assert "Step 1: easy" in captured.err and "P(incorrect) = 0.95" in captured.err and "Refinement" in captured.err
    assert run("solve", "What is 2 + 2?", "--verifiers", "self", "--json") == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "4"
    assert run("solve", "fail", "--verifiers", "self") == 1
    assert "9999 tokens" in capsys.readouterr().err


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_solve_reads_stdin(start: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    question = io.TextIOWrapper(io.BytesIO(start + "Wie groß ist 3 + 3?\n".encode()), "ascii")
    monkeypatch.setattr(sys, "stdin", question)
    assert run("solve", "-", "--verifiers", "self", "--json") == 0
    assert json.loads(capsys.readouterr().out)["question"] == "Wie groß ist 3 + 3?"


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("-",), "stdin"),
        (("a\udcff?",), "QUESTION"),
        (("a?", "--choice", "a", "--choice", "a\udcff"), "--choice"),
        (("a?", "--answer", "a\udcff"), "--answer"),
    ],
)
def test_solve_refuses_what_is_not_utf8(
    arguments: tuple[str, ...],
    where: str,
    engine: list[ScriptedEngine],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\xff?"), "utf-8"))
    assert run("solve", *arguments) == 2 and engine == []
    told = f"score-local: {where}: not UTF-8: byte 0xff at offset 1. Give it as UTF-8 text\n"
    assert capsys.readouterr().err == told


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("batch", "none.jsonl"), "none.jsonl"),
        (("batch", "problems.jsonl", "--policy", "none.toml"), "none.toml"),
        (("batch", "problems.jsonl", "--verifiers", "gpt4"), "gpt4"),
        (("batch", "problems.jsonl", "--output", "answers.xlsx"), ".jsonl or .csv"),
        (("batch", "problems.jsonl", "--output", "none/answers.csv"), "folder does not exist"),
        (("batch", "problems.jsonl", "--adapter", "refiner"), "ROLE=PATH"),
        (("batch", "problems.jsonl", "--adapter", "judge=x.gguf"), "judge"),
        (("solve", " "), "the question is empty"),
        (("solve", "x?", "--choice", "one"), "1 choices"),
        (("rethreshold", "none", "--threshold", "0.5"), "there is no run here"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], told: str, engine: list[ScriptedEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and told in captured.err
    assert len(captured.err.strip().splitlines()) == 1 and captured.err.startswith("score-local: ")
    assert engine == [], "refused before any model is loaded"


def test_a_model_error_keeps_what_was_solved(
    engine: list[ScriptedEngine], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BATCH, "--limit", "1") == 0

    def refuse(*_: object) -> ScriptedEngine:
        raise ModelError("llama.cpp cannot load it", "m.gguf", "Try: score-local models check")

    monkeypatch.setattr(setup, "engine_of", refuse)
    assert run(*BATCH, "--resume") == 2
    assert "m.gguf: llama.cpp cannot load it. Try" in capsys.readouterr().err
    assert len(Path("run/traces.jsonl").read_text().splitlines()) == 1


INSTANT = pytest.mark.parametrize("arguments", [("--help",), ("batch", "--help"), ("--version",)])


@INSTANT
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code = (
        "import sys; from score_local import cli\n"
        f"try: cli.main({list(arguments)!r})\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'llama_cpp', 'numpy', 'rich', 'textual', 'jinja2', 'msgspec'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.speed
@INSTANT
def test_help_is_instant(arguments: tuple[str, ...]) -> None:
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "score_local", *arguments], check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.3


@pytest.mark.parametrize("flags", [["--parallel", "0"], ["--threshold", "2"], ["--threshold", "x"], ["--rounds", "-1"]])
def test_flags_out_of_range(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run("batch", "problems.jsonl", *flags)
    assert caught.value.code == 2 and flags[0] in capsys.readouterr().err


def test_no_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "score-local batch" in capsys.readouterr().out
