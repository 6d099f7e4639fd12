"""The funnel: how many questions, samples, pairs and critiques there were, why each was rejected, and what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

import msgspec

from score_local.collect import collection as files
from score_local.collect.collection import Collection, StageFile
from score_local.collect.records import LABELS, Corrected, Judged, Labelled, Reply, Row
from score_local.collect.rules import CORRECTION_RULES, EVERY_STEP_RULES, FIRST_STEP_RULES
from score_local.collect.stages import has_gold, program_label

SPLITS = ("train", "dev")


class Funnel(msgspec.Struct, frozen=True, kw_only=True):
    """Counts. A stage that has not been run counts nothing.

    `rules` and `prompt` count what the rule filter and the prompt filter rejected, by reason; `programs` are counted by
    what they computed, as `labels` are; `exported` examples by role and split (a verifier's are balanced in train, as
    sampled in dev); `generated` tokens by stage.
    """

    questions: int
    without_gold: int
    samples: int
    labels: dict[str, int]
    with_right: int
    with_right_and_wrong: int
    pairs: int
    critiques: int
    rules: dict[str, int]
    corrections: int
    prompt: dict[str, int]
    kept: int
    programs: dict[str, int] = {}
    exported: dict[str, dict[str, int]]
    generated: dict[str, int]


def funnel_of(collection: Collection, exported: dict[str, dict[str, int]]) -> Funnel:
    """Counts what lies in a collection's folder; `exported` is what its dataset holds."""
    problems = collection.problems.values()
    samples, labels = _rows(collection, files.SAMPLES), _rows(collection, files.LABELLED)
    critiques, judged = _rows(collection, files.CRITIQUES), _rows(collection, files.JUDGED)
    corrections, accepted = _rows(collection, files.CORRECTIONS), _rows(collection, files.ACCEPTED)
    programs = _rows(collection, files.PROGRAMS)
    right, wrong = _problems(labels, "correct"), _problems(labels, "incorrect")
    return Funnel(
        questions=len(problems),
        without_gold=sum(not has_gold(problem) for problem in problems),
        samples=len(samples),
        labels=_ordered(Counter(row.label for row in labels), LABELS),
        with_right=len(right),
        with_right_and_wrong=len(right & wrong),
        pairs=len(_rows(collection, files.PAIRS)),
        critiques=len(critiques),
        rules=_reasons(judged, [rule.name for rule in (*FIRST_STEP_RULES, *EVERY_STEP_RULES)]),
        corrections=len(corrections),
        prompt=_reasons(accepted, [rule.name for rule in CORRECTION_RULES]),
        kept=sum(row.reason == "" for row in accepted),
        programs=_ordered(Counter(program_label(collection.problems[row.problem], row) for row in programs), LABELS),
        exported=exported,
        generated={
            "samples": _generated(samples),
            "critiques": _generated(critiques),
            "corrections": _generated(corrections),
            "programs": _generated(programs),
        },
    )


def show(funnel: Funnel, file: TextIO) -> None:
    """The funnel as a table: what, how many, and its share of what came before."""
    rows = list(_table(funnel))
    width = max(len(name) for name, _, _ in rows)
    for name, count, whole in rows:
        share = f"{count / whole:8.1%}" if whole else ""
        print(f"{name:<{width}} {count:>9,}{share}".rstrip(), file=file)


def _table(funnel: Funnel) -> Iterator[tuple[str, int, int]]:
    yield "questions", funnel.questions, 0
    yield "  without a gold answer", funnel.without_gold, funnel.questions
    yield "samples", funnel.samples, 0
    yield from _indented(funnel.labels, funnel.samples)
    yield "questions with a right sample", funnel.with_right, funnel.questions
    yield "  and a wrong one", funnel.with_right_and_wrong, funnel.questions
    yield "pairs of a wrong and a right sample", funnel.pairs, 0
    yield "critiques", funnel.critiques, funnel.pairs
    yield from _indented(funnel.rules, funnel.critiques)
    yield "corrections of what passed the rules", funnel.corrections, funnel.critiques
    yield from _indented(funnel.prompt, funnel.corrections)
    yield "critiques with a right correction", funnel.kept, funnel.critiques
    if funnel.programs:
        yield "programs", sum(funnel.programs.values()), 0
        yield from _indented(funnel.programs, sum(funnel.programs.values()))
    for role, counts in funnel.exported.items():
        splits = ", ".join(f"{counts[split]:,} {split}" for split in SPLITS)
        yield f"{role} examples ({splits})", sum(counts.values()), 0


def _indented(counts: dict[str, int], whole: int) -> Iterator[tuple[str, int, int]]:
    return ((f"  {name}", count, whole) for name, count in counts.items())


def _rows(collection: Collection, file: StageFile[files.R]) -> Sequence[files.R]:
    return list(collection.read(file).values()) if collection.has(file) else []


def _problems(labels: Iterable[Labelled], label: str) -> set[str]:
    return {row.problem for row in labels if row.label == label}


def _reasons(rows: Iterable[Judged | Corrected], order: Sequence[str]) -> dict[str, int]:
    return _ordered(Counter(row.reason for row in rows if row.reason), order)


def _ordered(counts: Counter[str], order: Iterable[str]) -> dict[str, int]:
    return {name: counts[name] for name in order if counts[name]}


def _generated(rows: Iterable[Row]) -> int:
    return sum(row.usage.generated for row in rows if isinstance(row, Reply))
