"""`score-local bench` with figures in place of measurements: what it refuses beforehand, what it hands on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from score_local import bench, cli
from score_local.commands import setup
from score_local.engine.protocol import Generate, Request, Sampling
from score_local.engine.scripted import ScriptedEngine
from score_local.errors import EngineError, InputError
from score_local.policy import Policy
from score_local.problem import Problem

SOLVED = bench.Solved(problems=2, seconds=1.0, generated=10, correct=1, peak_memory=2**20)
SHORT = ("--skip-sweep",)
COMPARE = bench.compare
SHAPE = bench.Shape(4, 1024, None)


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Sequence[Problem]]:
    """The problems that were measured with; the first figure, of memory, adds nothing."""
    found: list[Sequence[Problem]] = []

    def memory(*_: object) -> bench.Memory:
        found.append(())
        return bench.Memory(peak=1, allowed=2)

    def compare(_: Path, problems: Sequence[Problem], *__: object) -> dict[str, bench.Solved]:
        found[-1] = problems
        return {"engine": SOLVED, bench.ONE_BY_ONE: msgspec.structs.replace(SOLVED, seconds=3.0)}

    monkeypatch.setattr(setup, "model_of", lambda _: tmp_path / "model.gguf")
    monkeypatch.setattr(bench, "apart", memory)
    monkeypatch.setattr(bench, "compare", compare)
    monkeypatch.chdir(tmp_path)
    Path("problems.jsonl").write_text('{"id": "a", "question": "2 + 2?"}\n{"id": "b", "question": "3 + 3?"}\n')
    return found


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--problems", "none.jsonl"), "none.jsonl: there is no such file"),
        (("--json", "none/a.json"), "none/a.json: its folder does not exist"),
        (("--json", "."), ".: is a folder"),
        (("--problems", "problems.jsonl", "--json", "problems.jsonl"), "is the problem file, which would be lost"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    flags: tuple[str, ...], told: str, measured: list[Sequence[Problem]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("problems.jsonl").read_bytes()
    assert cli.main(["bench", *SHORT, *flags]) == 2
    captured = capsys.readouterr()
    assert told in captured.err and captured.out == "" and measured == []
    assert Path("problems.jsonl").read_bytes() == before


def test_a_faulty_line_is_told_and_the_others_are_measured_with(
    measured: list[Sequence[Problem]], capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("problems.jsonl").open("a") as file:
        file.write("{broken\n")
    assert cli.main(["bench", *SHORT, "--problems", "problems.jsonl", "--json", "a.json"]) == 2
    assert "problems.jsonl:3: " in capsys.readouterr().err
    assert [problem.id for problem in measured[0]] == ["a", "b"]
    assert json.loads(Path("a.json").read_text())["problems"]["engine"]["correct"] == 1


def test_each_way_is_held_against_the_single_sequence_loop(
    measured: list[Sequence[Problem]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", *SHORT]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["engine", "7200", "3.00"] in [row[:3] for row in rows]


def test_the_shipped_problems_up_to_the_limit(measured: list[Sequence[Problem]]) -> None:
    assert cli.main(["bench", *SHORT]) == 0
    assert cli.main(["bench", *SHORT, "--limit", "1"]) == 0
    assert len(measured[0]) > 1 and measured[1] == measured[0][:1]


def solving_all_but(too_long: list[str], solved: list[list[str]]) -> Callable[..., object]:
    """What runs apart: what is too long, then the ids that each way of solving is given."""

    def apart(function: Callable[..., object], _: Path, problems: Sequence[Problem], *__: object) -> object:
        if function is bench.too_long:
            return too_long
        solved.append([problem.id for problem in problems])
        return msgspec.structs.replace(SOLVED, problems=len(problems))

    return apart


PROBLEMS = [Problem(key, "2 + 2?", "4") for key in "abc"]


def test_a_problem_that_does_not_fit_is_left_out_of_both_by_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    solved: list[list[str]] = []
    monkeypatch.setattr(bench, "apart", solving_all_but(["b"], solved))
    ways = COMPARE(Path("m.gguf"), PROBLEMS, SHAPE)
    assert {name: way.problems for name, way in ways.items()} == {"engine": 2, "to the end": 2, "one by one": 2}
    assert solved == [["a"], ["a", "c"], ["a", "c"], ["c"]]
    assert capsys.readouterr().err == "score-local: left out, as the prompt is too long for --context: b\n"


def test_where_no_problem_fits_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    solved: list[list[str]] = []
    monkeypatch.setattr(bench, "apart", solving_all_but(["a", "b", "c"], solved))
    with pytest.raises(InputError, match=r"--context: the prompts of all problems are too long \(a, b, c\). Raise it"):
        COMPARE(Path("m.gguf"), PROBLEMS, SHAPE)
    assert solved == []


@pytest.mark.parametrize("sampling", [bench.GREEDY, bench.TO_THE_END])
def test_the_engine_is_asked_as_batch_asks_and_for_as_much_as_the_plain_loop_writes(
    sampling: Sampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []

    def script(request: Request) -> str:
        asked.append(request)
        return "\\boxed{4}"

    monkeypatch.setattr(bench, "open_engine", lambda *_, **__: ScriptedEngine(script))
    found = bench.solve_batched(Path("m.gguf"), PROBLEMS, sampling, SHAPE)
    assert (found.problems, found.correct) == (3, 3)
    for request in asked:
        assert isinstance(request, Generate) and request.sampling == sampling
    assert Policy().solve.sampling(0) == bench.GREEDY and Sampling(loop_window=0) == bench.TO_THE_END


def test_a_reply_that_failed_is_no_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "open_engine", lambda *_, **__: ScriptedEngine(lambda _: EngineError("out of memory")))
    with pytest.raises(EngineError, match="out of memory"):
        bench.solve_batched(Path("m.gguf"), PROBLEMS, bench.GREEDY, SHAPE)


def test_without_the_loop_no_problem_is_read(measured: list[Sequence[Problem]]) -> None:
    assert cli.main(["bench", *SHORT, "--skip-loop", "--problems", "none.jsonl"]) == 0
    assert measured == [()]
