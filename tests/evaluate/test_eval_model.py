"""An evaluation over the embedded model: what is asked once is never asked again, an adapter costs its own requests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from score_local import catalog, cli
from score_local.commands import setup
from score_local.errors import ModelError
from tests.engine.adapters import write_random_lora

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return catalog.resolve(catalog.DEFAULT_MODEL)
    except ModelError as error:
        pytest.skip(str(error))


def test_a_record_serves_every_later_evaluation(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    problems = [{"id": str(i), "question": f"What is {i} + 3?", "answer": str(i + 3)} for i in (2, 4)]
    Path("problems.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in problems))
    temperatures = {"solve": 0.0, "verify.sampling": 0.7, "refine.sampling": 0.0}
    short = "".join(f"[{name}]\nmax_tokens = 40\ntemperature = {t}\n" for name, t in temperatures.items())
    for name, base in (("short", "refine-always"), ("vote", "majority-2")):
        Path(f"{name}.toml").write_text(f'base = "{base}"\n{short}')
    write_random_lora(model, Path("refiner.gguf"))
    Path("adapted.toml").write_text(f'base = "refine-always"\n{short}[adapters]\nrefiner = "refiner.gguf"\n')
    arguments = ["eval", "problems.jsonl", "--out", "out", "--context", "1024", "--parallel", "4", "--resume"]
    assert cli.main([*arguments, "--policies", "short.toml,vote.toml"]) == 0
    assert "4/4 attempts, 10 replies from the model" in capsys.readouterr().err
    assert cli.main([*arguments, "--policies", "adapted.toml"]) == 0
    assert "2/2 attempts, 2 replies from the model" in capsys.readouterr().err  # the rest is the base model's

    def none(*_: object) -> None:
        raise AssertionError("everything is on record")

    monkeypatch.setattr(setup, "open_model", none)
    assert cli.main([*arguments, "--policies", "adapted.toml,short.toml,vote.toml"]) == 0
    report = json.loads(Path("out/report.json").read_text())
    assert {result["name"] for result in report["results"]} == {"short", "vote", "adapted"}
    assert [len(result["adapters"]) for result in report["results"] if result["name"] == "adapted"] == [1]
