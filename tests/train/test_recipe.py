from __future__ import annotations

import math
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


KNOWN, MEND = "Known keys: seed, ", "Mend it"


@pytest.mark.parametrize(
    ("overrides", "told", "where", "next_"),
    [
        ({"optimizer.epochs": 2}, "unknown field `optimizer`", "flag", KNOWN),
        ({"optimiser.epoch": 2}, "unknown field `epoch`", "flag optimiser", KNOWN),
        ({"optimiser.epochs": 0}, "$.optimiser.epochs", "flag optimiser.epochs", MEND),
        ({"optimiser.learning_rate": "fast"}, "got `str`", "flag optimiser.learning_rate", MEND),
        ({"optimiser.learning_rate": math.inf}, "<= 1.0", "flag optimiser.learning_rate", MEND),
        ({"optimiser.weight_decay": math.nan}, ">= 0.0", "flag optimiser.weight_decay", MEND),
        ({"optimiser.clip": math.inf}, "<= 1000000.0", "flag optimiser.clip", MEND),
        ({"adapter.kind": "dora"}, "$.adapter.kind", "flag adapter.kind", MEND),
        ({"adapter.dropout": 1.5}, "$.adapter.dropout", "flag adapter.dropout", MEND),
        ({"seed.of": 1}, "'seed' is no table", "flag seed.of", "Leave out what follows seed"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(overrides: dict[str, Any], told: str, where: str, next_: str) -> None:
    with pytest.raises(PolicyError) as caught:
        load_recipe("verifier", None, overrides)
    assert told in caught.value.what and caught.value.where == where and caught.value.next.startswith(next_)


def test_what_is_wrong_in_the_file_is_not_laid_to_a_flag(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("[optimiser]\nepochs = 0\n")
    with pytest.raises(PolicyError, match=r"r\.toml: .*optimiser\.epochs`\. Mend it$"):
        load_recipe("verifier", tmp_path / "r.toml", {"seed": 1})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optimiser.epochs=2", ("optimiser.epochs", 2)),
        ('adapter.kind="lora"', ("adapter.kind", "lora")),
        ("adapter.kind=lora", ("adapter.kind", "lora")),
        ("memory.precision = bfloat16", ("memory.precision", "bfloat16")),
        ("memory.four_bit = false", ("memory.four_bit", False)),
        ("a=[1", ("a", "[1")),
    ],
)
def test_an_override_is_read_as_toml_or_is_a_text(text: str, expected: tuple[str, Any]) -> None:
    assert parse_override(text) == expected


def test_an_unquoted_text_is_as_good_as_a_quoted_one() -> None:
    for text in ("memory.precision=bfloat16", 'memory.precision="bfloat16"'):
        assert load_recipe("verifier", None, dict([parse_override(text)])).memory.precision == "bfloat16"


@pytest.mark.parametrize("text", ["optimiser.epochs", "=2", ""])
def test_an_override_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PolicyError, match=r"is not KEY=VALUE\. Try: --set"):
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
