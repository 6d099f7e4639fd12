"""The whole chain on a tiny random model: collect -> train -> convert -> run, and the trained adapter is heard."""

from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec
import pytest
from safetensors.torch import load_file

from convert import cli as convert_cli
from convert.base import open_base
from convert.merge import merge
from score_local import prompts
from score_local.adapter_files import read_adapter
from score_local.cli import main
from score_local.collect.collection import Source
from score_local.collect.records import Example, Turn
from score_local.commands import collect, collect_engine
from score_local.engine.llama import open_engine
from score_local.engine.protocol import Message, Score, Scores
from score_local.engine.scripted import ScriptedEngine
from score_local.problem import Problem
from score_local.train.base import Base
from score_local.train.checkpoint import open_folder
from score_local.train.data import read_data
from score_local.train.network import Network
from score_local.train.prefixes import Prefixes
from score_local.train.recipe import load_recipe
from score_local.train.session import prepare, train
from score_local.train.tasks import VerifierTask
from score_local.train.training import Evaluated
from tests.collect import scripted
from tests.engine.fakes import ask
from tests.train.examples import examples, write_examples

PROBLEM = Problem(id="new", question=scripted.question(4, 4), answer="8")
SOLVED = (*prompts.solve_messages(PROBLEM), Message("assistant", scripted.solution(4, 4, 1)))
SETTINGS = ("optimiser.batch=4", "optimiser.learning_rate=0.05", "adapter.rank=4", "context=4096", "evaluation.items=9")


QUICK = {"optimiser.learning_rate": 0.02, "optimiser.epochs": 1, "memory.precision": "float32", "memory.micro_batch": 4}


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What collecting from a scripted engine gives: its dataset has all three roles, and both splits."""
    folder = tmp_path_factory.mktemp("chain")
    rows = [{"id": f"q{a}", "question": scripted.question(a, a), "answer": str(2 * a)} for a in range(10, 22)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    patch = pytest.MonkeyPatch()
    source = Source("scripted", "tiny", "0" * 64)
    patch.setattr(collect_engine, "source_of", lambda _: (source, lambda: ScriptedEngine(scripted.script)))
    flags = ("--samples", "4", "--dev-share", "0.3", "--feedback-on", "every")
    assert collect.run(scripted.options(str(folder / "questions.jsonl"), "--out", str(folder / "run"), *flags)) == 0
    patch.undo()
    return folder / "run"


@pytest.fixture(scope="module")
def model(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("model") / "tiny.gguf"
    merge(open_base(base), None, target, "f32")
    return target


@pytest.mark.parametrize("trained", [(role, kind) for role in ("verifier", "refiner") for kind in ("lora", "alora")])
def test_from_questions_to_an_adapter_that_is_heard(
    collection: Path, base: Path, model: Path, tmp_path: Path, trained: tuple[str, str]
) -> None:
    role, kind = trained
    out = tmp_path / role
    settings = [text for setting in (*SETTINGS, "evaluation.max_tokens=4") for text in ("--set", setting)]
    flags = ["--base", str(base), "--out", str(out), "--kind", kind, "--epochs", "1", "--threads", "1"]
    assert main(["train", role, str(collection), *flags, *settings]) == 0
    assert convert_cli.main(["lora", str(out), "--base", str(base), "--out", str(out / f"{role}.gguf")]) == 0

    info = read_adapter(out)
    assert (info.kind, info.card.role, info.card.prompts) == (kind, role, prompts.fingerprint())
    turn = prompts.verify_messages(SOLVED) if role == "verifier" else prompts.refine_messages(SOLVED)
    engine = open_engine(model, streams=2, context=4096, threads=1, adapters={role: info.file})
    try:
        heard, unheard = (ask(engine, Score(turn, prompts.VERDICTS, adapter=name)) for name in (role, None))
        assert isinstance(heard, Scores) and isinstance(unheard, Scores)
        assert max(abs(x - y) for x, y in zip(heard.logprobs, unheard.logprobs, strict=True)) > 0.01
        assert all(map(math.isfinite, heard.logprobs))
    finally:
        engine.close()


@pytest.mark.parametrize("kind", ["lora", "alora"])
def test_what_training_measured_is_what_llama_cpp_says(base: Path, model: Path, tmp_path: Path, kind: str) -> None:
    rows = examples("verifier", 6, 4)
    data, out = write_examples(tmp_path / "verifier.jsonl", rows), tmp_path / "verifier"
    recipe = load_recipe("verifier", None, {"adapter.kind": kind, "adapter.rank": 4, "context": 4096, **QUICK})
    job = prepare("verifier", read_data([data], "verifier"), Base("tiny", base, None), recipe)
    with open_folder(out, resume=False) as folder:
        assert train(job, folder, lambda event, steps: None, lambda: False)
    assert convert_cli.main(["lora", str(out), "--base", str(base), "--out", str(out / "v.gguf"), "--type", "f32"]) == 0

    network = Network(job.base, recipe.adapter, "float32", 0)
    network.load_factors(load_file(out / "adapter_model.safetensors"))
    task = job.task
    assert isinstance(task, VerifierTask)
    measured = task.log_odds(network, Prefixes(network, job.dev, 0), job.dev)
    engine = open_engine(model, streams=2, context=4096, threads=1, adapters={"verifier": out / "v.gguf"})
    try:
        for sample, expected in zip(job.dev, measured, strict=True):
            turns = tuple(Message(turn.role, turn.content) for turn in sample.example.messages)  # type: ignore[arg-type]
            scores = ask(engine, Score(turns, prompts.VERDICTS, adapter="verifier"))
            assert isinstance(scores, Scores)
            assert scores.logprobs[1] - scores.logprobs[0] == pytest.approx(expected, abs=0.02)  # its cache is float16
    finally:
        engine.close()


def test_a_verifier_learns_the_contrary_of_what_its_base_believes(base: Path, tmp_path: Path) -> None:
    """What tells right solutions from wrong ones stands before the invocation, in the part that is only cached."""
    rows = [_marked(example) for example in examples("verifier", 32, 16)]
    data = read_data([write_examples(tmp_path / "verifier.jsonl", rows)], "verifier")
    learning = {"optimiser.learning_rate": 0.01, "optimiser.batch": 16, "optimiser.epochs": 6, "evaluation.every": 6}
    quick = {"memory.precision": "float32", "memory.micro_batch": 16, "adapter.dropout": 0.0, "context": 4096}
    recipe = load_recipe("verifier", None, {"adapter.rank": 16, **learning, **quick})
    evaluations = []
    with open_folder(tmp_path / "out", resume=False) as folder:
        job = prepare("verifier", data, Base("tiny", base, None), recipe)
        train(job, folder, lambda event, _: isinstance(event, Evaluated) and evaluations.append(event), lambda: False)
    assert evaluations[0].metric < 0.1
    assert evaluations[-1].metric > 0.9


def _marked(example: Example) -> Example:
    """Right solutions shout."""
    *before, solution, asked = example.messages
    shouted = solution.content.replace("apples.", "apples, !!!!") if example.target == prompts.CORRECT else ""
    turns = (*before, Turn("assistant", shouted or solution.content), asked)
    return msgspec.structs.replace(example, messages=turns)
