"""The preflight: it finds what fits before anything is trained, and says what to change where nothing does."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("peft")

import torch

from score_local.engine.transformers_text import FolderText
from score_local.errors import MemoryLimit
from score_local.train import memory
from score_local.train.base import Base
from score_local.train.network import Network
from score_local.train.prefixes import Prefixes
from score_local.train.recipe import AdapterSettings
from score_local.train.samples import Encoder, Sample
from tests.train.examples import examples

Setup = tuple[Network, Prefixes, list[Sample]]


@pytest.fixture(scope="module")
def setup(base: Path) -> Setup:
    samples = Encoder(FolderText(base), "tiny", 4096).samples(examples("solver", 8, 0))
    network = Network(Base("tiny", base, None), AdapterSettings(kind="lora", rank=4), "float32", 0)
    return network, Prefixes(network, samples, 0), samples


def free(monkeypatch: pytest.MonkeyPatch, megabytes: int) -> None:
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=megabytes * 2**20))


def test_with_room_a_cpu_takes_as_many_as_make_it_faster(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, 100_000)
    monkeypatch.setattr(memory, "MOST_TOKENS", 10**6)
    assert memory.micro_batch_of(*setup, 8) == 8
    monkeypatch.setattr(memory, "MOST_TOKENS", 3 * max(len(sample.tokens) for sample in setup[2]))
    assert memory.micro_batch_of(*setup, 8) == 3


def test_less_memory_makes_smaller_micro_batches_until_none_fits(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_TOKENS", 10**6)
    sizes = []
    for megabytes in range(1000, 0, -10):
        free(monkeypatch, megabytes)
        try:
            sizes.append(memory.micro_batch_of(*setup, 8))
        except MemoryLimit as error:
            assert "example p" in str(error) and "Close other programs" in str(error)
            break
    assert sizes[0] == 8 and sizes[-1] < 8 and sizes == sorted(sizes, reverse=True)


def test_what_is_counted_is_in_proportion_to_the_sample(setup: Setup) -> None:
    network, prefixes, samples = setup
    short, long = samples[0], Sample(samples[0].example, samples[0].tokens * 2, 0, 2 * samples[0].target)
    ratio = memory._bytes_kept(network, Prefixes(network, [long], 0), long) / memory._bytes_kept(
        network, prefixes, short
    )
    assert 1.8 < ratio < 2.6


def test_a_gpu_is_tried_and_halved(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    network, prefixes, samples = setup
    tried = []

    def run(network: Network, prefixes: Prefixes, some: list[Sample]) -> None:
        tried.append(len(some))
        if len(some) > 2:
            raise torch.OutOfMemoryError

    monkeypatch.setattr(memory, "_run", run)
    assert memory._tried(network, prefixes, samples) == 2
    assert tried == [8, 4, 2]


def test_a_gpu_that_is_too_small_is_told(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    network, prefixes, samples = setup

    def run(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(memory, "_run", run)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100 << 20, 8000 << 20))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a small GPU")
    with pytest.raises(MemoryLimit, match=r"a small GPU: one sample of \d+ tokens does not fit: 100 of 8,000 MB"):
        memory._tried(network, prefixes, samples)


def test_the_preflight_leaves_no_gradient(setup: Setup) -> None:
    memory.micro_batch_of(*setup, 2)
    assert all(parameter.grad is None for parameter in setup[0].parameters)
