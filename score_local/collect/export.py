"""From what was collected to training examples: the conversations of run time, and the replies to learn.

The same collection gives the same bytes. A problem is in one split only, by a hash of its id.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from score_local import prompts
from score_local.append_only import write_error
from score_local.collect.collection import Collection, Source, pretty
from score_local.collect.funnel import SPLITS, Funnel, funnel_of
from score_local.collect.records import (
    Corrected,
    Correction,
    Example,
    Judged,
    Labelled,
    PairTexts,
    Program,
    Sample,
    Turn,
)
from score_local.collect.rules import Attempted, judge_correction
from score_local.collect.settings import ExportSettings, Settings
from score_local.collect.stages import program_label, solved
from score_local.engine.protocol import Message
from score_local.problem import Problem
from score_local.roles import ROLES, Role
from score_local.runs import write_whole
from score_local.verifiers import program

FOLDER, CARD = "dataset", "dataset.json"
Split = Literal["train", "dev"]
R = TypeVar("R", Labelled, Program)


def split_of(problem: str, dev_share: float) -> Split:
    """The same for a problem in every collection, whatever else is in it."""
    place = int.from_bytes(hashlib.sha256(problem.encode()).digest()[:8], "big") / 2**64
    return "dev" if place < dev_share else "train"


def refiner_examples(
    texts: Mapping[str, PairTexts],
    judged: Mapping[str, Judged],
    accepted: Mapping[str, Corrected],
    settings: ExportSettings,
) -> list[Example]:
    """Question and wrong solution -> critique of its first wrong step, and the correction that follows from it."""
    examples: dict[tuple[str, str, str], Example] = {}
    for key, verdict in judged.items():
        solution = _correction(key, texts, accepted, settings) if verdict.reason == "" and key in texts else ""
        if not solution:
            continue
        pair, target = texts[key], f"Critique: {verdict.critique}\n{prompts.CORRECTED}\n{solution}"
        example = Example(
            id=key,
            problem=pair.problem.id,
            role="refiner",
            messages=turns_of(prompts.refine_messages(solved(pair.problem, pair.wrong))),
            target=target,
            split=split_of(pair.problem.id, settings.dev_share),
            meta={"sample": pair.wrong.id, "wrong_step": verdict.critique_step},
        )
        examples.setdefault((pair.problem.id, pair.wrong.text.strip(), target), example)
    return list(examples.values())


def _correction(
    key: str, texts: Mapping[str, PairTexts], accepted: Mapping[str, Corrected], settings: ExportSettings
) -> str:
    """What a refiner is to write after a critique; "" where there is no solution that passes the prompt filter."""
    row = accepted.get(key)
    if settings.corrections == "paired" and (row is None or row.reason):
        right = texts[key].correct
        row = judge_correction(Attempted(texts[key].problem, Correction(id=key, text=right.text, finish=right.finish)))
    return row.solution if row else ""


def verifier_examples(
    problems: Mapping[str, Problem],
    samples: Mapping[str, Sample],
    labels: Iterable[Labelled],
    wrong_steps: Mapping[str, int],
    settings: ExportSettings,
) -> list[Example]:
    """Question and solution -> Yes or No. To train on, as many of one as of the other, from as many problems as
    possible; the dev split is as it was sampled, repeats included, since its base rate is what a verifier's
    probabilities are calibrated to. `wrong_steps`: of a sample, by a critique that passed the rules."""
    by_split: dict[Split, list[Labelled]] = {"train": [], "dev": []}
    for row in labels:
        if row.label in ("correct", "incorrect"):
            by_split[split_of(row.problem, settings.dev_share)].append(row)
    chosen = _balanced(_without_repeats(by_split["train"], samples)) + by_split["dev"]
    return [_verifier_example(problems[row.problem], samples[row.id], row, wrong_steps, settings) for row in chosen]


def _verifier_example(
    problem: Problem, sample: Sample, row: Labelled, wrong_steps: Mapping[str, int], settings: ExportSettings
) -> Example:
    incorrect = row.label == "incorrect"
    return Example(
        id=sample.id,
        problem=problem.id,
        role="verifier",
        messages=turns_of(prompts.verify_messages(solved(problem, sample))),
        target=prompts.INCORRECT if incorrect else prompts.CORRECT,
        split=split_of(problem.id, settings.dev_share),
        meta={
            "incorrect": incorrect,
            "wrong_step": wrong_steps.get(row.id, row.arithmetic_step) if incorrect else None,
            "critique_step": wrong_steps.get(row.id),
            "arithmetic_step": row.arithmetic_step,
        },
    )


def solver_examples(
    problems: Mapping[str, Problem],
    samples: Mapping[str, Sample],
    labels: Iterable[Labelled],
    settings: ExportSettings,
) -> list[Example]:
    """Question -> a sampled solution that is right, was not cut off, and whose equations hold."""
    good = [row for row in labels if row.label == "correct" and row.arithmetic_step is None]
    good = [row for row in good if samples[row.id].finish == "stop"]
    return [
        Example(
            id=row.id,
            problem=row.problem,
            role="solver",
            messages=turns_of(prompts.solve_messages(problems[row.problem])),
            target=samples[row.id].text.strip(),
            split=split_of(row.problem, settings.dev_share),
        )
        for rank, row in _ranked(_without_repeats(good, samples))
        if rank < settings.solutions
    ]


def programmer_examples(
    problems: Mapping[str, Problem], programs: Iterable[Program], settings: ExportSettings
) -> list[Example]:
    """Question -> a program that was drawn, came to its end, and computes the gold answer."""
    good: dict[tuple[str, str], Program] = {}
    for row in programs:
        if row.finish == "stop" and program_label(problems[row.problem], row) == "correct":
            good.setdefault((row.problem, row.text.strip()), row)
    return [
        programmer_example(row.id, problems[row.problem], row.text.removeprefix(program.PREFIX), row.value, settings)
        for rank, row in _ranked(sorted(good.values(), key=lambda row: (row.problem, row.index)))
        if rank < settings.solutions
    ]


def programmer_example(key: str, problem: Problem, body: str, value: str | None, settings: ExportSettings) -> Example:
    """Question -> the body of a function that returns `value`, and the fence that ends it."""
    return Example(
        id=key,
        problem=problem.id,
        role="programmer",
        messages=turns_of(program.program_messages(problem)),
        prefix=program.PREFIX,
        target=f"{body.rstrip()}\n{program.FENCE}",
        split=split_of(problem.id, settings.dev_share),
        meta={"value": value, "kind": problem.kind},
    )


class ExportedFile(msgspec.Struct, frozen=True):
    """A file of the dataset, and how many examples it holds."""

    sha256: str
    examples: dict[str, int]


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """`dataset.json`: what the examples were made of. It is there only when all the files are whole."""

    version: int = 1
    model: Source
    prompts: str
    asks: str
    seed: int
    settings: Settings
    export: ExportSettings
    funnel: Funnel
    files: dict[str, ExportedFile]


def write_dataset(collection: Collection, examples: Iterable[Example], settings: ExportSettings) -> Dataset:
    """Writes a file for each role, then the card that says the files are whole. Raises RunError."""
    folder, manifest = collection.folder / FOLDER, collection.manifest
    by_role: dict[Role, list[Example]] = {role: [] for role in ROLES}
    for example in examples:
        by_role[example.role].append(example)
    try:
        folder.mkdir(exist_ok=True)
        (folder / CARD).unlink(missing_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    written = {f"{role}.jsonl": _write(folder / f"{role}.jsonl", rows) for role, rows in by_role.items()}
    dataset = Dataset(
        model=manifest.source,
        prompts=manifest.prompts,
        asks=manifest.asks,
        seed=manifest.settings.seed,
        settings=manifest.settings,
        export=settings,
        funnel=funnel_of(collection, {role: written[f"{role}.jsonl"].examples for role in ROLES}),
        files=written,
    )
    write_whole(folder / CARD, pretty(dataset))
    return dataset


def exported_before(collection: Collection) -> dict[str, dict[str, int]]:
    """How many examples the dataset in a collection holds, by role and split; {} where there is none, or not whole."""
    try:
        dataset = msgspec.json.decode((collection.folder / FOLDER / CARD).read_bytes(), type=Dataset)
    except (OSError, msgspec.DecodeError):
        return {}
    return dataset.funnel.exported


def _write(path: Path, rows: Sequence[Example]) -> ExportedFile:
    content = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    write_whole(path, content)
    counts = Counter[str](row.split for row in rows)
    return ExportedFile(hashlib.sha256(content).hexdigest(), {split: counts[split] for split in SPLITS})


def _without_repeats(rows: Iterable[Labelled], samples: Mapping[str, Sample]) -> list[Labelled]:
    first: dict[tuple[str, str], Labelled] = {}
    for row in rows:
        first.setdefault((row.problem, samples[row.id].text.strip()), row)
    return list(first.values())


def _balanced(rows: Iterable[Labelled]) -> list[Labelled]:
    """As many correct as incorrect ones, each kind in the order they came. Of the more frequent kind those stay that
    are the first of their problem, then the second, and so on; among equals a hash decides."""
    kinds: dict[str, list[Labelled]] = defaultdict(list)
    for row in rows:
        kinds[row.label].append(row)
    fewer, kept = min(len(kinds["correct"]), len(kinds["incorrect"])), set[str]()
    for kind in kinds.values():
        ranked = sorted(_ranked(kind), key=lambda entry: (entry[0], _hash(entry[1].id)))
        kept |= {row.id for _, row in ranked[:fewer]}
    return [row for kind in kinds.values() for row in kind if row.id in kept]


def _ranked(rows: Iterable[R]) -> list[tuple[int, R]]:
    """Each row with how many of its problem came before it."""
    seen: dict[str, int] = defaultdict(int)
    ranked = []
    for row in rows:
        ranked.append((seen[row.problem], row))
        seen[row.problem] += 1
    return ranked


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def turns_of(conversation: Iterable[Message]) -> tuple[Turn, ...]:
    return tuple(Turn(message.role, message.content) for message in conversation)
