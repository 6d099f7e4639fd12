"""Gives a file of the user's own a name: an entry in the catalogue that lies in the models folder."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

from filelock import FileLock

from score_local.catalog_entries import CATALOG, load_catalog, models_dir, same_file
from score_local.errors import ModelError

RENAME = "Rename the file; before a conversion, the adapter's folder"


def register(file: Path, *, title: str, licence: str, notes: str = "") -> str:
    """Adds `file` (which stays where it is) to the user's catalogue under its stem; the name that it got.

    A file that is there already keeps its name. Raises ModelError where another model has that name, the file's name
    makes none, or the catalogue cannot be written.
    """
    file = file.resolve()
    own = models_dir() / CATALOG
    try:
        own.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(own.with_name(f".{CATALOG}.lock"), timeout=10):
            name = free_name(file)
            if name not in load_catalog():
                _append(own, name, {"title": title, "file": str(file), "licence": licence, "notes": notes})
            return name
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror or error}", str(own), "Set SCORE_LOCAL_MODELS") from error


def free_name(file: Path) -> str:
    """The name that `register` would give a file, which may not be there yet.

    Raises ModelError where another model has it, the file's name makes none, or the catalogue is broken.
    """
    name = _name(file.stem)
    if not name:
        raise ModelError("its name holds no letter and no digit", str(file), RENAME)
    if not _is_text(str(file.resolve())):
        raise ModelError("its path is not UTF-8, which a catalogue is", str(file), "Rename it, or its folder")
    known = load_catalog().get(name)
    if known and not same_file(known.path, file):
        own = str(models_dir() / CATALOG)
        raise ModelError(f"the name {name} is taken by {known.path}", own, RENAME)
    return name


def _name(stem: str) -> str:
    """What can be seen of any script, composed as it is typed; hyphens for spaces and other ASCII."""
    text = unicodedata.normalize("NFC", stem).lower()
    words = "".join(char if _in_a_name(char) else " " for char in text).split()
    return "-".join(words).strip("-.")


def _in_a_name(char: str) -> bool:
    return char.isalnum() or char in "._-" or (not char.isascii() and char.isprintable())


def _is_text(text: str) -> bool:
    try:
        return bool(text.encode())
    except UnicodeEncodeError:  # a lone surrogate stands for a byte
        return False


def _append(own: Path, name: str, fields: dict[str, str]) -> None:
    before = own.read_text(encoding="utf-8") if own.exists() else ""
    lines = [f"[models.{_quoted(name)}]", *(f"{key} = {_quoted(value)}" for key, value in fields.items() if value)]
    part = own.with_name(own.name + ".part")
    part.write_text(f"{before.rstrip()}\n\n" * bool(before.strip()) + "\n".join(lines) + "\n", encoding="utf-8")
    os.replace(part, own)


def _quoted(text: str) -> str:
    """A TOML basic string; JSON escapes the same characters the same way."""
    return json.dumps(text, ensure_ascii=False)
