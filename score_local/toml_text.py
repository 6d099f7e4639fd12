"""Writes tables of builtin types as TOML text, in which there is no None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit


def toml_text(table: Mapping[str, Any]) -> str:
    """`table` as TOML: keys, then sections. None is left out."""
    return tomlkit.dumps(_without_none(table))


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(entry) for key, entry in value.items() if entry is not None}
    return [_without_none(entry) for entry in value] if isinstance(value, (list, tuple)) else value
