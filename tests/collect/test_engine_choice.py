"""Which engine and model collect."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from score_local.collect.collection import Source
from score_local.commands import collect_engine, setup
from score_local.engine.protocol import Completion, Generate, Message, Sampling
from score_local.errors import ModelError, PolicyError
from tests.collect.scripted import options
from tests.engine.fakes import ask
from tests.engine.openai_server import FakeServer, serving
from tests.gguf_files import write_adapter, write_model


def test_a_gguf_is_told_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "m.gguf"
    model.write_bytes(b"GGUF")
    opened = []
    monkeypatch.setattr(setup, "open_model", lambda *arguments: opened.append(arguments))
    source, open_ = collect_engine.source_of(options("q", "--out", "x", "--model", str(model), "--parallel", "3"))
    assert source == Source("llama", "m.gguf", hashlib.sha256(b"GGUF").hexdigest()) and not opened
    open_()
    assert opened[0][1:] == (model, {}, 3)


def test_a_solver_is_checked_and_told_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, adapter = write_model(tmp_path / "m.gguf"), write_adapter(tmp_path / "lora.gguf")
    opened = []
    monkeypatch.setattr(setup, "open_model", lambda *arguments: opened.append(arguments))
    flags = ("q", "--out", "x", "--model", str(model), "--solver")
    source, open_ = collect_engine.source_of(options(*flags, str(adapter)))
    open_()
    assert source.solver == hashlib.sha256(adapter.read_bytes()).hexdigest()
    assert opened[0][2] == {"solver": adapter}
    with pytest.raises(ModelError, match="architecture"):
        collect_engine.source_of(options(*flags, str(write_adapter(tmp_path / "other.gguf", arch="qwen2"))))
    (tmp_path / "adapter.toml").write_text('role = "verifier"\n')
    with pytest.raises(ModelError, match="trained as the verifier, and is given as the solver"):
        collect_engine.source_of(options(*flags, str(adapter)))
    with pytest.raises(PolicyError, match="only --engine llama"):
        collect_engine.source_of(options(*flags, str(adapter), "--engine", "openai", "--url", "http://x"))


def test_a_folder_is_told_by_its_weights(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    flags = ("q", "--out", "x", "--engine", "transformers", "--model", str(tmp_path))
    (tmp_path / "a.safetensors").write_bytes(b"1")
    one, _ = collect_engine.source_of(options(*flags))
    (tmp_path / "b.safetensors").write_bytes(b"2")
    two, _ = collect_engine.source_of(options(*flags))
    assert one.engine == "transformers" and one.model == tmp_path.name and one.sha256 != two.sha256


def test_transformers_collects_over_a_folder_and_over_a_gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path / "models"))
    pytest.importorskip("torch")
    from convert.base import open_base
    from convert.merge import merge
    from tests.convert.tiny import tiny_model

    folder = tiny_model("qwen2", tmp_path / "m")
    merge(open_base(folder), None, tmp_path / "m.gguf", "f16")
    for model in (folder, tmp_path / "m.gguf"):
        flags = ("q", "--out", "x", "--engine", "transformers", "--model", str(model), "--parallel", "2")
        source, open_ = collect_engine.source_of(options(*flags, "--context", "128"))
        engine = open_()
        reply = ask(engine, Generate((Message("user", "Why?"),), sampling=Sampling(max_tokens=4)))
        engine.close()
        assert isinstance(reply, Completion) and engine.capacity == 2 and source.model == model.name


def test_a_server_is_opened_when_something_is_to_be_asked() -> None:
    with serving(FakeServer()) as fake:
        flags = ("q", "--out", "x", "--engine", "openai", "--url", fake.url, "--model", "tiny", "--parallel", "2")
        source, open_ = collect_engine.source_of(options(*flags))
        assert source == Source("openai", "tiny") and not fake.requests
        engine = open_()
        engine.close()
        assert engine.capacity == 2 and len(fake.requests) == 1


@pytest.mark.parametrize(
    "flags", [("--engine", "openai"), ("--engine", "openai", "--model", "m"), ("--engine", "transformers")]
)
def test_what_an_engine_needs_is_asked_for(flags: tuple[str, ...]) -> None:
    with pytest.raises(PolicyError, match="--model"):
        collect_engine.source_of(options("q", "--out", "x", *flags))


def test_transformers_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect_engine, "find_spec", lambda name: None if name == "torch" else name)
    with pytest.raises(ModelError, match=r"transformers: torch not installed\. Install them: pip install"):
        collect_engine.source_of(options("q", "--out", "x", "--engine", "transformers", "--model", "m"))


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(ModelError, match="no such model file"):
        collect_engine.source_of(options("q", "--out", "x", "--model", "/none/m.gguf"))
