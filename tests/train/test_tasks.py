"""What decides which checkpoint is kept, measured by hand and by the task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("peft")

import torch
from torch.nn import functional

from score_local import prompts
from score_local.engine.protocol import Message
from score_local.engine.transformers_text import FolderText
from score_local.evaluate.metrics import auroc
from score_local.problem import AnswerKind, Problem
from score_local.sandbox.pool import Sandbox
from score_local.train.base import Base
from score_local.train.decoding import greedy
from score_local.train.network import Network, Precision
from score_local.train.prefixes import Prefixes, cache_of
from score_local.train.recipe import AdapterSettings, Role
from score_local.train.samples import Encoder, Sample
from score_local.train.tasks import (
    ProgrammerTask,
    Quality,
    VerifierTask,
    WritingTask,
    computes,
    is_incorrect,
    is_right,
    task_of,
)
from score_local.train.training import backward
from tests.train.examples import examples, turns_of

ALWAYS = 10**9


def trained(base: Path, precision: Precision = "float32") -> Network:
    """A network whose adapter does something."""
    network = Network(Base("tiny", base, None), AdapterSettings(rank=4, dropout=0.5), precision, 0)
    torch.manual_seed(1)
    network.load_factors({name: 0.1 * torch.randn_like(value) for name, value in network.factors().items()})
    return network


def samples_of(base: Path, role: Role, count: int = 6) -> tuple[Encoder, list[Sample]]:
    encoder, rows = Encoder(FolderText(base), "tiny", 4096), examples(role, count, 0)
    return encoder, encoder.samples(rows, encoder.invocation(rows[0]))


def logits_after(network: Network, sample: Sample, reply: Sequence[int]) -> torch.Tensor:
    """At every position from the last of the prompt on, one pass over a prefix that is computed anew."""
    prefix = Prefixes(network, [sample], 0)
    tokens = torch.tensor([[*sample.tokens[sample.begin : sample.target], *reply]])
    with network.inference():
        cache, positions = cache_of([prefix.of(sample)]), torch.arange(sample.begin, sample.begin + tokens.shape[1])
        states = network.hidden(tokens, positions[None], None, cache)
        return network.logits(states[0, sample.target - sample.begin - 1 :])


def test_a_verifier_is_measured_as_the_self_verifier_reads_it(base: Path) -> None:
    encoder, samples = samples_of(base, "verifier")
    network = trained(base)
    expected = []
    for sample in samples:
        words = []
        for word in prompts.VERDICTS:
            ids = encoder.ids(word)
            logprobs = functional.log_softmax(logits_after(network, sample, ids[:-1]), -1)
            words.append(sum(float(logprobs[i, token]) for i, token in enumerate(ids)))
        expected.append(words)
    odds = [no - yes for yes, no in expected]

    task, prefixes = VerifierTask(encoder, rows=4), Prefixes(network, samples, ALWAYS)
    assert task.log_odds(network, prefixes, samples) == pytest.approx(odds, abs=1e-4)
    found = task.quality(network, prefixes, samples)
    incorrect = [is_incorrect(sample) for sample in samples]
    assert found.metric == auroc(incorrect, odds)
    assert found.loss == pytest.approx(-sum(w[i] for w, i in zip(expected, incorrect, strict=True)) / 6, abs=1e-4)


def test_replies_side_by_side_are_those_of_one_at_a_time(base: Path) -> None:
    encoder, samples = samples_of(base, "refiner", 5)
    network = trained(base)
    expected = []
    for sample in samples:
        reply: list[int] = []
        for _ in range(8):
            token = int(logits_after(network, sample, reply)[-1].argmax())
            if encoder.ends_turn(token):
                break
            reply.append(token)
        expected.append(reply)
    assert greedy(network, Prefixes(network, samples, ALWAYS), samples, 8, encoder.ends_turn) == expected
    found = WritingTask(encoder, 2, 8).quality(network, Prefixes(network, samples, ALWAYS), samples)
    assert (found.metric, found.n) == (0.0, 5)


def test_a_reply_ends_with_its_turn(base: Path) -> None:
    _, samples = samples_of(base, "refiner", 3)
    network = trained(base)
    prefixes = Prefixes(network, samples, ALWAYS)
    whole = greedy(network, prefixes, samples, 8, lambda token: False)
    end = whole[0][3]
    for reply, cut in zip(whole, greedy(network, prefixes, samples, 8, lambda token: token == end), strict=True):
        assert cut == (reply[: reply.index(end)] if end in reply else reply)


def test_measuring_leaves_dropout_out_and_the_network_training(base: Path) -> None:
    encoder, samples = samples_of(base, "verifier")
    network, task = trained(base), VerifierTask(encoder, 3)
    first = task.quality(network, Prefixes(network, samples, ALWAYS), samples)
    assert task.quality(network, Prefixes(network, samples, ALWAYS), samples) == first
    assert all(parameter.requires_grad for parameter in network.parameters)


KINDS: list[tuple[AnswerKind, str, str, bool]] = [
    ("number", "So it is \\boxed{7}", "\\boxed{7.0}", True),
    ("number", "So it is \\boxed{7}", "\\boxed{8}", False),
    ("number", "I do not know", "\\boxed{8}", False),
    ("choice", "\\boxed{B}", "\\boxed{B}", True),
    ("expression", "\\boxed{2x + 6}", "\\boxed{6 + 2x}", True),
    ("number", "Critique: it is \\boxed{8}\nCorrected solution: \\boxed{7}", "\\boxed{7}", True),
]


@pytest.mark.parametrize(("kind", "reply", "target", "right"), KINDS)
def test_a_reply_is_right_where_it_ends_with_the_targets_answer(
    kind: AnswerKind, reply: str, target: str, *, right: bool
) -> None:
    problem = Problem(id="p", question="What?", answer="?", kind=kind, choices=("a", "b") if kind == "choice" else ())
    asked = prompts.refine_messages((*prompts.solve_messages(problem), Message("assistant", "\\boxed{1}")))
    example = msgspec.structs.replace(examples("refiner", 1, 0)[0], messages=turns_of(asked), target=target)
    assert is_right(reply, Sample(example, (), 0, 0)) is right


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(workers=1)
    yield made
    made.close()


PROGRAMS: list[tuple[AnswerKind, str, str, bool]] = [
    ("number", "    return 4 * 2\n```", "8", True),
    ("number", "    return 8.0\n", "8", True),
    ("number", "    return 4 + 2\n```", "8", False),
    ("number", "    return four\n```", "8", False),
    ("number", "    return None\n```", "None", False),
    ("choice", "    return 8\n```\nSo B.", "8", True),
    ("expression", "    import sympy\n    x = sympy.Symbol('x')\n    return 2 * (x + 3)\n```", "2*x + 6", True),
]


@pytest.mark.parametrize(("kind", "reply", "value", "right"), PROGRAMS)
def test_a_program_is_right_where_it_computes_the_value_that_was_collected(
    kind: AnswerKind, reply: str, value: str, *, right: bool, sandbox: Sandbox
) -> None:
    example = msgspec.structs.replace(examples("programmer", 1, 0)[0], meta={"value": value, "kind": kind})
    assert computes(reply, Sample(example, (), 0, 0), sandbox) is right


def test_a_programmer_is_measured_by_what_its_programs_compute(base: Path) -> None:
    encoder, samples = samples_of(base, "programmer", 4)
    task = task_of("programmer", encoder, 2, 8)
    assert isinstance(task, ProgrammerTask) and task.name == "right"
    found = task.quality(trained(base), Prefixes(trained(base), samples, ALWAYS), samples)
    assert (found.metric, found.n) == (0.0, 4), "a random model computes nothing"


def test_the_metric_decides_and_the_loss_breaks_ties() -> None:
    assert Quality(0.6, 9.0, 4).better_than(Quality(0.5, 1.0, 4))
    assert Quality(0.5, 0.9, 4).better_than(Quality(0.5, 1.0, 4))
    assert not Quality(0.5, 1.0, 4).better_than(Quality(0.5, 1.0, 4))
    assert Quality(0.0, 9.0, 4).better_than(None)


def test_over_four_bits_the_factors_stay_in_float32(base: Path) -> None:
    pytest.importorskip("bitsandbytes")
    network = trained(base, "nf4")
    samples = Encoder(FolderText(base), "tiny", 4096).samples(examples("solver", 2, 0))
    assert {parameter.dtype for parameter in network.parameters} == {torch.float32}
    assert 0 < backward(network, Prefixes(network, samples, ALWAYS), samples, 2) < 50
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters if parameter.grad is not None)
