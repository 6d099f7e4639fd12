"""The catalogue: which models have a name, and where each would lie on this machine. It never touches the network."""

from __future__ import annotations

import difflib
import importlib.util
import os
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import msgspec

from score_local.errors import ModelError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_MODEL = "smollm2-135m"
CATALOG = "catalog.toml"
LIST = "score-local models list"

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Bytes = Annotated[int, msgspec.Meta(gt=0)]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model of the catalogue; models/catalog.toml says what each field means. No `repo`: it cannot be pulled."""

    name: str
    title: str
    file: Annotated[str, msgspec.Meta(min_length=1)]
    repo: str = ""
    revision: str = "main"
    sha256: Sha256 | None = None
    bytes: Bytes | None = None
    memory: Bytes | None = None
    licence: str = "unknown"
    package: Annotated[str, msgspec.Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*:[^:]+$")] | None = None
    notes: str = ""
    policy: str = ""

    @property
    def path(self) -> Path:
        """Where a pulled file lies; an absolute `file` stays where it is."""
        return models_dir() / self.file


class Row(msgspec.Struct, frozen=True):
    """A model for `models list`. `where`: its path, empty where it is not on this machine."""

    name: str
    title: str
    bytes: int | None
    memory: int | None
    licence: str
    where: str


class _Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: dict[str, dict[str, Any]] = {}


def models_dir() -> Path:
    """$SCORE_LOCAL_MODELS, else the user's cache. It may not exist yet."""
    chosen = os.environ.get("SCORE_LOCAL_MODELS")
    if chosen:
        return Path(os.path.expanduser(chosen))
    import platformdirs

    return platformdirs.user_cache_path("score-local") / "models"


def load_catalog() -> dict[str, Entry]:
    """Name to entry: those that ship, with the user's own laid over them. Raises ModelError for a broken file."""
    shipped = resources.files("models").joinpath(CATALOG).read_text(encoding="utf-8")
    entries = _entries(shipped, "models/catalog.toml")
    own = models_dir() / CATALOG
    try:
        return {**entries, **_entries(own.read_text(encoding="utf-8"), str(own))}
    except FileNotFoundError:
        return entries
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot be read: {error}", str(own), "Mend it, or move it away") from error


def find_entry(name: str) -> Entry:
    """The catalogue's entry of that name. Raises ModelError with the near names."""
    entries = load_catalog()
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name.lower(), entries, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    raise ModelError("no model has that name", name, f"{hint}See: {LIST}")


def known_models() -> list[Row]:
    """Every model of the catalogue."""
    return [
        Row(entry.name, entry.title, entry.bytes, entry.memory, entry.licence, str(locate(entry) or ""))
        for entry in load_catalog().values()
    ]


def locate(entry: Entry) -> Path | None:
    """The file of an entry: pulled, or carried by an installed package; None where it is not on this machine."""
    if entry.path.is_file():
        return entry.path
    return _packaged(entry.package) if entry.package else None


def same_file(one: Path | None, other: Path | None) -> bool:
    """Whether two paths lead to one file, however they are spelled; it need not be there. None is no file."""
    return one is not None and other is not None and os.path.realpath(one) == os.path.realpath(other)


def shipped_policy(model: Path) -> Path | None:
    """The policy file that comes with score-local for a model of the catalogue: its adapters and its calibration."""
    entries = (entry for entry in load_catalog().values() if entry.policy and same_file(locate(entry), model))
    return next((Path(str(resources.files("models") / entry.policy)) for entry in entries), None)


def _packaged(package: str) -> Path | None:
    # find_spec does not import the package: it may pull in libraries that take seconds to load.
    module, _, file = package.partition(":")
    spec = importlib.util.find_spec(module)
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((path for path in (Path(folder) / file for folder in folders) if path.is_file()), None)


def _entries(text: str, where: str) -> dict[str, Entry]:
    try:
        tables = msgspec.convert(tomllib.loads(text), type=_Catalog).models
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ModelError(f"not a catalogue: {error}", where, "Mend it, or move it away") from error
    return {name: _entry(name, table, where) for name, table in tables.items()}


def _entry(name: str, table: dict[str, Any], where: str) -> Entry:
    try:
        return msgspec.convert({"name": name, **table}, type=Entry)
    except msgspec.ValidationError as error:
        raise ModelError(f"model {name!r}: {error}", where, "Mend it, or move it away") from error
