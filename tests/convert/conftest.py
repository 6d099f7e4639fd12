"""Tiny random models and adapters, made once a session for each kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from score_local.engine import llama

TinyBase = Callable[..., Path]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second thread gains nothing for models this small; on a busy machine they wait for it ten times longer."""
    monkeypatch.setattr(llama, "physical_cores", lambda: 1)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> TinyBase:
    """`tiny_base("qwen2", tie=False)`: a Hugging Face folder. Skips without torch."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.convert.tiny import tiny_model

    made: dict[str, Path] = {}

    def make(kind: str, **options: Any) -> Path:
        key = "-".join([kind, *(f"{name}_{value}" for name, value in sorted(options.items()))])
        if key not in made:
            made[key] = tiny_model(kind, tmp_path_factory.mktemp("base") / key, **options)
        return made[key]

    return make
