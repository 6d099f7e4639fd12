"""One training from data to adapter: reads, refuses, loads, trains, calibrates, writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata

import msgspec
import torch

import score_local
from score_local import prompts
from score_local.adapter_files import AdapterCard
from score_local.collect.records import Example
from score_local.engine.transformers_text import FolderText
from score_local.errors import InputError
from score_local.roles import Role
from score_local.train.base import Base
from score_local.train.calibration import calibrate
from score_local.train.checkpoint import Folder, Manifest, require_same, require_same_computing
from score_local.train.data import TrainingData, some_of
from score_local.train.memory import micro_batch_of
from score_local.train.network import Network, Precision, faster_precision
from score_local.train.prefixes import Prefixes
from score_local.train.recipe import Memory, Recipe
from score_local.train.samples import Encoder, Sample
from score_local.train.tasks import Task, VerifierTask, is_incorrect, task_of
from score_local.train.training import Evaluated, Event, Training
from score_local.verifiers import prompts_of

PACKAGES = ("torch", "transformers", "peft")
Tell = Callable[[Event, int], None]


@dataclass(frozen=True)
class Job:
    """What is to be trained, the examples as tokens; `invocation` is () for a plain LoRA."""

    role: Role
    data: TrainingData
    base: Base
    recipe: Recipe
    encoder: Encoder
    invocation: tuple[int, ...]
    train: list[Sample]
    dev: list[Sample]

    @property
    def task(self) -> Task:
        settings = self.recipe.evaluation
        return task_of(self.role, self.encoder, settings.rows, settings.max_tokens)

    def manifest(self) -> Manifest:
        return Manifest(
            role=self.role,
            base=self.base.name,
            base_sha256=self.base.sha256 or self.base.weights_sha256,
            data=self.data.names,
            data_sha256=self.data.sha256,
            prompts=prompts_of(self.role),
            recipe=self.recipe,
            software={name: metadata.version(name) for name in PACKAGES} | {"score-local": score_local.__version__},
        )


def prepare(role: Role, data: TrainingData, base: Base, recipe: Recipe) -> Job:
    """Turns the examples into tokens. Raises InputError naming one that cannot be trained on, or where a verifier's are
    of one class."""
    encoder = Encoder(FolderText(base.folder), base.name, recipe.context)
    adapter = recipe.adapter
    invocation = tuple(encoder.invocation(data.train[0], adapter.start)) if adapter.kind == "alora" else ()
    dev = some_of(data.dev, recipe.evaluation.items)
    if role == "verifier":
        where = ", ".join(data.names)
        _require_both_classes(data.train, "train", where, "Collect more problems, or raise limit")
        _require_both_classes(dev, "dev", where, "Export with a larger --dev-share, or raise evaluation.items")
    return Job(
        role=role,
        data=data,
        base=base,
        recipe=recipe,
        encoder=encoder,
        invocation=invocation,
        train=encoder.samples(data.train, invocation),
        dev=encoder.samples(dev, invocation),
    )


def _require_both_classes(rows: Sequence[Example], split: str, where: str, next_: str) -> None:
    if len({row.target for row in rows}) == 1:
        class_ = "incorrect" if rows[0].target == prompts.INCORRECT else "correct"
        what = f"all {len(rows)} {split} examples are of {class_} solutions: one class cannot be told from another"
        raise InputError(what, where, next_)


def train(job: Job, folder: Folder, tell: Tell, stopped: Callable[[], bool]) -> bool:
    """Trains, or goes on where `folder` stands, and writes the adapter into it; does nothing where it is there. False:
    `stopped` said so, and the state is saved.

    `tell` hears of each event, and of the steps in all. Raises UserError for whatever the user can mend.
    """
    before = folder.manifest()
    job = replace(job, recipe=_settled(job.recipe, before))
    if before and not folder.finished:
        require_same_computing(_told(before), _computing(job.recipe.memory), folder.path)
    if before:
        require_same(before, job.manifest(), folder.path)
    if folder.finished:
        return True
    network = Network(job.base, job.recipe.adapter, _precision(job.recipe), job.recipe.seed)
    prefixes = Prefixes(network, [*job.train, *job.dev], job.recipe.memory.prefix_cache_mb * 2**20)
    if not before:
        job = replace(job, recipe=_sized(job, network, prefixes))
        folder.begin(msgspec.structs.replace(job.manifest(), computing=_computing(job.recipe.memory)))
    state = folder.state()
    training = Training(network, prefixes, task=job.task, train=job.train, dev=job.dev, recipe=job.recipe, state=state)
    finished = _run(training, folder, tell, stopped)
    if finished:
        network.load_factors(training.state.best_factors)
        folder.write_adapter(training.state.best_factors, network.config, job.invocation)
        folder.finish(_card(job, training, network, prefixes))
    return finished


def _run(training: Training, folder: Folder, tell: Tell, stopped: Callable[[], bool]) -> bool:
    folder.continue_metrics(training.state)
    for event in training.run():
        folder.tell(event)
        tell(event, training.steps)
        if isinstance(event, Evaluated) or event.step % training.recipe.save_every == 0 or stopped():
            folder.save_state(training.snapshot())
        if stopped():
            return False
    return True


def _settled(recipe: Recipe, before: Manifest | None) -> Recipe:
    """The recipe with what was, or can be, chosen before the model is loaded. A training that goes on keeps what it was
    begun with: another micro-batch adds the same gradients in another order."""
    memory, chosen = recipe.memory, before.recipe.memory if before else None
    if memory.precision == "auto" and not torch.cuda.is_available():
        memory = msgspec.structs.replace(memory, precision=chosen.precision if chosen else faster_precision())
    if memory.micro_batch == 0 and chosen:
        memory = msgspec.structs.replace(memory, micro_batch=chosen.micro_batch)
    return msgspec.structs.replace(recipe, memory=memory)


def _computing(memory: Memory) -> str:
    """What computes, and how."""
    return _on_gpu(memory) if torch.cuda.is_available() else f"{memory.precision} on a CPU"


def _on_gpu(memory: Memory) -> str:
    return f"{'nf4' if memory.four_bit else 'bfloat16'} on a GPU"


def _told(before: Manifest) -> Manifest:
    """A manifest of before tells that it is of a GPU where the precision was left open: a CPU settles it."""
    if before.computing or before.recipe.memory.precision != "auto":
        return before
    return msgspec.structs.replace(before, computing=_on_gpu(before.recipe.memory))


def _sized(job: Job, network: Network, prefixes: Prefixes) -> Recipe:
    """The recipe with the micro-batch that fits. Raises MemoryLimit."""
    memory, batch = job.recipe.memory, min(job.recipe.optimiser.batch, len(job.train))
    size = memory.micro_batch or micro_batch_of(network, prefixes, job.train, batch)
    return msgspec.structs.replace(job.recipe, memory=msgspec.structs.replace(memory, micro_batch=size))


def _precision(recipe: Recipe) -> Precision:
    if torch.cuda.is_available():
        return "nf4" if recipe.memory.four_bit else "bfloat16"
    assert recipe.memory.precision != "auto", "it is settled"
    return recipe.memory.precision


def _card(job: Job, training: Training, network: Network, prefixes: Prefixes) -> AdapterCard:
    task, state, calibration = job.task, training.state, {}
    if isinstance(task, VerifierTask):
        odds = task.log_odds(network, prefixes, job.dev)
        calibration = msgspec.structs.asdict(calibrate(odds, [is_incorrect(sample) for sample in job.dev]))
    assert state.base and state.best, "training ends with an evaluation"
    measured = {task.name: state.best.metric, "loss": state.best.loss, "step": state.best_step, "dev": state.best.n}
    return AdapterCard(
        role=job.role,
        kind=job.recipe.adapter.kind,
        base=job.base.name,
        base_sha256=job.base.sha256,
        prompts=prompts_of(job.role),
        calibration=calibration,
        data={"from": job.data.names, "sha256": job.data.sha256, "train": len(job.train), "dev": len(job.dev)},
        metrics=measured | {f"base_{task.name}": state.base.metric, "base_loss": state.base.loss},
    )
