"""The policies that an evaluation sets side by side: shipped ones by name, one's own by file.

Beside what a policy file holds, one of these may name a `base`, the policy that it is laid over, and say
`verify.calibration = "fit"`: the evaluation then fits the calibration itself, on problems that it does not report on.
"""

from __future__ import annotations

import difflib
import fnmatch
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from score_local.errors import PolicyError
from score_local.policy import Policy, Vote, files_beside, load_policy

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable

    import tomllib
else:
    from importlib.abc import Traversable

    import tomli as tomllib

FIT = "fit"


class NamedPolicy(NamedTuple):
    name: str
    policy: Policy

    @property
    def fitted(self) -> bool:
        """Whether its calibration is the evaluation's to fit."""
        return self.policy.verify.calibration == FIT

    @property
    def source(self) -> Policy:
        """What its calibration is fitted from: every verifier speaks of every first solution, and every gate is open.

        Behind the gates of a vote stands its own vote: where it never refines, no refinement has one, and none is
        written. A method without a gate needs a probability and no threshold: SCORE's own will do.
        """
        verify = msgspec.structs.replace(self.policy.verify, calibration=None, threshold=None)
        refine = msgspec.structs.replace(self.policy.refine, when="always", rounds=1)
        source = msgspec.structs.replace(self.policy, verify=verify, refine=refine)
        if source.method not in ("refine-then-vote", "budget"):
            return msgspec.structs.replace(source, method="refine", vote=Vote())
        if self.policy.refine.when != "never":
            return source
        return msgspec.structs.replace(source, vote=msgspec.structs.replace(source.vote, refinement=0.0))


def shipped() -> list[str]:
    """The names of the policies that come with score-local."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def policies_of(wanted: Sequence[str], overrides: Mapping[str, Any] | None = None) -> list[NamedPolicy]:
    """The policies that are named: shipped ones (also "majority-*"), and .toml files, called by their stems.

    `overrides` are dotted keys laid over each. Raises PolicyError for a name that is unknown or comes twice.
    """
    found: dict[str, NamedPolicy] = {}
    for name, path in _files(wanted):
        if name in found:
            raise PolicyError(f"the policy {name!r} comes twice", "--policies", "Give each file a name of its own")
        found[name] = NamedPolicy(name, _policy(_table(path), overrides or {}, str(path)))
    return list(found.values())


def _files(wanted: Sequence[str]) -> Iterator[tuple[str, Traversable]]:
    """Each policy once, though a pattern and a name may both mean it."""
    names = dict.fromkeys(name for word in wanted if not word.endswith(".toml") for name in _matching(word))
    yield from ((name, _folder() / f"{name}.toml") for name in names)
    yield from ((Path(word).stem, Path(word)) for word in wanted if word.endswith(".toml"))


def _matching(word: str) -> list[str]:
    names = fnmatch.filter(shipped(), word)
    if not names:
        near = difflib.get_close_matches(word, shipped(), n=3) or shipped()
        raise PolicyError(f"there is no policy {word!r}", "--policies", f"Name a .toml file, or: {', '.join(near)}")
    return names


def _policy(table: Mapping[str, Any], overrides: Mapping[str, Any], where: str) -> Policy:
    keys = dict(_dotted(table)) | dict(overrides)
    calibration = keys.pop("verify.calibration", None)
    if calibration is not None:  # after the verifiers: other verifiers would annul it
        keys["verify.calibration"] = calibration
    try:
        return load_policy(None, keys)
    except PolicyError as error:
        raise PolicyError(error.what, where, error.next) from error


def _table(path: Traversable) -> dict[str, Any]:
    """What a file says, over what its base says."""
    table = _read(path)
    base = table.pop("base", None)
    if base is None:
        return table
    if base not in shipped():
        raise PolicyError(f"there is no base {base!r}", str(path), f"Choose from: {', '.join(shipped())}")
    return _laid_over(table, _table(_folder() / f"{base}.toml"))


def _read(path: Traversable) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyError(error.strerror or str(error), str(path), "Check --policies") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"not a TOML file: {error}", str(path), "Mend that line") from error
    return files_beside(path, table, words=(FIT,)) if isinstance(path, Path) else table


def _laid_over(table: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in table.items():
        below = merged.get(key)
        merged[key] = _laid_over(value, below) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def _dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _folder() -> Traversable:
    return resources.files("score_local.evaluate") / "policies"
