"""Which models and adapters a person may choose from, and what each needs; it never touches the network.

What cannot be read is left out of no list: its row says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

import msgspec
import psutil

from score_local.catalog import check_adapter_fits, load_catalog, locate, models_dir, read_adapter, read_header
from score_local.errors import ModelError

ADAPTERS = "adapters"
SHIPPED = Path(str(resources.files("models"))) / ADAPTERS
TYPE_IN_NAME = re.compile(r"(?<![a-z0-9])(i?q\d\w*|b?f16|f32)(?![a-z0-9])", re.IGNORECASE)


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the catalogue. `path` is None where it is not on this machine; `bytes` and `memory` where unknown."""

    name: str
    title: str
    path: Path | None
    bytes: int | None
    memory: int | None
    quantisation: str
    licence: str
    repo: str
    notes: str
    trouble: str = ""


class AdapterRow(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter folder or file. `trouble` says why it cannot be used with the model, "" where it can."""

    path: Path
    role: str
    kind: str
    base: str
    trouble: str = ""


def list_models() -> list[ModelRow]:
    """Every model of the catalogue, those that are here first. Raises ModelError for a broken catalogue."""
    rows = []
    for entry in load_catalog().values():
        path = locate(entry)
        quantisation, trouble = _look(path) if path else (_named(entry.file), "")
        rows.append(
            ModelRow(
                name=entry.name,
                title=entry.title,
                path=path,
                bytes=entry.bytes or (path.stat().st_size if path else None),
                memory=entry.memory,
                quantisation=quantisation,
                licence=entry.licence,
                repo=entry.repo,
                notes=entry.notes,
                trouble=trouble,
            )
        )
    return sorted(rows, key=lambda row: row.path is None)


def list_adapters(model: Path, others: Iterable[Path] = ()) -> list[AdapterRow]:
    """The adapters that ship, those in the models folder, and `others`, by resolved path, held against `model`."""
    found = [path.resolve() for folder in (SHIPPED, models_dir() / ADAPTERS) for path in _candidates(folder)]
    return [_adapter(path, model) for path in dict.fromkeys([*found, *(path.resolve() for path in others)])]


def free_memory() -> int:
    """Bytes that a model could have now."""
    return int(psutil.virtual_memory().available)


def _look(path: Path) -> tuple[str, str]:
    """The quantisation that the file says it has, and what is wrong with it."""
    try:
        return read_header(path).quantisation, ""
    except ModelError as error:
        return "?", error.what


def _named(file: str) -> str:
    found = TYPE_IN_NAME.findall(file)
    return found[-1].upper() if found else "?"


def _candidates(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(path for path in folder.iterdir() if path.is_dir() or path.suffix == ".gguf")


def _adapter(path: Path, model: Path) -> AdapterRow:
    try:
        found = read_adapter(path)
    except ModelError as error:
        return AdapterRow(path=path, role="?", kind="?", base="", trouble=error.what)
    try:
        check_adapter_fits(found, read_header(model))
        trouble = ""
    except ModelError as error:
        trouble = error.what
    return AdapterRow(path=path, role=found.card.role or "?", kind=found.kind, base=found.base, trouble=trouble)
