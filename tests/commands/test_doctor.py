"""What `score-local doctor` says of the sandbox and of what training needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from score_local import catalog, catalog_entries
from score_local.commands import doctor
from score_local.sandbox.pool import Sandbox

Say = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("walls", "told", "troubles"),
    [
        ({"network": True, "reading files": True}, "sandbox       keeps programs from network, reading files\n", 0),
        ({"network": False, "reading files": True}, "sandbox       keeps programs from reading files\n", 1),
        ({}, "sandbox       none on this system: the program verifier finds everything unknown\n", 0),
    ],
)
def test_the_walls_that_stand(
    walls: dict[str, bool], told: str, troubles: int, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sandbox, "walls", lambda _: walls)
    found = doctor._sandbox()
    assert capsys.readouterr().out == told and len(found) == troubles
    assert all("does not keep programs from network" in what for what, _ in found)


def test_a_model_that_does_not_load_is_to_be_checked_by_its_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "a model.gguf"
    file.write_bytes(b"GGUF")
    assert doctor._timed_decode(file)[0][1] == f"score-local models check '{file}'"


def test_the_first_model_that_is_here_is_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Say) -> None:
    """Only a pulled one is: the embedded one came with no package."""
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path))
    monkeypatch.setattr(catalog_entries, "_packaged", lambda package: None)
    timed: list[Path] = []
    monkeypatch.setattr(doctor, "_timed_decode", lambda path: timed.append(path) or [])
    monkeypatch.setattr(catalog, "check_size", lambda path, entry: None)
    assert "is not on this machine" in doctor._llama(None)[0][0]
    pulled = next(entry for entry in catalog.load_catalog().values() if entry.name != catalog.DEFAULT_MODEL).path
    pulled.write_bytes(b"GGUF")
    assert doctor._llama(None) == [] and timed == [pulled]


def without(*absent: str) -> Callable[[str], object]:
    return lambda name: None if name in absent else object()


def test_without_torch_nothing_of_it_is_imported(capsys: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", without(*doctor.TRAINING))
    assert doctor._training() == [], "it is an extra, and nothing to mend"
    assert capsys.readouterr().out == "training      no torch, no transformers, no peft, no bitsandbytes\n"


def test_the_device_is_named(capsys: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(doctor, "find_spec", without("bitsandbytes"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    doctor._training()
    told = capsys.readouterr().out
    assert f"torch {torch.__version__}" in told and "no bitsandbytes" in told
    assert "device        the CPU: PyTorch sees no CUDA GPU" in told
