"""`score-local eval` as a user runs it, with a scripted engine in place of the model."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from score_local import cli
from score_local.append_only import AppendOnly
from score_local.commands import setup
from score_local.engine.scripted import ScriptedEngine
from score_local.errors import EngineError, RunError
from score_local.policy import Policy
from score_local.problem import selected
from score_local.problem_files import read_problems
from score_local.runs import read_traces
from tests.evaluate.arithmetic_engine import engine, write_problems

PLAIN = "solve,majority-2,refine-self,refine-oracle"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[ScriptedEngine]]:
    """The engines that were opened in place of the model."""
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    found: list[ScriptedEngine] = []

    def open_scripted(*_: object) -> ScriptedEngine:
        found.append(engine())
        return found[-1]

    monkeypatch.setattr(setup, "open_model", open_scripted)
    monkeypatch.setattr(setup, "model_of", lambda options: tmp_path / "model.gguf")
    monkeypatch.chdir(tmp_path)
    write_problems(tmp_path / "sums.jsonl", 160)
    yield found


def run(*arguments: str) -> int:
    return cli.main(["eval", *arguments])


def right(name: str, out: str = "out") -> int:
    return sum(trace.final_correct is True for trace in read_traces(Path(out) / "runs" / name))


def test_policies_share_what_they_ask(opened: list[ScriptedEngine]) -> None:
    assert run("sums.jsonl", "--out", "out", "--limit", "40", "--policies", PLAIN) == 0
    phases = [request.phase for request in opened[0].requests]
    assert phases.count("solve") == 40 and phases.count("sample") == 80 and phases.count("verify") == 40
    assert right("refine-oracle") > right("solve") > 0
    assert sorted(path.name for path in Path("out/runs").iterdir()) == sorted(PLAIN.split(","))


def test_a_random_sample_is_reported_on(opened: list[ScriptedEngine]) -> None:
    drawn = selected(read_problems("sums.jsonl").problems, 20, shuffle=7)
    assert run("sums.jsonl", "--out", "out", "--limit", "20", "--shuffle", "7", "--policies", "solve") == 0
    assert {trace.id for trace in read_traces(Path("out/runs/solve"))} == {problem.id for problem in drawn}
    assert run("sums.jsonl", "--out", "out", "--limit", "21", "--shuffle", "7", "--policies", "solve", "--resume") == 0
    assert len(opened[1].requests) == 1, "a larger sample of one seed holds the smaller one"


def test_everything_is_computed_again_without_the_model(opened: list[ScriptedEngine]) -> None:
    arguments = ("sums.jsonl", "--out", "out", "--limit", "40", "--policies", PLAIN)
    assert run(*arguments) == 0
    before = {path: path.read_bytes() for path in Path("out").rglob("*.json*") if path.parts[1] == "runs"}
    assert run(*arguments) == 2, "without --resume it is not touched"
    assert run(*arguments, "--resume") == 0 and len(opened) == 1
    assert before == {path: path.read_bytes() for path in before}
    assert run(*arguments, "--resume", "--policies", "majority-3") == 0
    assert {request.phase for request in opened[1].requests} == {"sample"}, "only the third sample is new"


def test_calibrations_are_fitted_on_the_other_half(opened: list[ScriptedEngine]) -> None:
    assert run("sums.jsonl", "--out", "out", "--policies", "solve,refine-self-fitted") == 0
    reported = {trace.id for trace in read_traces(Path("out/runs/refine-self-fitted"))}
    assert reported == {trace.id for trace in read_traces(Path("out/runs/solve"))} and 60 < len(reported) < 100
    fitted = (Path("out/calibrations") / "refine-self-fitted.toml").read_text()
    assert f"n = {160 - len(reported)}" in fitted
    assert right("refine-self-fitted") > right("solve")
    assert run("sums.jsonl", "--out", "out", "--resume", "--policies", "solve", "--fit-on", "other-half") == 0
    assert len(read_traces(Path("out/runs/solve"))) == 160, "with nothing to fit all are reported on"
    assert len(opened) == 1


def test_problems_that_a_given_calibration_was_fitted_on_are_left_out_of_the_report(
    opened: list[ScriptedEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sums.jsonl", "--out", "first", "--policies", "refine-self-fitted") == 0
    unseen = {trace.id for trace in read_traces(Path("first/runs/refine-self-fitted"))}
    Path("mine.toml").write_text(
        '[verify]\nverifiers = ["self"]\ncalibration = "first/calibrations/refine-self-fitted.toml"\n'
    )
    capsys.readouterr()
    assert run("sums.jsonl", "--out", "out", "--policies", "solve,mine.toml") == 0
    told = capsys.readouterr()
    for name in ("solve", "mine"):
        assert {trace.id for trace in read_traces(Path("out/runs") / name)} == unseen
    count = 160 - len(unseen)
    assert f"score-local: {count} problems are left out: a policy's calibration was fitted on them" in told.err
    assert f"{len(unseen)} of 160 are reported on; {count} are left out, as a policy's own calibration" in told.out
    kept = [line for line in Path("sums.jsonl").read_text().splitlines() if json.loads(line)["id"] not in unseen]
    Path("seen.jsonl").write_text("".join(line.replace('"sum-', '"another-') + "\n" for line in kept))
    assert run("seen.jsonl", "--out", "none", "--policies", "solve,mine.toml") == 2
    assert "was fitted on every problem that could be reported on" in capsys.readouterr().err


def test_a_vote_that_never_refines_is_fitted_without_refinements(opened: list[ScriptedEngine]) -> None:
    """Its gate, in the calibration's table of thresholds, does to the problems what it does at run time."""
    text = 'base = "calibrated-vote"\n[verify]\ncalibration = "fit"\nverifiers = ["self", "consistency"]\n'
    Path("mine.toml").write_text(text)
    assert run("sums.jsonl", "--out", "out", "--policies", "mine.toml") == 0
    assert {request.phase for request in opened[0].requests} == {"solve", "verify", "sample"}
    report = json.loads(Path("out/report.json").read_text())
    ((fit,), (result,)) = report["fits"].values(), report["results"]
    assert fit["refine"] and fit["verdict"].startswith("refinement is on: out of fold the gate broke")
    at = next(point for point in fit["gate"] if point["threshold"] == fit["threshold"])
    summary = result["summary"]
    assert (at["fixed"], at["broken"]) == (summary["fixed"]["count"], summary["broken"]["count"])
    assert summary["oracle"]["missing"] == 0 and summary["oracle"]["recovered"] <= 1


def test_a_policy_of_ones_own_over_a_shipped_one(opened: list[ScriptedEngine]) -> None:
    Path("mine.toml").write_text('base = "refine-self"\n[verify]\nthreshold = 0.0\n')
    assert run("sums.jsonl", "--out", "out", "--limit", "30", "--policies", "mine.toml,refine-always") == 0
    assert right("mine") == right("refine-always") and all(t.refined for t in read_traces(Path("out/runs/mine")))


REFUSED = [
    (("sums.jsonl",), "which problems, and where to?"),
    (("--out", "out"), "which problems, and where to?"),
    (("none.jsonl", "--out", "out"), "no such file"),
    (("open.jsonl", "--out", "out"), "no problem has a gold answer"),
    (("sums.jsonl", "--out", "out", "--policies", "majorty-3"), "there is no policy 'majorty-3'.*majority-3"),
    (("sums.jsonl", "--out", "out", "--policies", "nothing-*"), "there is no policy 'nothing-"),
    (("sums.jsonl", "--out", "out", "--policies", "none.toml"), "none.toml: No such file"),
    (("sums.jsonl", "--out", "out", "--policies", "broken.toml"), "broken.toml: not a TOML file"),
    (("sums.jsonl", "--out", "out", "--policies", "base.toml"), "base.toml: there is no base 'nobody'"),
    (("sums.jsonl", "--out", "out", "--policies", "key.toml"), "key.toml: .*unknown field"),
    (("sums.jsonl", "--out", "out", "--policies", "solve,solve.toml"), "the policy 'solve' comes twice"),
    (
        ("sums.jsonl", "--out", "out", "--policies", "refine-self-fitted", "--limit", "30"),
        "needs at least 10 right and",
    ),
    (("one-class.jsonl", "--out", "out", "--policies", "refine-self-fitted"), "With one class|needs at least 10 right"),
    (("sums.jsonl", "--out", "sums.jsonl", "--policies", "solve"), "cannot be written"),
    (("sums.jsonl", "--out", "out", "--policies", ","), "no policy is named.*majority-1"),
    (("sums.jsonl", "--out", "out", "--policies", ""), "no policy is named"),
]


@pytest.mark.parametrize(("arguments", "told"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.usefixtures("opened")
def test_what_cannot_be_done_is_one_line(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("open.jsonl").write_text('{"question": "What is 1 + 2?"}\n')
    lines = [json.loads(line) for line in Path("sums.jsonl").read_text().splitlines()]
    Path("one-class.jsonl").write_text("".join(json.dumps(line | {"answer": "-1"}) + "\n" for line in lines))
    Path("broken.toml").write_text("seed = \n")
    Path("base.toml").write_text('base = "nobody"\n')
    Path("key.toml").write_text("tempo = 3\n")
    Path("solve.toml").write_text("seed = 1\n")
    assert run(*arguments) == 2
    lines_told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("score-local:")]
    assert len(lines_told) == 1
    assert re.search(told, lines_told[0])


def test_the_record_of_another_model_is_refused(
    opened: list[ScriptedEngine], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("sums.jsonl", "--out", "out", "--limit", "5", "--policies", "solve", "--resume")
    assert run(*arguments) == 0
    (tmp_path / "model.gguf").write_bytes(b"GGUF, another")
    assert run(*arguments) == 2 and "made with another model" in capsys.readouterr().err
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with Path("out/replies.jsonl").open("ab") as file:
        file.write(b"damage\n")
    assert run(*arguments) == 2 and "replies.jsonl:7: damaged line" in capsys.readouterr().err


SCORE_LOCAL = """
import sys
from pathlib import Path
from score_local import cli
from score_local.commands import setup
from score_local.engine.scripted import ScriptedEngine
from tests.evaluate.arithmetic_engine import script
setup.model_of = lambda options: Path("model.gguf")
setup.open_model = lambda *_: ScriptedEngine(script, capacity=4, rate=float(sys.argv[1]))
sys.exit(cli.main(["eval", *sys.argv[2:]]))
"""


def start(rate: float) -> subprocess.Popen[str]:
    arguments = ["sums.jsonl", "--out", "killed", "--resume", "--limit", "60", "--policies", PLAIN]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    command = [sys.executable, "-c", SCORE_LOCAL, str(rate), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for_replies(count: int) -> None:
    deadline, path = time.monotonic() + 60, Path("killed/replies.jsonl")
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.01)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.usefixtures("opened")
def test_kill_9_loses_only_what_was_in_flight() -> None:
    for wanted in (20, 60, 120):
        process = start(400)
        wait_for_replies(wanted)
        process.kill()
        process.communicate()
    process = start(0)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert run("sums.jsonl", "--out", "whole", "--limit", "60", "--policies", PLAIN) == 0
    assert Path("killed/replies.jsonl").read_bytes().count(b"\n") == Path("whole/replies.jsonl").read_bytes().count(
        b"\n"
    )
    for name in PLAIN.split(","):
        assert [t.answer for t in read_traces(Path("killed/runs") / name)] == [
            t.answer for t in read_traces(Path("whole/runs") / name)
        ]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.usefixtures("opened")
def test_an_interrupt_says_how_to_go_on() -> None:
    process = start(100)
    wait_for_replies(10)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in told and "Traceback" not in told


def test_each_refiner_costs_only_its_own_requests(
    opened: list[ScriptedEngine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two policies, an adapter each for the same role: the engine knows them by the hashes of their files."""
    loaded: list[dict[str, Path]] = []

    def open_scripted(_: object, model: Path, adapters: dict[str, Path], parallel: int) -> ScriptedEngine:
        loaded.append(adapters)
        opened.append(engine())
        return opened[-1]

    def adapters_of(policy: Policy, *_: object) -> dict[str, SimpleNamespace]:
        return {role: SimpleNamespace(file=Path(file)) for role, file in policy.adapters.items()}

    monkeypatch.setattr(setup, "open_model", open_scripted)
    monkeypatch.setattr(setup, "adapters_of", adapters_of)
    hashes = {}
    for name in ("first", "second"):
        (tmp_path / f"{name}.gguf").write_bytes(name.encode())
        (tmp_path / f"{name}.toml").write_text(f'base = "refine-always"\n[adapters]\nrefiner = "{name}.gguf"\n')
        hashes[hashlib.sha256(name.encode()).hexdigest()] = Path(f"{name}.gguf")
    arguments = ("sums.jsonl", "--out", "out", "--limit", "10", "--policies")
    assert run(*arguments, "refine-always,first.toml,second.toml") == 0
    assert loaded == [hashes]
    asked = [(request.phase, request.adapter) for request in opened[0].requests]
    assert len(asked) == 50 and {adapter for phase, adapter in asked if phase == "refine"} == {None, *hashes}
    assert {adapter for phase, adapter in asked if phase != "refine"} == {None}
    (tmp_path / "second.gguf").write_bytes(b"trained again")
    assert run(*arguments, "refine-always,first.toml,second.toml", "--resume") == 0
    assert [request.phase for request in opened[1].requests] == ["refine"] * 10


def test_the_judge_has_a_record_of_its_own(opened: list[ScriptedEngine], monkeypatch: pytest.MonkeyPatch) -> None:
    judges: list[ScriptedEngine] = []

    def judge_of(_: object) -> ScriptedEngine:
        judges.append(ScriptedEngine(lambda request: (-0.1, -3.0)))
        return judges[-1]

    monkeypatch.setattr(setup, "judge_of", judge_of)
    Path("judge.gguf").write_bytes(b"GGUF, the judge")
    judged = '[verify]\nverifiers = ["model"]\n[judge]\nmodel = "judge.gguf"\n'
    Path("judged.toml").write_text(judged)
    Path("other.toml").write_text(judged.replace("judge.gguf", "model.gguf"))
    arguments = ("sums.jsonl", "--out", "out", "--limit", "10", "--resume", "--policies")
    assert run(*arguments, "judged.toml") == 0
    assert len(judges[0].requests) == 10 and {trace.p_incorrect for trace in read_traces(Path("out/runs/judged"))}
    assert run(*arguments, "judged.toml") == 0 and len(judges) == len(opened) == 1
    assert run(*arguments, "judged.toml,other.toml") == 2, "one judge for all"


def test_the_words_of_another_judge_at_the_same_place_are_not_taken_for_its_own(
    opened: list[ScriptedEngine], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "judge_of", lambda _: ScriptedEngine(lambda request: (-0.1, -3.0)))
    arguments = ("sums.jsonl", "--out", "out", "--limit", "10", "--resume", "--policies")
    for name in ("first", "second"):
        judge = f'[judge]\nmodel = "{name}"\nurl = "http://127.0.0.1:9/v1"\n'
        Path(f"{name}.toml").write_text(f'[verify]\nverifiers = ["model"]\n{judge}')
    assert run(*arguments, "first.toml") == 0
    assert run(*arguments, "second.toml") == 2
    assert "judge" in capsys.readouterr().err


def test_two_reports_are_set_side_by_side(opened: list[ScriptedEngine], capsys: pytest.CaptureFixture[str]) -> None:
    for out, limit in (("a", "40"), ("b", "30")):
        assert run("sums.jsonl", "--out", out, "--limit", limit, "--policies", "solve,refine-self") == 0
    capsys.readouterr()
    assert run("--compare", "a", "b") == 0
    shown = capsys.readouterr().out
    assert "40 in A, 30 in B, 30 in both" in shown and "| refine-self |" in shown
    assert run("sums.jsonl", "--out", "c", "--limit", "30", "--policies", "refine-always") == 0
    assert run("--compare", "a", "c") == 0
    assert "40 in A, 30 in B, 30 in both" in capsys.readouterr().out, "no policy is in both"
    assert run("--compare", "a", "none") == 2
    assert "none: there is no report here" in capsys.readouterr().err


def test_the_report_is_data_and_the_rest_is_talk(
    opened: list[ScriptedEngine], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sums.jsonl", "--out", "out", "--limit", "20", "--policies", "solve,majority-2,refine-self") == 0
    told = capsys.readouterr()
    assert told.out == Path("out/report.md").read_text() and "20/20" not in told.out
    assert "60/60 attempts" in told.err and "report: out" in told.err
    report = json.loads(Path("out/report.json").read_text())
    assert [result["name"] for result in report["results"]] == ["solve", "refine-self", "majority-2"]
    assert len(report["problems"]) == 20 and report["setup"]["model"]["name"] == "model.gguf"


@pytest.mark.parametrize(("limit", "asked"), [("30", 30), ("160", 160)])
def test_policies_that_cannot_be_fitted_are_left_out_and_the_others_reported(
    opened: list[ScriptedEngine], capsys: pytest.CaptureFixture[str], limit: str, asked: int
) -> None:
    """30 problems are too few for any model, so nothing is asked for them; 160 that are all wrong show it later."""
    lines = [json.loads(line) for line in Path("sums.jsonl").read_text().splitlines()]
    Path("wrong.jsonl").write_text("".join(json.dumps(line | {"answer": "-1"}) + "\n" for line in lines))
    policies = "solve,refine-self-fitted,refine-calibrated"
    assert run("wrong.jsonl", "--out", "out", "--limit", limit, "--policies", policies) == 1
    told = capsys.readouterr().err
    assert re.search(r"refine-self-fitted.*left out: .*needs at least", told) and "refine-calibrated" in told
    assert len(read_traces(Path("out/runs/solve"))) == asked, "nothing was fitted on the other half"
    assert sorted(path.name for path in Path("out/runs").iterdir()) == ["solve"]
    assert {request.phase for request in opened[0].requests} == {"solve"} or limit == "160"


@pytest.mark.usefixtures("opened")
def test_a_line_that_cannot_be_read_is_told_and_the_others_reported_on(capsys: pytest.CaptureFixture[str]) -> None:
    with Path("sums.jsonl").open("a") as file:
        file.write("{broken\n")
    assert run("sums.jsonl", "--out", "out", "--limit", "4", "--policies", "solve") == 2
    assert "sums.jsonl:161: " in capsys.readouterr().err and len(read_traces(Path("out/runs/solve"))) == 4


def test_attempts_that_failed_are_told_and_tried_again(
    opened: list[ScriptedEngine], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "open_model", lambda *_: ScriptedEngine(lambda request: EngineError("no room")))
    arguments = ("sums.jsonl", "--out", "out", "--limit", "5", "--policies", "solve", "--resume")
    assert run(*arguments) == 1
    assert "5 attempts failed; --resume tries them again" in capsys.readouterr().err
    monkeypatch.setattr(setup, "open_model", lambda *_: engine())
    assert run(*arguments) == 0


def test_an_engine_that_died_ends_the_run(
    opened: list[ScriptedEngine], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "open_model", lambda *_: ScriptedEngine(lambda request: EngineError("it died")))
    assert run("sums.jsonl", "--out", "out", "--policies", "solve, majority-2") == 2
    assert "40 attempts failed one after another, the last: it died" in capsys.readouterr().err
    assert not Path("out/report.json").exists()


def test_a_full_disk_ends_the_run(
    opened: list[ScriptedEngine], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    append, written = AppendOnly.append, []

    def fill(self: AppendOnly, line: bytes) -> None:
        if len(written) == 12:
            raise RunError("cannot be written: No space left on device", str(self.path))
        written.append(line)
        append(self, line)

    monkeypatch.setattr(AppendOnly, "append", fill)
    arguments = ("sums.jsonl", "--out", "out", "--policies", "solve", "--resume")
    assert run(*arguments) == 2
    assert "No space left on device" in capsys.readouterr().err
    monkeypatch.setattr(AppendOnly, "append", append)
    assert run(*arguments) == 0 and len(opened[1].requests) == 160 - 11
