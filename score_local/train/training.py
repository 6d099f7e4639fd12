"""The training loop: a generator of events. READ FIRST.

    for each step: samples of the step -> micro-batches -> loss on the target tokens -> gradients -> AdamW
    now and then:  the dev examples -> the task's metric -> is it the best so far?

A loop of our own, because two things that no trainer does are what this is about: an activated LoRA over cached
prefixes, and going on after `kill -9` as if nothing had happened. For the second, everything that is random is a
function of (seed, step): the order of the samples and dropout. What is left to keep is in `State`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

import msgspec
import torch
from torch import Tensor

from score_local.train import memory
from score_local.train.batches import batch_of, micro_batches, target_tokens, wanted_states
from score_local.train.network import Network
from score_local.train.prefixes import Prefixes
from score_local.train.recipe import Optimiser, Recipe
from score_local.train.samples import Sample
from score_local.train.tasks import Quality, Task


class Stepped(msgspec.Struct, frozen=True, tag_field="event", tag="step"):
    """A step was made. `loss` in nats a target token; `tokens` were computed forward and backward in `seconds`;
    `memory` is the peak so far, in bytes."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float
    memory: int


class Evaluated(msgspec.Struct, frozen=True, tag_field="event", tag="evaluation"):
    """The dev examples were looked at after `step` steps. `best`: no earlier adapter was better."""

    step: int
    metric: float
    loss: float
    n: int
    best: bool
    seconds: float


class Started(msgspec.Struct, frozen=True, tag_field="event", tag="start"):
    """A session began after `step` steps: what computes, and how; `micro_batch` of a step's samples at a time."""

    step: int
    device: str
    precision: str
    kind: str
    factors: int
    batch: int
    micro_batch: int


Event = Union[Started, Stepped, Evaluated]


@dataclass
class State:
    """Where training stands: all that a checkpoint holds. `step` steps were made, and after `evaluated` of them the dev
    examples were looked at last; `without_gain` evaluations have passed since the best."""

    step: int = 0
    evaluated: int = -1
    base: Quality | None = None
    best: Quality | None = None
    best_step: int = 0
    without_gain: int = 0
    factors: dict[str, Tensor] = field(default_factory=dict)
    best_factors: dict[str, Tensor] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)


class Training:
    """One run over `train`, measured on `dev`; `state` says from where it goes on."""

    def __init__(
        self,
        network: Network,
        prefixes: Prefixes,
        *,
        task: Task,
        train: Sequence[Sample],
        dev: Sequence[Sample],
        recipe: Recipe,
        state: State | None = None,
    ) -> None:
        self.network, self.state, self.recipe = network, state or State(), recipe
        self._prefixes, self._task, self._train, self._dev = prefixes, task, train, dev
        self.optimiser = memory.optimiser_of(network, recipe.optimiser)
        if state is not None:
            network.load_factors(state.factors)
            self.optimiser.load_state_dict(state.optimiser)

    @property
    def steps(self) -> int:
        """How many there are, unless none is better for too long."""
        return math.ceil(len(self._train) / self.recipe.optimiser.batch) * self.recipe.optimiser.epochs

    def run(self) -> Iterator[Event]:
        """Trains to the end. Between two events `snapshot` is what a checkpoint needs."""
        state = self.state
        yield self._started()
        while True:
            if self._is_due():
                yield self._evaluated()
            if state.step == self.steps or state.without_gain >= self.recipe.evaluation.patience:
                return
            yield self._stepped()

    def _started(self) -> Started:
        return Started(
            step=self.state.step,
            device=self.network.device.type,
            precision=self.network.precision,
            kind=self.recipe.adapter.kind,
            factors=sum(parameter.numel() for parameter in self.network.parameters),
            batch=self.recipe.optimiser.batch,
            micro_batch=self.recipe.memory.micro_batch,
        )

    def _is_due(self) -> bool:
        step = self.state.step
        return step > self.state.evaluated and (step % self.recipe.evaluation.every == 0 or step == self.steps)

    def snapshot(self) -> State:
        """The state with the factors and the optimiser's moments as they are now."""
        self.state.factors = self.network.factors()
        self.state.optimiser = self.optimiser.state_dict()
        return self.state

    def _stepped(self) -> Stepped:
        began, step, recipe = time.perf_counter(), self.state.step, self.recipe
        samples = samples_of_step(self._train, step, recipe.optimiser.batch, recipe.seed)
        rate = learning_rate(recipe.optimiser, step, self.steps)
        torch.manual_seed(_mixed(recipe.seed, step))
        loss = backward(self.network, self._prefixes, samples, recipe.memory.micro_batch)
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters, recipe.optimiser.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.state.step += 1
        return Stepped(
            step=self.state.step,
            loss=loss,
            learning_rate=rate,
            gradient_norm=float(norm),
            tokens=sum(len(sample.tokens) - 1 - sample.begin for sample in samples),
            seconds=time.perf_counter() - began,
            memory=memory.peak(self.network.device),
        )

    def _evaluated(self) -> Evaluated:
        """Before the first step it is the base model that is measured: what the best is compared with, not the best."""
        began, state = time.perf_counter(), self.state
        found = self._task.quality(self.network, self._prefixes, self._dev)
        best = state.step > 0 and found.better_than(state.best)
        if state.step == 0:
            state.base = found
        elif best:
            state.best, state.best_step, state.best_factors = found, state.step, self.network.factors()
        state.without_gain = 0 if best or state.step == 0 else state.without_gain + 1
        state.evaluated = state.step
        return Evaluated(state.step, *found, best=best, seconds=time.perf_counter() - began)


def backward(network: Network, prefixes: Prefixes, samples: Sequence[Sample], micro_batch: int) -> float:
    """Adds the gradients of the mean loss over the samples' target tokens; returns that loss in nats."""
    count, total = target_tokens(samples), 0.0
    for some in micro_batches(samples, micro_batch):
        batch = batch_of(some, prefixes, network.device)
        total += network.backward(wanted_states(network, batch), batch.labels, 1 / count)
    return total / count


def samples_of_step(samples: Sequence[Sample], step: int, batch: int, seed: int) -> list[Sample]:
    """Those of a step: each epoch goes through all in an order of its own."""
    epoch, place = divmod(step, math.ceil(len(samples) / batch))
    random = torch.Generator().manual_seed(_mixed(seed, epoch))
    order = torch.randperm(len(samples), generator=random).tolist()
    return [samples[i] for i in order[place * batch : (place + 1) * batch]]


def learning_rate(settings: Optimiser, step: int, steps: int) -> float:
    """Rises in equal parts, then falls as half a cosine; `step` counts from 0, and none has the rate 0."""
    rising = round(settings.warmup * steps)
    if step < rising:
        return settings.learning_rate * (step + 1) / rising
    return settings.learning_rate * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2


def _mixed(seed: int, number: int) -> int:
    return seed * 1_000_003 + number
