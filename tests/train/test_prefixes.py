"""LoRA on the rest, over the base model's cache, is PEFT's activated LoRA: the same logits, the same gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from torch.nn import functional
from transformers import AutoModelForCausalLM

from score_local.engine.transformers_text import FolderText
from score_local.train.base import Base
from score_local.train.batches import batch_of, wanted_states
from score_local.train.network import Network
from score_local.train.prefixes import Prefixes
from score_local.train.recipe import AdapterSettings, Role, Start
from score_local.train.samples import Encoder, Sample
from score_local.train.training import backward
from tests.train.conftest import MakeBase
from tests.train.examples import examples

SETTINGS = AdapterSettings(kind="alora", rank=4, alpha=8, dropout=0.0)


def samples_of(base: Path, role: Role, start: Start | None) -> tuple[list[Sample], list[int]]:
    """Of an activated LoRA, or (None) of a plain one."""
    encoder, rows = Encoder(FolderText(base), "tiny", 4096), examples(role, 3, 0)
    invocation = encoder.invocation(rows[0], start) if start else []
    return encoder.samples(rows, invocation), invocation


def random_factors(network: Network) -> None:
    torch.manual_seed(1)
    network.load_factors({name: 0.1 * torch.randn_like(value) for name, value in network.factors().items()})


def peft_model(base: Path, network: Network, invocation: list[int]) -> Any:
    """The same adapter in PEFT's own implementation; no invocation: a plain LoRA."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=4,
        lora_alpha=8,
        target_modules="all-linear",
        alora_invocation_tokens=invocation or None,
    )
    adapted = get_peft_model(model, config)
    set_peft_model_state_dict(adapted, network.factors())
    return adapted


def reference(model: Any, samples: list[Sample]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits at the positions before targets, a sample at a time, and the gradients of the mean loss."""
    logits, labels = [], []
    for sample in samples:
        found = model(input_ids=torch.tensor([sample.tokens])).logits[0]
        logits.append(found[sample.target - 1 : -1])
        labels += sample.tokens[sample.target :]
    together = torch.cat(logits)
    functional.cross_entropy(together, torch.tensor(labels)).backward()
    gradients = {
        name.replace(".default", ""): parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    return together.detach(), gradients


@pytest.mark.parametrize("kind", ["qwen2", "llama", "gemma2"])
@pytest.mark.parametrize(
    ("role", "start"),
    [("verifier", "turn"), ("verifier", "reply"), ("refiner", "turn"), ("solver", None), ("programmer", "reply")],
)
def test_logits_and_gradients_are_those_of_peft(
    make_base: MakeBase, kind: str, role: Role, start: Start | None
) -> None:
    base = make_base(kind)
    samples, invocation = samples_of(base, role, start)
    network = Network(Base("tiny", base, None), SETTINGS, "float32", 0)
    random_factors(network)
    prefixes = Prefixes(network, samples, 2**30)

    expected, gradients = reference(peft_model(base, network, invocation), samples)
    with network.inference():
        found = network.logits(wanted_states(network, batch_of(samples, prefixes, network.device)))
    backward(network, prefixes, samples, 2)

    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    ours = {name.replace(".default", ""): p.grad for name, p in network.named_parameters()}
    assert ours.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_what_is_not_kept_is_computed_again_bit_for_bit(base: Path) -> None:
    samples, _ = samples_of(base, "verifier", "turn")
    network = Network(Base("tiny", base, None), SETTINGS, "float32", 0)
    kept, forgotten = Prefixes(network, samples, 2**30), Prefixes(network, samples, 0)
    for _ in range(2):
        for sample in samples:
            ours, again = kept.of(sample), forgotten.of(sample)
            assert ours is not None and again is not None
            assert torch.equal(ours, again)
            assert ours.shape[3] == sample.begin


def test_a_question_that_has_two_ids_has_the_prefix_of_each(base: Path) -> None:
    """The samples of one id share more than those of the other: their pieces begin at other places."""
    rows, encoder = examples("verifier", 4, 0), Encoder(FolderText(base), "tiny", 4096)
    twice = [rows[0], rows[1], msgspec.structs.replace(rows[0], problem="again"), rows[2], rows[3]]
    samples = encoder.samples(twice, encoder.invocation(rows[0]))
    prefixes = Prefixes(Network(Base("tiny", base, None), SETTINGS, "float32", 0), samples, 2**30)
    for _ in range(2):
        cells = [prefixes.of(sample) for sample in samples]
        assert [found.shape[3] for found in cells if found is not None] == [sample.begin for sample in samples]
    assert prefixes.still_to_keep == 0


def test_a_plain_lora_has_no_prefix(base: Path) -> None:
    samples, _ = samples_of(base, "solver", None)
    assert Prefixes(Network(Base("tiny", base, None), SETTINGS, "float32", 0), samples, 2**30).of(samples[0]) is None
