"""Training examples of one role, by split: those that `score-local collect` exports, and for a solver or
programmer also problems with a rationale. Knows no tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from score_local import prompts
from score_local.collect.export import CARD, FOLDER, Dataset
from score_local.collect.rationales import Worked, calculated_example, calculations_in, solver_example, worked_in
from score_local.collect.records import Example, Turn
from score_local.collect.shorter import shorter
from score_local.errors import InputError
from score_local.roles import TO_THE_QUESTION, Role

OF_RATIONALES: dict[Role, Callable[[Worked], Example | None]] = {
    "solver": solver_example,
    "programmer": calculated_example,
}
Key = tuple[str, tuple[Turn, ...], str]
EXPORT = "Export it: score-local collect ... --stage export"


class TrainingData(msgspec.Struct, frozen=True):
    """The examples of a role. `names` are those of the files or folders they came from; `sha256` is over the files."""

    names: tuple[str, ...]
    sha256: str
    train: list[Example]
    dev: list[Example]


def read_data(paths: Sequence[Path], role: Role, limit: int = 0, calculations: int = 0) -> TrainingData:
    """Reads JSONL files of examples (or of problems with a rationale), dataset folders, or collections that hold one;
    `limit` and `calculations` are a recipe's. Raises InputError."""
    digest, rows = hashlib.sha256(), dict[Key, Example]()
    for path in paths:
        content = _content(path, role)
        digest.update(content)
        rows |= {_key(row): row for row in _examples(content, str(path), role, calculations)}
    splits = {split: [row for row in rows.values() if row.split == split] for split in ("train", "dev")}
    where = ", ".join(map(str, paths))
    for split, found in splits.items():
        if not found:
            more = "Collect more questions" if split == "train" else "Export with a larger --dev-share"
            raise InputError(f"holds no {split} example for a {role}", where, more)
    _require_apart(splits["train"], splits["dev"], where)
    names = tuple(path.resolve().name for path in paths)
    return TrainingData(names, digest.hexdigest(), some_of(splits["train"], limit or len(rows)), splits["dev"])


def some_of(rows: Sequence[Example], count: int) -> list[Example]:
    """`count` of the rows, in their order; a hash decides, because an export may hold one class after the other."""
    chosen = sorted(rows, key=lambda row: hashlib.sha256(f"{row.id} {row.target}".encode()).digest())[:count]
    kept = {_key(row) for row in chosen}
    return [row for row in rows if _key(row) in kept]


def _key(row: Example) -> Key:
    """Two collections may call different examples by the same id."""
    return row.id, row.messages, row.target


def _content(path: Path, role: Role) -> bytes:
    file = _file_of(path, role)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(error.strerror or str(error), str(file), EXPORT) from error
    _require_whole(file, hashlib.sha256(content).hexdigest())
    return content


def _examples(content: bytes, where: str, role: Role, calculations: int) -> list[Example]:
    lines = enumerate(content.splitlines(), 1)
    return [example for n, line in lines for example in _read(line, f"{where}:{n}", role, calculations)]


def _require_apart(train: Sequence[Example], dev: Sequence[Example], where: str) -> None:
    """Raises InputError where a problem is trained on and measured with, under whatever ids."""
    trained, asked = {row.problem for row in train}, {_asked(row) for row in train}
    both = sorted({row.problem for row in dev if row.problem in trained or _asked(row) in asked})
    if both:
        what = f"{len(both)} problems are in both splits, the first is {both[0]!r}"
        raise InputError(what, where, "Export them with the same --dev-share, and give a question one id")


def _asked(row: Example) -> tuple[Turn, ...]:
    """The conversation up to the question."""
    return row.messages if row.role in TO_THE_QUESTION else row.messages[:-2]


def _file_of(path: Path, role: Role) -> Path:
    if not path.is_dir():
        return path
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    if not (folder / CARD).is_file():
        raise InputError(f"has no {CARD}: no dataset, or its export was interrupted", str(folder), EXPORT)
    return folder / f"{role}.jsonl"


def _require_whole(file: Path, sha256: str) -> None:
    """Raises InputError where the file is another than the card beside it says."""
    card = file.parent / CARD
    if not card.is_file():
        return
    try:
        listed = msgspec.json.decode(card.read_bytes(), type=Dataset).files.get(file.name)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", str(card), EXPORT) from error
    if listed and listed.sha256 != sha256:
        raise InputError(f"is not the file that {CARD} tells of", str(file), EXPORT)


def _read(line: bytes, where: str, role: Role, calculations: int) -> list[Example]:
    """The example of a line, or what its rationale teaches."""
    try:
        worked = worked_in(line) if role in OF_RATIONALES else None
    except InputError as error:
        raise InputError(error.what, where, error.next) from error
    return _lessons(worked, role, calculations) if worked else [_decode(line, where, role)]


def _lessons(worked: Worked, role: Role, calculations: int) -> list[Example]:
    """Without what had better not be learnt."""
    asked = [worked]
    if calculations:
        asked = [one for one in (worked, *shorter(worked, calculations)) if calculations_in(one) <= calculations]
    return [example for one in asked if (example := OF_RATIONALES[role](one))]


def _decode(line: bytes, where: str, role: Role) -> Example:
    try:
        example = msgspec.json.decode(line, type=Example)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"no training example: {error}", where, EXPORT) from error
    if not example.messages:
        raise InputError("no training example: its conversation is empty", where, EXPORT)
    if example.role != role:
        raise InputError(f"an example for a {example.role}, and a {role} is to be trained", where, EXPORT)
    asked = {"verifier": "verify", "refiner": "refine"}.get(role)
    if asked and example.messages[-1].content != prompts.text(asked):
        raise InputError(f"it was exported with another prompt than {asked}.txt", where, EXPORT)
    return example
