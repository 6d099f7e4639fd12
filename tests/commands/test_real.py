"""The commands over the embedded model, as a new user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from score_local import bench, catalog, cli
from score_local.errors import ModelError
from score_local.problem import Problem
from score_local.runs import read_traces
from tests.engine.adapters import write_random_lora

pytestmark = pytest.mark.model


@pytest.fixture(scope="module", autouse=True)
def model() -> Path:
    try:
        return catalog.resolve(catalog.DEFAULT_MODEL)
    except ModelError as error:
        pytest.skip(str(error))


@pytest.fixture
def problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three problems, the second longer than the context."""
    monkeypatch.chdir(tmp_path)
    questions = ["What is 2 + 3?", "word " * 2000, "Which is a fruit?"]
    records = [{"id": str(i), "question": question, "answer": "5"} for i, question in enumerate(questions)]
    records[2] |= {"choices": ["stone", "apple"], "answer": "B"}
    file = tmp_path / "problems.jsonl"
    file.write_text("\n".join(json.dumps(record) for record in records) + "\n")
    return file


ALL = ("--method", "refine", "--verifiers", "self,arithmetic,consistency")
FAST = ("--max-tokens", "48", "--context", "1024", "--samples", "2", "--parallel", "4")


def test_batch_solves_what_fits_and_tells_what_does_not(problems: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["batch", str(problems), "--run", "run", *FAST, *ALL, "--output", "answers.jsonl"]) == 1
    rows = [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]
    assert [row["status"].split(":")[0] in ("solved", "unknown") for row in rows] == [True, False, True]
    assert rows[1]["status"].startswith("failed: the prompt has") and "--context" in rows[1]["status"]
    traces = {trace.id: trace for trace in read_traces(Path("run"))}
    signals = {signal.verifier: signal for signal in traces["0"].rounds[0].signals}
    assert set(signals) == {"self", "arithmetic", "consistency"}
    assert signals["self"].usage.reused > 100, "the verifier continues the solver's cache"
    assert signals["self"].p_incorrect is not None and 0 < signals["self"].p_incorrect < 1
    assert "initial accuracy" in capsys.readouterr().out


def test_a_random_adapter_is_loaded_by_role_and_recorded(problems: Path, model: Path) -> None:
    adapter = write_random_lora(model, Path("random.gguf"))
    flags = ["--limit", "1", "--verifiers", "self", "--refine", "always", "--adapter", f"refiner={adapter}"]
    assert cli.main(["batch", str(problems), "--run", "run", *FAST, *flags]) == 0
    assert json.loads(Path("run/manifest.json").read_text())["adapters"]["refiner"]["name"] == "random.gguf"
    assert read_traces(Path("run"))[0].rounds[0].refinement is not None
    adapter.write_bytes(adapter.read_bytes()[:-4] + b"\0\0\0\1")
    assert cli.main(["batch", str(problems), "--run", "run", *FAST, *flags, "--resume"]) == 2, "another adapter"


def test_the_policy_that_ships_has_its_programmer_write(problems: Path) -> None:
    assert cli.main(["batch", str(problems), "--run", "run", *FAST[:4], "--limit", "1"]) == 0
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert (
        manifest["adapters"]["programmer"]["name"] == "programmer.gguf"
        and manifest["policy"]["refine"]["when"] == "never"
    )
    (signal,) = read_traces(Path("run"))[0].rounds[0].signals
    assert signal.verifier == "program" and signal.details["programs"] == 5 and signal.usage.generated > 0


def test_solve_and_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["solve", "What is 2 + 3?", *FAST[:-2]])
    captured = capsys.readouterr()
    assert code in (0, 1) and len(captured.out.splitlines()) == 1 and "-- Verdict" in captured.err
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "tokens/s" in out and "all well" in out


def test_memory_stays_within_what_is_promised(model: Path) -> None:
    found = bench.apart(bench.memory, model, bench.Shape(8, 1024, None))
    assert 0 < found.peak <= found.allowed


def test_bench_knows_what_does_not_fit(model: Path) -> None:
    asked = [Problem("short", "2 + 3?"), Problem("long", "word " * 2000)]
    assert bench.apart(bench.too_long, model, asked, 1024) == ["long"]


def test_a_busy_neighbour_does_not_stall_decoding(model: Path) -> None:
    """Not the measurement (that is `bench --neighbour`): a guard against the collapse to a hundredth."""
    alone = bench.apart(bench.engine_rate, model, 8, None)
    with bench.busy_neighbour():
        beside = bench.apart(bench.engine_rate, model, 8, None)
    assert beside > 0.15 * alone
