"""Which type decodes fastest: what is measured in which order, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import GGMLQuantizationType

from convert import for_cpu
from convert.for_cpu import REPEATS, Measured, fastest_type
from score_local.errors import MemoryLimit, ModelError
from tests.convert.tiny_gguf import Shape, write_model

SHAPE = Shape(layers=1, vocabulary=1100)  # the measurement decodes token 1000


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny-f16.gguf", SHAPE)


class Stopwatch:
    """In place of a measurement in a process of its own: notes what is measured, and says what was set."""

    def __init__(self, **rates: list[float]) -> None:
        self.rates, self.order = rates, list[str]()

    def __call__(self, function: Callable[..., float], file: Path, *settings: Any) -> float:
        assert file.is_file() and settings == (4, 2)
        self.order.append(file.name)
        rates = self.rates[file.name]
        if not rates:
            raise MemoryLimit("too little memory", file.name)
        return rates.pop(0)


def measure(monkeypatch: pytest.MonkeyPatch, model: Path, **rates: list[float]) -> tuple[list[Measured], Stopwatch]:
    stopwatch = Stopwatch(**rates)
    monkeypatch.setattr(for_cpu, "apart", stopwatch)
    return fastest_type(model, tuple(rates), sequences=4, threads=2), stopwatch


def test_the_fastest_by_the_median_of_alternating_runs(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    found, stopwatch = measure(monkeypatch, model, q8_0=[50.0, 5.0, 51.0], q4_0=[10.0, 90.0, 20.0])
    assert stopwatch.order == ["q8_0", "q4_0"] * REPEATS
    assert [(row.type, row.tokens_per_second) for row in found] == [("q8_0", 50.0), ("q4_0", 20.0)]
    assert found[0].rates == (50.0, 5.0, 51.0)
    assert found[0].bytes > found[1].bytes > 0


def test_what_does_not_fit_comes_last_and_says_why(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    found, stopwatch = measure(monkeypatch, model, q8_0=[], iq1_s=[99.0] * 3, q4_0=[1.0] * 3)
    assert [row.type for row in found] == ["q4_0", "q8_0", "iq1_s"]
    assert "too little memory" in found[1].trouble and "importance matrix" in found[2].trouble
    assert [row.tokens_per_second for row in found[1:]] == [0.0, 0.0]
    assert stopwatch.order.count("q8_0") == 1, "and is not tried again"


def test_nothing_fits(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    with pytest.raises(ModelError, match=r"no type could be measured: .*too little memory"):
        measure(monkeypatch, model, q8_0=[], q4_0=[])


def test_a_quantised_source_where_it_is_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(for_cpu, "apart", Stopwatch(q4_0=[1.0] * 3))
    source = write_model(tmp_path / "q8.gguf", SHAPE, type=GGMLQuantizationType.Q8_0)
    with pytest.raises(ModelError, match="quantised already"):
        fastest_type(source, ("q4_0",), sequences=4, threads=2)
    assert fastest_type(source, ("q4_0",), sequences=4, threads=2, requantise=True)[0].tokens_per_second == 1.0


def test_a_real_measurement_leaves_nothing(monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(for_cpu, "REPEATS", 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    told = list[tuple[int, int]]()
    found = fastest_type(model, ("q4_0", "q8_0"), sequences=2, threads=1, progress=lambda *now: told.append(now))
    assert {row.type for row in found} == {"q4_0", "q8_0"}
    assert found[0].tokens_per_second >= found[1].tokens_per_second > 0
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert list(tmp_path.iterdir()) == [model]
