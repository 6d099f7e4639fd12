"""A collection's folder: what it is made of, its problems, and a file for each stage.

manifest.json       model, prompts and settings: a collection is resumed only with the same
problems.jsonl      every question it was given; a later call may add some
samples.jsonl       sample     by the model, a row appended as each ends
labels.jsonl        label      computed from the above: written whole, again whenever the stage runs
pairs.jsonl         pair       computed
critiques.jsonl     critique   by the model
judged.jsonl        rules      computed
corrections.jsonl   prompt     by the model
accepted.jsonl      prompt     computed
programs.jsonl      program    by the model, and run
dataset/            export     what `train` reads
funnel.json         how many were left after each stage
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import msgspec
from filelock import FileLock, Timeout

import score_local
from score_local import prompts
from score_local.append_only import write_error
from score_local.collect import conversations
from score_local.collect.line_file import LineFile, read_rows, write_rows
from score_local.collect.records import Corrected, Correction, Critique, Judged, Labelled, Pair, Program, Row, Sample
from score_local.collect.settings import Settings
from score_local.errors import RunError
from score_local.problem import Problem
from score_local.runs import changes, write_whole
from score_local.verifiers import program_prompts

MANIFEST, PROBLEMS, FUNNEL, LOCK = "manifest.json", "problems.jsonl", "funnel.json", ".lock"
R = TypeVar("R", bound=Row)


class StageFile(NamedTuple, Generic[R]):
    """A file of a collection, what its rows are, and the stage that writes it."""

    name: str
    type: type[R]
    stage: str


SAMPLES = StageFile("samples.jsonl", Sample, "sample")
LABELLED = StageFile("labels.jsonl", Labelled, "label")
PAIRS = StageFile("pairs.jsonl", Pair, "pair")
CRITIQUES = StageFile("critiques.jsonl", Critique, "critique")
JUDGED = StageFile("judged.jsonl", Judged, "rules")
CORRECTIONS = StageFile("corrections.jsonl", Correction, "prompt")
ACCEPTED = StageFile("accepted.jsonl", Corrected, "prompt")
PROGRAMS = StageFile("programs.jsonl", Program, "program")
# Prompts by the manifest's name for them, and the file of the stage that first asks with them.
FIRST_ASKED = {"asks": CRITIQUES.name, "program_prompts": PROGRAMS.name}


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who says it: an engine and a model; the SHA-256 of the model's files, where they are on this machine. `solver` is
    that of the adapter which solves, where one does."""

    engine: str
    model: str
    sha256: str | None = None
    solver: str | None = None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a collection is made of. `software` is told, not compared. `prompts` are those of run time, `asks` those of
    `collect/prompts`, `program_prompts` those of the program verifier."""

    version: int = 1
    source: Source
    prompts: str
    asks: str
    program_prompts: str = ""
    settings: Settings
    software: dict[str, str] = {}


class _ProblemRow(Row, frozen=True, kw_only=True):
    problem: Problem


def manifest_of(source: Source, settings: Settings) -> Manifest:
    return Manifest(
        source=source,
        prompts=prompts.fingerprint(),
        asks=conversations.fingerprint(),
        program_prompts=program_prompts(),
        settings=settings,
        software={"score-local": score_local.__version__},
    )


class Collection:
    """A folder that this process writes. Use `open_collection`; it is a context manager."""

    def __init__(self, folder: Path, manifest: Manifest, lock: FileLock) -> None:
        self.folder, self.manifest, self._lock = folder, manifest, lock
        path = folder / PROBLEMS
        found = read_rows(path, _ProblemRow) if path.exists() else {}
        self.problems = {key: row.problem for key, row in found.items()}

    def add_problems(self, problems: Iterable[Problem]) -> None:
        """Adds those it does not have. Raises RunError where one it has is now another question or answer."""
        problems = list(problems)
        changed = [p.id for p in problems if self.problems.get(p.id, p) != p]
        if changed:
            raise RunError(
                f"{len(changed)} questions differ from those of this collection, the first is {changed[0]!r}",
                str(self.folder),
                "Give the changed questions new ids, or choose another --out",
            )
        self.problems |= {p.id: p for p in problems}
        rows = (_ProblemRow(id=p.id, problem=p) for p in self.problems.values())
        write_rows(self.folder / PROBLEMS, rows)

    def has(self, file: StageFile[R]) -> bool:
        return (self.folder / file.name).exists()

    def read(self, file: StageFile[R]) -> dict[str, R]:
        """A stage's rows by id. Raises RunError where the stage has not been run."""
        if not self.has(file):
            raise RunError(f"has no {file.name} yet", str(self.folder), f"Run the stage first: --stage {file.stage}")
        return read_rows(self.folder / file.name, file.type)

    def write(self, file: StageFile[R], rows: Iterable[R]) -> None:
        write_rows(self.folder / file.name, rows)

    def continued(self, file: StageFile[R]) -> LineFile[R]:
        """A stage's file, to be appended to."""
        return LineFile(self.folder / file.name, file.type)

    def write_funnel(self, funnel: msgspec.Struct) -> None:
        write_whole(self.folder / FUNNEL, pretty(funnel))

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def open_collection(folder: Path, manifest: Manifest, *, resume: bool) -> Collection:
    """Begins a collection, or with `resume` continues the one in `folder` (or begins it, where there is none yet).

    Raises RunError where there is one and `resume` is off, where its manifest differs, where another process writes
    it, or where it cannot be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError("another process is writing it", str(folder), "Wait for it, or choose another --out") from error
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        if (folder / MANIFEST).exists():
            _check_resumable(folder, manifest, resume)
        else:
            write_whole(folder / MANIFEST, pretty(manifest))
        return Collection(folder, manifest, lock)
    except BaseException:
        lock.release()
        raise


def pretty(content: msgspec.Struct) -> bytes:
    """JSON for people, the same bytes for the same content."""
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _check_resumable(folder: Path, manifest: Manifest, resume: bool) -> None:
    if not resume:
        raise RunError("holds a collection already", str(folder), "Continue it with --resume, or choose another --out")
    try:
        found = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        where = str(folder / MANIFEST)
        raise RunError(f"cannot be read: {error}", where, "Restore it, or choose another --out") from error
    changed = changes(found, manifest)
    if changed and not any((folder / FIRST_ASKED.get(name, MANIFEST)).exists() for name in changed):
        # Nothing was asked with those prompts yet.
        return write_whole(folder / MANIFEST, pretty(manifest))
    if changed:
        what = f"this collection was made with another {', '.join(changed)}"
        raise RunError(what, str(folder), "Use what it was made with, or choose another --out")
