"""`score-local collect`: questions with gold answers in, training data for adapters out."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from score_local.collect import collection as files
from score_local.collect import export, funnel, stages
from score_local.collect.collection import Collection, StageFile, manifest_of, open_collection
from score_local.collect.records import Example, PairTexts, Reply
from score_local.collect.settings import ExportSettings, export_settings_of, settings_of
from score_local.collect.stages import Loops, StageName
from score_local.commands import collect_engine
from score_local.commands.interrupts import interrupts
from score_local.commands.progress import PLAIN_INTERVAL
from score_local.engine.protocol import Engine
from score_local.errors import InputError, RunError
from score_local.helpers import NO_HELPERS, Helpers
from score_local.problem import Problem, selected
from score_local.problem_files import read_problems
from score_local.sandbox.pool import Sandbox
from score_local.schedule import Scheduler

R = TypeVar("R", bound=Reply)
LOST_CAUSE = 20  # questions that failed one after another: the engine is gone, and the rest would fail as well


def run(options: argparse.Namespace) -> int:
    """Everything that can be refused is refused before a model is loaded.

    Exit codes: 0 done, 1 done but some replies failed, 2 some lines of the file could not be read, 130 interrupted.
    """
    settings, export_settings = settings_of(options), export_settings_of(options)
    file = read_problems(options.questions)
    for fault in file.faults:
        print(f"score-local: {fault}", file=sys.stderr)
    problems = selected(file.problems, options.limit, options.shuffle)
    _tell_without_gold(problems, options.questions)
    source, open_engine = collect_engine.source_of(options)
    with open_collection(Path(options.out), manifest_of(source, settings), resume=options.resume) as collection:
        collection.add_problems(problems)
        work = Work(collection, open_engine, export_settings)
        try:
            finished = work.run([options.stage] if options.stage else stages.STAGES)
        finally:
            work.close()
            _tell_funnel(collection)
        if not finished:
            print("score-local: interrupted; go on with the same command and --resume", file=sys.stderr)
            return 130
        return 2 if file.faults else int(work.failed > 0)


@dataclass
class Work:
    """The stages over one collection, with one engine, which is opened when something is to be asked.

    `failed` counts the replies of this session that failed; they are asked for again with --resume.
    """

    collection: Collection
    open_engine: Callable[[], Engine]
    export_settings: ExportSettings
    failed: int = 0
    engine: Engine | None = None

    def run(self, names: Sequence[StageName]) -> bool:
        """Runs the stages in this order. False: the user interrupted."""
        stage: Mapping[StageName, Callable[[], bool]] = {
            "sample": self.run_sample,
            "label": self.run_label,
            "pair": self.run_pair,
            "critique": self.run_critique,
            "rules": self.run_rules,
            "prompt": self.run_prompt,
            "program": self.run_program,
            "export": self.run_export,
        }
        return all(stage[name]() for name in names)

    def close(self) -> None:
        if self.engine is not None:
            self.engine.close()

    def run_sample(self) -> bool:
        problems, manifest = self.collection.problems.values(), self.collection.manifest
        adapter = collect_engine.SOLVER if manifest.source.solver else None
        return self._ask(files.SAMPLES, lambda done: stages.sample_loops(problems, manifest.settings, done, adapter))

    def run_label(self) -> bool:
        problems, samples = self.collection.problems.values(), self.collection.read(files.SAMPLES)
        self.collection.write(files.LABELLED, stages.labels_of(problems, samples))
        return True

    def run_pair(self) -> bool:
        labels = self.collection.read(files.LABELLED)
        if not any(row.label == "correct" for row in labels.values()):
            what = f"none of {len(labels)} samples is right, so there is nothing to learn from"
            raise RunError(what, str(self.collection.folder), "Raise --samples, or choose a stronger --model")
        samples, settings = self.collection.read(files.SAMPLES), self.collection.manifest.settings
        self.collection.write(files.PAIRS, stages.pairs_of(labels.values(), samples, settings))
        return True

    def run_critique(self) -> bool:
        texts, settings = self._texts(), self.collection.manifest.settings
        return self._ask(files.CRITIQUES, lambda done: stages.critique_loops(texts, settings, done))

    def run_rules(self) -> bool:
        judged = stages.judge_critiques(self._texts(), self.collection.read(files.CRITIQUES))
        self.collection.write(files.JUDGED, judged)
        return True

    def run_prompt(self) -> bool:
        texts, settings = self._texts(), self.collection.manifest.settings
        judged = list(self.collection.read(files.JUDGED).values())
        if not self._ask(files.CORRECTIONS, lambda done: stages.correction_loops(texts, judged, settings, done)):
            return False
        accepted = stages.judge_corrections(texts, judged, self.collection.read(files.CORRECTIONS))
        self.collection.write(files.ACCEPTED, accepted)
        return True

    def run_program(self) -> bool:
        problems, settings = self.collection.problems.values(), self.collection.manifest.settings
        if not settings.programs:
            return True
        with closing(Helpers(sandbox=Sandbox())) as helpers:
            return self._ask(files.PROGRAMS, lambda done: stages.program_loops(problems, settings, done), helpers)

    def run_export(self) -> bool:
        """Of solutions and of programs, or of programs alone."""
        examples, programs = list[Example](), self.collection.has(files.PROGRAMS)
        if self.collection.has(files.SAMPLES) or not programs:
            examples += self._of_solutions()
        if programs:
            rows = self.collection.read(files.PROGRAMS).values()
            examples += export.programmer_examples(self.collection.problems, rows, self.export_settings)
        export.write_dataset(self.collection, examples, self.export_settings)
        return True

    def _of_solutions(self) -> list[Example]:
        problems, settings, texts = self.collection.problems, self.export_settings, self._texts()
        samples, labels = self.collection.read(files.SAMPLES), self.collection.read(files.LABELLED).values()
        judged, accepted = self.collection.read(files.JUDGED), self.collection.read(files.ACCEPTED)
        wrong_steps = stages.wrong_steps(texts, judged.values())
        return [
            *export.refiner_examples(texts, judged, accepted, settings),
            *export.verifier_examples(problems, samples, labels, wrong_steps, settings),
            *export.solver_examples(problems, samples, labels, settings),
        ]

    def _texts(self) -> dict[str, PairTexts]:
        pairs, labels = self.collection.read(files.PAIRS), self.collection.read(files.LABELLED)
        samples = self.collection.read(files.SAMPLES)
        return stages.texts_of(pairs.values(), self.collection.problems, samples, labels)

    def _ask(
        self, file: StageFile[R], loops: Callable[[Mapping[str, R]], Loops[R]], helpers: Helpers = NO_HELPERS
    ) -> bool:
        """Runs the loops of what is missing, and appends each reply as it ends. False: the user interrupted."""
        with self.collection.continued(file) as lines:
            todo = list(loops(lines.rows))
            if not todo:
                return True
            self.engine = self.engine or self.open_engine()
            scheduler: Scheduler[R] = Scheduler(self.engine, helpers=helpers)
            ticker = Ticker(file.stage, len(todo))
            with interrupts(scheduler.stop, scheduler.abort) as seen, closing(ticker):
                for _, reply in scheduler.run(todo):
                    lines.append(reply)
                    ticker.ended(reply)
            self.failed += ticker.failed
        return seen.count == 0


@dataclass
class Ticker:
    """Tells on stderr how far a stage is: a line now and then, and one at the end."""

    stage: str
    total: int
    done: int = 0
    failed: int = 0
    failing: set[str] = field(default_factory=set)  # questions, since the last reply that did not fail
    began: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    def ended(self, reply: Reply) -> None:
        """Raises RunError where nothing but failures has come for a while."""
        self.done += 1
        self.failed += reply.error != ""
        if not reply.error:
            self.failing.clear()
        else:
            self.failing.add(reply.id.rpartition("/")[0])  # the samples of one that is too long all fail
        if len(self.failing) >= LOST_CAUSE:
            what = f"requests for {LOST_CAUSE} questions failed one after another, the last: {reply.error}"
            raise RunError(what, next="Mend that, then go on with --resume")
        if time.monotonic() - self.told >= PLAIN_INTERVAL:
            self._tell()

    def close(self) -> None:
        self._tell()

    def _tell(self) -> None:
        self.told = time.monotonic()
        speed = 3600 * self.done / max(self.told - self.began, 1e-6)
        failed = f", {self.failed} failed" if self.failed else ""
        print(f"{self.stage}: {self.done}/{self.total}, {speed:,.0f} an hour{failed}", file=sys.stderr, flush=True)


def _tell_without_gold(problems: Sequence[Problem], where: str) -> None:
    """Raises InputError where no question has a gold answer."""
    without = [problem.id for problem in problems if not stages.has_gold(problem)]
    if len(without) == len(problems):
        raise InputError("no question has a gold answer", where, 'Add one to each: {"question": ..., "answer": ...}')
    if without:
        named = ", ".join(without[:5]) + (", ..." if len(without) > 5 else "")
        print(f"score-local: {len(without)} questions without a gold answer are left out: {named}", file=sys.stderr)


def _tell_funnel(collection: Collection) -> None:
    found = funnel.funnel_of(collection, export.exported_before(collection))
    collection.write_funnel(found)
    funnel.show(found, sys.stdout)
    print(f"collection: {collection.folder}", file=sys.stderr)
