"""What a run may decide: which verifiers speak, when a refinement replaces the solution, how tokens are sampled.

A policy is a small TOML file; every key has a default, unknown keys and values out of range are refused.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec

from score_local.engine.protocol import Sampling
from score_local.errors import PolicyError
from score_local.roles import Role
from score_local.trace import Method

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Probability = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Temperature = Annotated[float, msgspec.Meta(ge=0.0, le=100.0)]  # bounded, as all numbers: JSON has no infinity
Weight = Annotated[float, msgspec.Meta(ge=0.0, le=1e6)]
Seconds = Annotated[float, msgspec.Meta(gt=0.0, le=86_400.0)]
VerifierName = Literal["self", "consistency", "arithmetic", "program", "model", "oracle"]
DEFAULT_THRESHOLD = 0.5


class Tokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the tokens of one phase are chosen."""

    temperature: Temperature = 0.0
    top_k: Annotated[int, msgspec.Meta(ge=0)] = 100
    top_p: Probability = 0.95
    min_p: Probability = 0.0
    max_tokens: Positive = 512
    stop: tuple[str, ...] = ()
    loop_window: Annotated[int, msgspec.Meta(ge=0)] = 96

    def sampling(self, seed: int) -> Sampling:
        return Sampling(seed=seed, **msgspec.structs.asdict(self))


class Drawn(Tokens, frozen=True, forbid_unknown_fields=True):
    """The same for samples, which must differ: SCORE collects at 0.7; at run time 0.5 costs a small model less."""

    temperature: Temperature = 0.5


class Written(Tokens, frozen=True, forbid_unknown_fields=True):
    """The same for a refinement: a critique stands before the solution."""

    max_tokens: Positive = 768


class Verify(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who doubts, and from which probability on a doubt opens the gate (SCORE: p >= threshold).

    `samples` solutions, drawn with `sampling`, are what the consistency verifier compares with; `programs` are drawn
    beside the greedy one of the program verifier. `calibration` is a file of `score-local calibrate`: the verifiers are
    then asked in its order, for as long as it is undecided. `threshold` left out: the calibration's, or else 0.5.
    """

    verifiers: tuple[VerifierName, ...] = ("self", "arithmetic", "consistency")
    threshold: Probability | None = None
    samples: Positive = 4
    programs: Annotated[int, msgspec.Meta(ge=0)] = 0
    sampling: Drawn = Drawn()
    calibration: str | None = None

    @property
    def gate(self) -> float:
        """The threshold that holds."""
        return DEFAULT_THRESHOLD if self.threshold is None else self.threshold


class Refine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a refinement is written: if the gate opens, always (so that the threshold can be chosen later), or never.

    With the hint `program` the refiner is told what the programs of the program verifier compute, where that is another
    answer than the solution's.
    """

    when: Literal["gated", "always", "never"] = "gated"
    rounds: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1
    hint: Literal["none", "program"] = "none"
    sampling: Written = Written()


class Vote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How answers are voted on, in the methods that vote.

    At most `samples` solutions are drawn beside the greedy one, `wave` at a time, and no more than can change the
    winner. The weights say how many samples the greedy solution, its refinement and a program are worth. `tokens` is
    what the budget method may generate, and `confidence` how sure of the leader it must be to stop before that.
    """

    samples: Annotated[int, msgspec.Meta(ge=0)] = 8
    wave: Positive = 4
    initial: Weight = 1.0
    refinement: Weight = 1.0
    program: Weight = 1.0
    tokens: Positive = 1500
    confidence: Probability = 0.95


class Judge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another model, for the verifier *model*: a GGUF or catalogue name, or with `url` what a server calls it.

    The server's key is read from the environment variable `key_variable`. A judge that has not answered within
    `seconds` has no opinion.
    """

    model: str
    url: str | None = None
    key_variable: str = "SCORE_LOCAL_API_KEY"
    parallel: Positive = 4
    seconds: Seconds = 120.0


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole policy. `method` is what is done with solution, verdict and refinement: SCORE's `refine`, or a vote.

    `adapters` maps a role (solver, verifier, refiner, programmer) to a LoRA GGUF or an adapter folder. With
    `other_base` they may have been made for another file of the same shape, such as another quantisation.
    """

    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    method: Method = "refine"
    thinking: bool = False
    solve: Tokens = Tokens()
    verify: Verify = Verify()
    refine: Refine = Refine()
    vote: Vote = Vote()
    judge: Judge | None = None
    adapters: dict[Role, str] = {}
    other_base: bool = False

    def adapter(self, role: Role) -> str | None:
        """The name under which the engine knows the adapter of a role; None: the base model plays it."""
        return role if role in self.adapters else None


def load_policy(path: Path | None, overrides: Mapping[str, Any] | None = None, shipped: Path | None = None) -> Policy:
    """Reads a policy file (None: all defaults) and lays `overrides`, dotted keys such as `verify.threshold`, over it.

    `shipped` is the policy file that comes with the model: a section of it (verify, adapters, ...) holds where the
    user's file has none. Raises PolicyError naming the key, and the file or the flag that it is of.
    """
    table = (_read(shipped) if shipped else {}) | (_read(path) if path else {})
    policy = _policy(table, str(path or shipped or "policy"))
    if not overrides:
        return policy
    for key, value in overrides.items():
        _set(table, key.split("."), value)
    return _policy(table)


def refusal(error: msgspec.ValidationError, type_: type[msgspec.Struct], where: str = "") -> PolicyError:
    """What is wrong with a table for `type_`: the known keys only where one is unknown. No `where`: a flag is to blame,
    and named by its key."""
    known = f"Known keys: {', '.join(_known_keys(type_))}" if "unknown field" in str(error) else "Mend it"
    return PolicyError(str(error), where or f"flag {key_in(error)}".rstrip(), known)


def key_in(error: msgspec.ValidationError) -> str:
    """The dotted key that an error is about, such as `verify.threshold`; "" where it is the whole table."""
    found = re.search(r"\$\.([\w.]+)", str(error))
    return found[1] if found else ""


def _policy(table: dict[str, Any], where: str = "") -> Policy:
    try:
        return msgspec.convert(table, type=Policy, strict=True)
    except msgspec.ValidationError as error:
        raise refusal(error, Policy, where) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyError(error.strerror or str(error), str(path), "Check --policy") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"not a TOML file: {error}", str(path), "Mend that line") from error
    return files_beside(path, table)


def files_beside(policy: Path, table: dict[str, Any], words: Sequence[str] = ()) -> dict[str, Any]:
    """The table of a policy file with the files that it names found from where the file lies; `words` may stand for a
    calibration and are no files."""
    adapters, verify = table.get("adapters"), table.get("verify")
    if isinstance(adapters, dict):
        table["adapters"] = {role: _path_beside(policy, file) for role, file in adapters.items()}
    if isinstance(verify, dict) and verify.get("calibration") not in (None, *words):
        table["verify"] = verify | {"calibration": _path_beside(policy, verify["calibration"])}
    return table


def _path_beside(policy: Path, file: Any) -> Any:
    return str(policy.parent / os.path.expanduser(file)) if isinstance(file, str) else file


def _set(table: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        section = table.get(key, {})
        if not isinstance(section, dict):
            return  # two overrides that do not go together: the table is refused for it
        table[key] = dict(section)
        table = table[key]
    table[keys[-1]] = value
    if keys[-1] == "verifiers":
        table.pop("calibration", None)  # it was fitted for others


def _known_keys(struct: type[msgspec.Struct], prefix: str = "") -> list[str]:
    names: list[str] = []
    for field in msgspec.structs.fields(struct):
        section = _section(field.type)
        names += _known_keys(section, f"{prefix}{field.name}.") if section else [prefix + field.name]
    return names


def _section(type_: Any) -> type[msgspec.Struct] | None:
    """The struct that a field holds, or may hold."""
    structs = (one for one in (type_, *get_args(type_)) if isinstance(one, type) and issubclass(one, msgspec.Struct))
    return next(structs, None)
