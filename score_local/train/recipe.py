"""Recipes: every number of a training run in one TOML file. One ships for each role (`recipes/`), flags override it.

Unknown keys and values out of range are refused. What was chosen for a run is stored with its adapter.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from score_local.errors import PolicyError
from score_local.policy import Positive, Probability, refusal
from score_local.roles import Role

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Start = Literal["turn", "reply"]
Rate = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]  # bounded, as all numbers: JSON has no infinity
Decay = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Norm = Annotated[float, msgspec.Meta(gt=0.0, le=1e6)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class AdapterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Low-rank factors on all linear projections. An activated LoRA ("alora", arXiv 2504.12397) changes what follows
    the opening of its own turn, or of the `reply` to it, which trains on fewer tokens; a plain one all tokens."""

    kind: Literal["lora", "alora"] = "alora"
    start: Start = "turn"  # of an activated one
    rank: Positive = 32
    alpha: Positive = 64
    dropout: Probability = 0.05


class Optimiser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """AdamW. The rate rises over the share `warmup` of the steps, then falls as a cosine to 0; `batch` samples a step;
    `clip` is the largest norm of a gradient."""

    learning_rate: Rate = 1e-4
    epochs: Positive = 3
    batch: Positive = 32
    warmup: Probability = 0.05
    weight_decay: Decay = 0.0
    clip: Norm = 1.0


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every `every` steps, on `items` of the dev examples; training ends after `patience` evaluations without a
    better one. `max_tokens` is for what a solver or refiner writes, `rows` of them at a time."""

    every: Positive = 25
    items: Positive = 200
    patience: Positive = 4
    max_tokens: Positive = 512
    rows: Positive = 16


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`precision` of the base on the CPU ("auto" times both; a GPU computes in bfloat16); `four_bit`: NF4 on a GPU;
    `micro_batch` samples at once (0: as many as fit); `prefix_cache_mb` for what the base computed of each sample."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    four_bit: bool = True
    micro_batch: Count = 0
    prefix_cache_mb: Count = 4096


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`context`: tokens of the longest sample allowed; `limit`: only so many training examples (0: all); of
    rationales, those with at most `calculations`, and shorter questions made of such that have one more (0: all, as
    they are); a checkpoint is written every `save_every` steps."""

    seed: Count = 0
    context: Positive = 2048
    limit: Count = 0
    calculations: Count = 0
    save_every: Positive = 10
    adapter: AdapterSettings = AdapterSettings()
    optimiser: Optimiser = Optimiser()
    evaluation: Evaluation = Evaluation()
    memory: Memory = Memory()


def load_recipe(role: Role, path: Path | None, overrides: dict[str, Any]) -> Recipe:
    """A recipe file (None: the one that ships for the role), with `overrides`, dotted keys such as
    `optimiser.epochs`, laid over it. Raises PolicyError naming the key, and the file or the flag that it is of."""
    table = _read(path) if path else tomllib.loads(_shipped(role))
    _recipe(table, str(path) if path else f"the recipe of the {role}")
    for key, value in overrides.items():
        _set(table, key.split("."), value)
    return _recipe(table)


def parse_override(text: str) -> tuple[str, Any]:
    """`optimiser.epochs=2` as (key, value), the value in TOML's spelling; what TOML does not know is a text, so that
    none needs quotes within the shell's. Raises PolicyError."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise PolicyError(f"{text!r} is not KEY=VALUE", "--set", "Try: --set optimiser.epochs=2")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except ValueError:  # TOMLDecodeError is one
        return key.strip(), value.strip()


def _recipe(table: dict[str, Any], where: str = "") -> Recipe:
    try:
        return msgspec.convert(table, type=Recipe)
    except msgspec.ValidationError as error:
        raise refusal(error, Recipe, where) from error


def _shipped(role: Role) -> str:
    return (resources.files("score_local.train") / "recipes" / f"{role}.toml").read_text(encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyError(error.strerror or str(error), str(path), "Check --recipe") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"not a TOML file: {error}", str(path), "Mend that line") from error
    return table


def _set(table: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise PolicyError(f"{key!r} is no table", f"flag {'.'.join(keys)}", f"Leave out what follows {key}")
    table[keys[-1]] = value
