"""Gives a file of the user's own a name: an entry in the catalogue that lies in the models folder."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from filelock import FileLock

from score_local.catalog_entries import CATALOG, load_catalog, models_dir
from score_local.errors import ModelError


def register(file: Path, *, title: str, licence: str, notes: str = "") -> str:
    """Adds `file` (which stays where it is) to the user's catalogue under its stem; the name that it got.

    A file that is there already keeps its name. Raises ModelError where another model has that name, or the catalogue
    cannot be written.
    """
    file = file.resolve()
    own = models_dir() / CATALOG
    try:
        own.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(own.with_name(f".{CATALOG}.lock"), timeout=10):
            name = _name(file)
            known = load_catalog().get(name)
            if known is None:
                _append(own, name, {"title": title, "file": str(file), "licence": licence, "notes": notes})
            elif Path(known.file) != file:
                raise ModelError(f"the name {name} is taken by {known.file}", str(own), "Give the file another name")
            return name
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror or error}", str(own), "Set SCORE_LOCAL_MODELS") from error


def _name(file: Path) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", file.stem.lower()).strip("-.")


def _append(own: Path, name: str, fields: dict[str, str]) -> None:
    before = own.read_text(encoding="utf-8") if own.exists() else ""
    lines = [f"[models.{_quoted(name)}]", *(f"{key} = {_quoted(value)}" for key, value in fields.items() if value)]
    part = own.with_name(own.name + ".part")
    part.write_text(f"{before.rstrip()}\n\n" * bool(before.strip()) + "\n".join(lines) + "\n", encoding="utf-8")
    os.replace(part, own)


def _quoted(text: str) -> str:
    """A TOML basic string; JSON escapes the same characters the same way."""
    return json.dumps(text, ensure_ascii=False)
