from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from score_local.errors import PolicyError
from score_local.toml_text import toml_text
from score_local.train.options import ROLES
from score_local.train.recipe import Recipe, load_recipe, parse_override

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_recipe_that_names_every_number(role: Any) -> None:
    shipped = Path("score_local/train/recipes") / f"{role}.toml"
    table = tomllib.loads(shipped.read_text(encoding="utf-8"))
    assert _keys(table) == _keys(msgspec.to_builtins(Recipe()))
    assert load_recipe(role, None, {}) == msgspec.convert(table, type=Recipe)


def test_a_stored_recipe_reads_back(tmp_path: Path) -> None:
    recipe = load_recipe("refiner", None, {"optimiser.epochs": 7, "adapter.kind": "lora"})
    (tmp_path / "recipe.toml").write_text(toml_text(msgspec.to_builtins(recipe)))
    assert load_recipe("refiner", tmp_path / "recipe.toml", {}) == recipe


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"optimizer.epochs": 2}, "unknown field `optimizer`"),
        ({"optimiser.epoch": 2}, "unknown field `epoch`"),
        ({"optimiser.epochs": 0}, "$.optimiser.epochs"),
        ({"optimiser.learning_rate": "fast"}, "$.optimiser.learning_rate"),
        ({"adapter.kind": "dora"}, "$.adapter.kind"),
        ({"adapter.dropout": 1.5}, "$.adapter.dropout"),
        ({"seed.of": 1}, "'seed' is no table"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(overrides: dict[str, Any], told: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load_recipe("verifier", None, overrides)
    assert told in str(caught.value)
    assert "optimiser.learning_rate" in str(caught.value), "the known keys are listed"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optimiser.epochs=2", ("optimiser.epochs", 2)),
        ('adapter.kind="lora"', ("adapter.kind", "lora")),
        ("memory.four_bit = false", ("memory.four_bit", False)),
    ],
)
def test_an_override_is_read_as_toml(text: str, expected: tuple[str, Any]) -> None:
    assert parse_override(text) == expected


@pytest.mark.parametrize("text", ["optimiser.epochs", "adapter.kind=lora", "a=[1"])
def test_an_override_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PolicyError, match="is not KEY=VALUE"):
        parse_override(text)


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.toml").write_bytes(content)
    with pytest.raises(PolicyError, match="not a TOML file"):
        load_recipe("verifier", tmp_path / "r.toml", {})


def _keys(table: dict[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for key, value in table.items():
        found |= _keys(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key}
    return found
