"""A tiny model with room for whole conversations, and the tools that train it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from score_local.engine import llama

pytest.importorskip("peft")
MakeBase = Callable[[str], Path]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A second thread gains nothing for models this small, and on a busy machine it is waited for."""
    monkeypatch.setattr(llama, "physical_cores", lambda: 1)
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_base(tmp_path_factory: pytest.TempPathFactory) -> MakeBase:
    """`make_base("qwen2")`: a Hugging Face folder of random weights whose context holds 4,096 tokens."""
    from tests.convert.tiny import tiny_model

    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            folder = tiny_model(kind, tmp_path_factory.mktemp("base") / kind, dtype="float32")
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
            made[kind] = folder
        return made[kind]

    return make


@pytest.fixture(scope="session")
def base(make_base: MakeBase) -> Path:
    return make_base("qwen2")
