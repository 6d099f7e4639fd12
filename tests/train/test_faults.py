"""Real processes that hit a full disk or are interrupted: one line, and nothing that was learned is lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from score_local import prompts
from score_local.cli import main
from score_local.commands import train
from score_local.train import curves, memory
from score_local.train.checkpoint import METRICS, STATE
from tests.train.examples import examples, write_examples
from tests.train.test_resume import arguments, curve

resource = pytest.importorskip("resource")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_examples(tmp_path_factory.mktemp("data") / "verifier.jsonl", examples("verifier", 10, 4))


@pytest.fixture(scope="module")
def undisturbed(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    assert main(arguments("verifier", data, base, out)) == 0
    return out


def started(command: list[str], limit: int | None = None) -> subprocess.Popen[str]:
    def limit_files() -> None:
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [sys.executable, "-m", "score_local", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=limit_files,  # noqa: PLW1509 (it only limits the child)
    )


def test_a_full_disk_is_one_line_and_nothing_is_lost(base: Path, data: Path, tmp_path: Path, undisturbed: Path) -> None:
    out = tmp_path / "out"
    process = started(arguments("verifier", data, base, out), limit=60_000)  # a state is larger
    _, told = process.communicate(timeout=200)
    assert process.returncode == 2, told
    assert "cannot be written" in told and "--resume" in told and "Traceback" not in told
    assert main(arguments("verifier", data, base, out, "--resume")) == 0
    assert curve(out) == curve(undisturbed)


def test_an_interrupt_ends_after_the_step_and_can_be_resumed(
    base: Path, data: Path, tmp_path: Path, undisturbed: Path
) -> None:
    out = tmp_path / "out"
    process = started(arguments("verifier", data, base, out))
    while process.poll() is None and not (out / METRICS).exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=200)
    assert process.returncode == 130, told
    assert "go on with the same command and --resume" in told and "Traceback" not in told
    assert (out / STATE).exists()
    assert main(arguments("verifier", data, base, out, "--resume")) == 0
    assert curve(out) == curve(undisturbed)


def test_two_processes_do_not_train_into_one_folder(base: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = started(arguments("verifier", data, base, out))
    while process.poll() is None and not (out / METRICS).exists():
        time.sleep(0.005)
    try:
        assert main(arguments("verifier", data, base, out, "--resume")) == 2
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--set", "optimizer.epochs=2"], "unknown field"),
        (["--set", "context=100"], "and 100 are allowed"),
        (["--base", "no/such/base"], "no such base model"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(  # noqa: PLR0917 (fixtures)
    base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    out = tmp_path / "out"
    assert main(arguments("verifier", data, base, out, *flags)) == 2
    assert told in capsys.readouterr().err
    assert not (out / "manifest.json").exists()


@pytest.mark.parametrize(
    ("split", "target", "told"),
    [
        ("dev", prompts.CORRECT, "verifier.jsonl: all 2 dev examples are of correct solutions.*larger --dev-share"),
        ("train", prompts.INCORRECT, "verifier.jsonl: all 4 train examples are of incorrect solutions.*more problems"),
    ],
)
def test_a_verifier_is_not_trained_on_one_class(  # noqa: PLR0917 (fixtures)
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], split: str, target: str, told: str
) -> None:
    rows = [row for row in examples("verifier", 8, 4) if row.split != split or row.target == target]
    data, out = write_examples(tmp_path / "verifier.jsonl", rows), tmp_path / "out"
    assert main(arguments("verifier", data, base, out)) == 2
    assert re.search(told, capsys.readouterr().err)
    assert not (out / "manifest.json").exists()


def test_what_the_optimiser_of_a_gpu_needs_is_told_first(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(memory, "find_spec", lambda name: None)
    assert main(arguments("verifier", data, base, tmp_path / "out", "--set", "memory.four_bit=false")) == 2
    assert "bitsandbytes not installed" in capsys.readouterr().err


def test_no_curve_fails_a_training(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(folder: Path, *_: object) -> None:
        assert (folder / "adapter.toml").is_file(), "the adapter comes first"
        raise ValueError("no font")

    quick = ("--set", "optimiser.epochs=1")
    monkeypatch.setattr(curves, "write_curves", fail)
    assert main(arguments("verifier", data, base, tmp_path / "out", *quick)) == 0
    assert "score-local: no curves: no font" in capsys.readouterr().err
    find_spec = train.find_spec
    monkeypatch.setattr(train, "find_spec", lambda name: None if name == "matplotlib" else find_spec(name))
    assert main(arguments("verifier", data, base, tmp_path / "plain", *quick)) == 0
    assert "there will be no curves, as matplotlib is not installed" in capsys.readouterr().err
