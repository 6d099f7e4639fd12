"""What a collection may decide; every key has a default, values out of range are refused."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from score_local.errors import PolicyError
from score_local.policy import Positive, Probability, Tokens, key_in

T = TypeVar("T", bound=msgspec.Struct)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is generated. A collection is resumed only with the settings it was begun with.

    `samples` solutions a question, `pairs` of a wrong and a right one at most; `critique` is for the feedback on one
    step; `programs` a question, drawn like samples, are what a programmer learns from. The defaults are SCORE's: it
    samples at 0.7, and writes critiques and corrections greedily. But SCORE has the model judge every step;
    `feedback_on` "first" names the first wrong step to it, which small models need.
    """

    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    samples: Positive = 10
    pairs: Positive = 4
    programs: Annotated[int, msgspec.Meta(ge=0)] = 0
    feedback_on: Literal["first", "every"] = "first"
    sampling: Tokens = Tokens(temperature=0.7)
    critique: Tokens = Tokens(max_tokens=192)
    correction: Tokens = Tokens()


class ExportSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is exported of what was collected; may change from one export to the next.

    `dev_share` of the problems are the dev split; `solutions` a question at most become examples for the solver,
    and as many programs for the programmer. `corrections`: what a refiner learns to write after a critique. "prompted":
    the correction that the model wrote with it in view, which is SCORE's prompt filter; "paired": where that is not
    right, the right solution that the critique was made of, since a model too small to follow its own critique would
    teach next to nothing.
    """

    dev_share: Probability = 0.1
    solutions: Positive = 4
    corrections: Literal["prompted", "paired"] = "prompted"


FLAGS = {name: name for name in ("seed", "samples", "pairs", "programs", "feedback_on")}
EXPORT_FLAGS = {name: name for name in ("dev_share", "solutions", "corrections")}


def settings_of(options: argparse.Namespace) -> Settings:
    """The defaults with the flags laid over them. Raises PolicyError."""
    fields = _given(options, FLAGS)
    sampling = _given(options, {"temperature": "temperature", "max_tokens": "max_tokens"})
    if sampling:
        fields["sampling"] = msgspec.structs.asdict(Settings().sampling) | sampling
    return _converted(fields, Settings)


def export_settings_of(options: argparse.Namespace) -> ExportSettings:
    """The defaults with the flags laid over them. Raises PolicyError."""
    return _converted(_given(options, EXPORT_FLAGS), ExportSettings)


def _given(options: argparse.Namespace, flags: Mapping[str, str]) -> dict[str, Any]:
    return {key: getattr(options, flag) for flag, key in flags.items() if getattr(options, flag) is not None}


def _converted(fields: dict[str, Any], type_: type[T]) -> T:
    try:
        return msgspec.convert(fields, type=type_)
    except msgspec.ValidationError as error:
        flag = key_in(error).rpartition(".")[2].replace("_", "-")  # each is called as the key that it sets
        raise PolicyError(str(error), "collect", f"Check --{flag}") from error
