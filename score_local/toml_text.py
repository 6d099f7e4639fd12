"""Writes tables as TOML text; the standard library only reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any


def toml_text(table: Mapping[str, Any]) -> str:
    """`table`, of builtin types, as TOML: keys first, then a section for each table. None is left out, as is a table
    without a key."""
    return "\n".join(_lines(table, "")).lstrip("\n") + "\n"


def _lines(table: Mapping[str, Any], prefix: str) -> Iterator[str]:
    sections = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    pairs = [(key, value) for key, value in table.items() if key not in sections and value is not None]
    if pairs and prefix:
        yield f"\n[{prefix}]"
    for key, value in pairs:
        yield f"{_key(key)} = {_value(value)}"
    for key, section in sections.items():
        yield from _lines(section, f"{prefix}.{_key(key)}" if prefix else _key(key))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):  # JSON escapes the same characters the same way, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)
