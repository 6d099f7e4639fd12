"""QLoRA on a CUDA GPU: NF4 with double quantisation, paged 8-bit moments, gradient checkpointing."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("bitsandbytes")

import torch

from score_local.cli import main
from score_local.train.checkpoint import METRICS
from score_local.train.recipe import Role
from tests.train.examples import examples, write_examples
from tests.train.test_resume import QUICK, arguments

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")]


@pytest.mark.parametrize(("role", "kind"), [("verifier", "alora"), ("refiner", "lora")])
def test_four_bits_are_trained_over_and_told(base: Path, tmp_path: Path, role: Role, kind: str) -> None:
    data, out = write_examples(tmp_path / f"{role}.jsonl", examples(role, 8, 4)), tmp_path / "out"
    quick = [setting for setting in QUICK if not setting.startswith("memory.")]
    flags = ("--kind", kind, "--set", "evaluation.max_tokens=8")
    assert main(arguments(role, data, base, out, *flags, quick=quick)) == 0
    events = (out / METRICS).read_text()
    assert '"device":"cuda"' in events and '"precision":"nf4"' in events
    assert (out / "adapter.toml").is_file()
