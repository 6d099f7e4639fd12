"""The batch screen, by its keys, and the run folder that it shares with the command line."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from score_local import cli
from score_local.commands import setup
from score_local.engine.protocol import Request, Score
from score_local.engine.scripted import ScriptedEngine
from score_local.errors import EngineDied, EngineError, RunError
from score_local.policy import load_policy
from score_local.problem import Problem
from score_local.runs import read_manifest, read_traces
from score_local.trace import Trace
from tests.tui.host import drive, services, until
from tests.tui.snapshots import assert_looks_as_before, screen_text
from tui.batch_job import BatchJob, Solver, open_batch, turn_of
from tui.screens.batch import BatchScreen
from tui.screens.table import LiteralTable
from tui.turns import problem_of

POLICY = load_policy(None, {"verify.verifiers": ["self"]})
PROBLEMS = [
    {"id": "right", "question": "What is 2 + 2?", "answer": "4"},
    {"id": "wrong", "question": "What is [bold]3 + 3[/]?", "answer": "6"},
    {"id": "open", "question": "What is 5 + 5?"},
    {"id": "fail", "question": "Please fail"},
]


def script(request: Request) -> str | tuple[float, ...] | EngineError:
    """Solves 2 + 2, is wrong about the rest and doubts it, and repairs it; one request fails."""
    turns = [m.content for m in request.messages if m.role == "user"]
    question = turns[-1] if request.phase == "solve" else turns[-2]
    if isinstance(request, Score):
        return (-0.1, -3.0) if "2 + 2" in question else (-3.0, -0.1)
    if request.phase == "refine":
        return "Critique: the sum.\nCorrected solution:\nStep 1: 3 + 3 = 6\n\\boxed{6}"
    return EngineError("it failed") if "fail" in question else "Step 1: easy\n\\boxed{4}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(p) + "\n" for p in PROBLEMS))
    return tmp_path


@pytest.fixture
def engine() -> Iterator[ScriptedEngine]:
    made = ScriptedEngine(script)
    yield made
    made.close()


def many(path: Path, count: int) -> str:
    lines = (json.dumps({"id": str(i), "question": f"What is 2 + 2, time {i}?", "answer": "4"}) for i in range(count))
    path.write_text("\n".join(lines))
    return str(path)


def screen_with(engine: ScriptedEngine | None, file: str = "problems.jsonl") -> BatchScreen:
    return BatchScreen(services(Path(), engine, POLICY), file)


async def opened(pilot: Pilot[None], count: int = len(PROBLEMS)) -> None:
    await until(pilot, lambda: pilot.app.screen.query_one(LiteralTable).row_count == count)


async def says(pilot: Pilot[None], text: str) -> None:
    await until(pilot, lambda: text in screen_text(pilot.app))


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_it_looks_as_before(engine: ScriptedEngine, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("score_local.commands.progress.Tally.pace", lambda self: f"{self.done}/{self.total} done")

    async def act(pilot: Pilot[None]) -> None:
        await opened(pilot)
        await pilot.press("s")
        await says(pilot, "Done: 4/4 done")
        assert_looks_as_before(pilot.app, f"batch-{size[0]}")

    drive(screen_with(engine), act, size)


def test_the_table_fills_and_the_run_folder_is_that_of_the_command_line(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await opened(pilot)
        assert screen_text(pilot.app).count("waiting") == 4
        await pilot.press("s")
        await says(pilot, "Done: 4/4 done")
        shown = screen_text(pilot.app)
        assert "initial 50.0%, final 100.0%, 1 failed" in shown and "What is [bold]3 + 3[/]?" in shown
        assert {"refined", "solved", "failed"} <= set(shown.split())

    drive(screen_with(engine), act, (140, 45))
    run = Path("runs/problems")
    answers = {trace.id: trace.answer for trace in read_traces(run)}
    assert answers == {"right": "4", "wrong": "6", "open": "6", "fail": None}
    assert json.loads((run / "summary.json").read_text())["problems"] == 4
    assert read_manifest(run).context == 2048

    monkeypatch.setattr(setup, "model_of", lambda options: Path("model.gguf"))
    monkeypatch.setattr(setup, "engine_of", lambda *_: ScriptedEngine(script))
    assert cli.main(["batch", "problems.jsonl", "--run", str(run), "--resume", "--verifiers", "self"]) == 1
    assert "3 of them done before" in capsys.readouterr().err


def test_pause_finishes_what_runs_and_start_goes_on() -> None:
    slow = ScriptedEngine(script, rate=30)

    async def act(pilot: Pilot[None]) -> None:
        await opened(pilot, 60)
        await pilot.press("s")
        await says(pilot, "solved")
        await pilot.press("p")
        await says(pilot, "Paused: s goes on")
        paused = len(read_traces(Path("runs/many")))
        assert 0 < paused < 60
        await pilot.press("s")
        await until(pilot, lambda: len(read_traces(Path("runs/many"))) > paused)
        await says(pilot, "Done")

    drive(screen_with(slow, many(Path("many.jsonl"), 60)), act)
    slow.close()
    assert len({trace.id for trace in read_traces(Path("runs/many"))}) == 60
    assert all(trace.status == "solved" for trace in read_traces(Path("runs/many")))


def test_closing_cancels_what_runs_and_writes_no_failures() -> None:
    slow = ScriptedEngine(script, rate=20)

    async def act(pilot: Pilot[None]) -> None:
        await opened(pilot, 60)
        await pilot.press("s")
        await says(pilot, "solved")
        began = time.monotonic()
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, BatchScreen))
        assert time.monotonic() - began < 2

    assert drive(screen_with(slow, many(Path("many.jsonl"), 60)), act) is None
    slow.close()
    traces = read_traces(Path("runs/many"))
    assert 0 < len(traces) < 60 and all(trace.status == "solved" for trace in traces)


def test_an_engine_that_dies_ends_the_batch_and_not_the_run() -> None:
    asked: list[Request] = []

    def dying(request: Request) -> str | tuple[float, ...] | EngineError:
        asked.append(request)
        return EngineDied("the engine has died") if len(asked) > 20 else script(request)

    dead = ScriptedEngine(dying)

    async def act(pilot: Pilot[None]) -> None:
        await opened(pilot, 60)
        await pilot.press("s")
        await says(pilot, "the engine has died")
        await says(pilot, "F5")

    drive(screen_with(dead, many(Path("many.jsonl"), 60)), act)
    dead.close()
    statuses = [trace.status for trace in read_traces(Path("runs/many"))]
    assert statuses.count("solved") >= 8 and statuses.count("failed") <= dead.capacity


def test_an_app_that_ends_cancels_its_batch() -> None:
    slow = ScriptedEngine(script, rate=20)

    async def act(pilot: Pilot[None]) -> None:
        await opened(pilot, 60)
        await pilot.press("s")
        await says(pilot, "solved")
        pilot.app.exit()

    drive(screen_with(slow, many(Path("many.jsonl"), 60)), act)
    deadline = time.monotonic() + 10
    while any("asyncio" in thread.name and thread.is_alive() for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    slow.close()
    assert all(trace.status == "solved" for trace in read_traces(Path("runs/many")))


def test_a_problem_is_opened_as_a_card_and_gone_on_with(engine: ScriptedEngine) -> None:
    screen = screen_with(engine)

    async def act(pilot: Pilot[None]) -> None:
        await opened(pilot)
        await pilot.press("enter")
        await says(pilot, "It is not solved yet")
        await pilot.press("s")
        await says(pilot, "Done")
        await pilot.press("down", "enter")
        await says(pilot, "Problem wrong")
        await says(pilot, "Refined solution")
        assert "What is [bold]3 + 3[/]?" in screen_text(pilot.app)
        await pilot.press("r")
        await says(pilot, "o opens it in a conversation")
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        await pilot.press("enter")
        await says(pilot, "Problem wrong")
        await pilot.press("o")
        await until(pilot, lambda: screen not in pilot.app.screen_stack)

    key = drive(screen, act)
    (turn,) = screen._services.history.turns(key)
    assert (turn.question, turn.answer, turn.state) == ("What is [bold]3 + 3[/]?", "6", "done")
    assert turn.trace and turn.trace.refined and screen._services.history.conversation(key).title == turn.question


def test_a_choice_problem_keeps_its_choices_and_a_failed_one_its_error() -> None:
    problem = Problem("p", "Which?", choices=("red", "blue"), kind="choice")
    turn = turn_of(problem, Trace(id="p", question="Which?", status="failed", error="too long"))
    assert (turn.question, turn.state, turn.error) == ("Which?\nA. red\nB. blue", "failed", "too long")
    assert problem_of(turn).choices == problem.choices


@pytest.mark.parametrize(
    ("file", "told"),
    [("-", "-: problems cannot come from stdin"), ("~nobody-here/a.csv", "~nobody-here: there is no such folder")],
)
def test_what_is_no_file_is_told(file: str, told: str) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await pilot.press(*file, "enter")
        await says(pilot, told)

    drive(screen_with(None, ""), act, (140, 24))


def test_another_file_gets_another_folder(engine: ScriptedEngine) -> None:
    many(Path("many.jsonl"), 3)

    async def act(pilot: Pilot[None]) -> None:
        await opened(pilot)
        for file, folder, count, target in (
            ("many.jsonl", "runs/problems", 3, "runs/many"),
            ("problems.jsonl", "mine", 4, "mine"),
            ("many.jsonl", "mine", 3, "mine"),
        ):
            pilot.app.screen.query_one("#folder", Input).value = folder
            pilot.app.screen.query_one("#file", Input).focus().value = file
            await pilot.press("enter")
            await opened(pilot, count)
            await until(pilot, lambda target=target: pilot.app.screen.query_one("#folder", Input).value == target)

    drive(screen_with(engine), act)


def test_a_run_can_be_looked_at_without_a_model(engine: ScriptedEngine) -> None:
    batch = open_batch("problems.jsonl", Path("runs/problems"))
    Path("model.gguf").write_bytes(b"GGUF")
    BatchJob(batch, Solver(engine, POLICY, Path("model.gguf"), 2048)).run(lambda *_: None, lambda _: None)

    async def act(pilot: Pilot[None]) -> None:
        await opened(pilot)
        await says(pilot, "4 problems, 4 of them in runs/problems")
        await pilot.press("s")
        await says(pilot, "No model is loaded")

    drive(screen_with(None), act)


def test_only_the_problems_of_the_file_are_counted(engine: ScriptedEngine) -> None:
    solver = Solver(engine, POLICY, Path("model.gguf"), 2048)
    Path("model.gguf").write_bytes(b"GGUF")
    BatchJob(open_batch(many(Path("many.jsonl"), 5), Path("run")), solver).run(lambda *_: None, lambda _: None)
    shorter = open_batch(many(Path("many.jsonl"), 2), Path("run"))
    assert list(shorter.traces) == ["0", "1"]
    Path("many.jsonl").write_text('{"id": "1", "question": "Another?", "answer": "4"}')
    assert open_batch("many.jsonl", Path("run")).traces == {}, "the same id, another problem"


@pytest.mark.parametrize(
    ("file", "content", "what"),
    [
        ("none.jsonl", None, "there is no such file"),
        ("empty.jsonl", b"", "is empty"),
        ("model.jsonl", b"GGUF" + bytes(99), "is a GGUF model"),
        ("bad.jsonl", b'{"question": "2 + 2?"}\n{"question": \n', "1 line cannot be read"),
    ],
)
def test_a_file_that_is_none_is_told(file: str, content: bytes | None, what: str) -> None:
    if content is not None:
        Path(file).write_bytes(content)

    async def act(pilot: Pilot[None]) -> None:
        screen = pilot.app.screen
        screen.query_one("#file", Input).value = file
        await pilot.press("enter")
        await until(pilot, lambda: what in " ".join(screen_text(pilot.app).split()))

    drive(screen_with(None, ""), act)


def test_a_run_of_something_else_is_refused_and_told(engine: ScriptedEngine) -> None:
    async def act(pilot: Pilot[None]) -> None:
        await opened(pilot)
        await pilot.press("s")
        await says(pilot, "Done")
        Path("problems.jsonl").write_text(json.dumps({"id": "right", "question": "another"}))
        screen = pilot.app.screen
        screen.query_one("#file").focus()
        await pilot.press("enter")
        await opened(pilot, 1)
        await pilot.press("s")
        await says(pilot, "problems differ")

    drive(screen_with(engine), act)


def test_a_run_that_another_process_writes_is_told(engine: ScriptedEngine) -> None:
    batch = open_batch("problems.jsonl", Path("run"))
    Path("model.gguf").write_bytes(b"GGUF")
    solver = Solver(engine, POLICY, Path("model.gguf"), 2048)
    job = BatchJob(batch, solver)
    held: list[RunError] = []

    def again(trace: Trace) -> None:
        try:
            BatchJob(batch, solver).run(lambda *_: None, lambda _: None)
        except RunError as error:
            held.append(error)

    job.run(lambda *_: None, again)
    assert len(held) == 4 and "another process" in held[0].what


def test_a_pause_before_the_first_problem_solves_nothing(engine: ScriptedEngine) -> None:
    Path("model.gguf").write_bytes(b"GGUF")
    job = BatchJob(open_batch("problems.jsonl", Path("run")), Solver(engine, POLICY, Path("model.gguf"), 2048))
    job.pause()
    job.run(lambda *_: None, lambda _: None)
    assert engine.requests == [] and read_traces(Path("run")) == []


@pytest.mark.speed
def test_five_thousand_problems_stay_fast(engine: ScriptedEngine) -> None:
    file = many(Path("many.jsonl"), 5000)
    Path("runs/many").mkdir(parents=True)
    solved = Trace(id="0", question="What is 2 + 2, time 0?", gold="4", answer="4", status="solved")
    lines = (msgspec.json.encode(msgspec.structs.replace(solved, id=str(i))) for i in range(5000))
    Path("runs/many/traces.jsonl").write_bytes(b"\n".join(lines) + b"\n")

    async def act(pilot: Pilot[None]) -> None:
        table = pilot.app.screen.query_one(LiteralTable)
        await until(pilot, lambda: table.row_count)
        await opened(pilot, 5000)
        seconds = []
        for key in ("down", "pagedown", "end", "home", "down"):
            began = time.process_time()
            await pilot.press(key)
            seconds.append(time.process_time() - began)
        assert sorted(seconds)[2] < 0.2, seconds
        began = time.process_time()
        for i in range(100):
            table.change(str(i), "status", "refine")
        assert time.process_time() - began < 0.5

    drive(screen_with(engine, file), act)
