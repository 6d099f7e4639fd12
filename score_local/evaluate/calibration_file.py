"""`calibration.toml`: written whole or not at all, read with every key and number checked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from score_local.errors import PolicyError
from score_local.runs import Manifest, write_whole
from score_local.toml_text import toml_text
from score_local.verifiers.calibration import Calibration, Origin
from score_local.verifiers.combine import ATTEMPT_TERMS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class _Compared(NamedTuple):
    """What a field of an Origin is called, and the verifier that it matters to; None: to all."""

    word: str
    verifier: str | None = None


COMPARED = {
    "model_sha256": _Compared("model"),
    "prompts": _Compared("prompts"),
    "samples": _Compared("number of samples", "consistency"),
    "programs": _Compared("number of programs", "program"),
    "judge": _Compared("judge", "model"),
    "tokens": _Compared("longest solution"),
    "thinking": _Compared("thinking"),
    "adapters": _Compared("adapters"),
}
ASKED_BY = {"verifier": "self", "programmer": "program"}  # the adapter of a role is asked by one verifier
HEAD = "# How far the verifiers of one model can be trusted; written by `score-local calibrate`.\n"
AGAIN = "Write it again: score-local calibrate RUN"


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Raises RunError where it cannot be written; an old file then stays as it was."""
    write_whole(path, f"{HEAD}\n{toml_text(msgspec.to_builtins(calibration))}".encode())


def read_calibration(path: Path) -> Calibration:
    """Raises PolicyError naming the key that is unknown, missing or out of range."""
    try:
        calibration = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), type=Calibration)
    except OSError as error:
        raise PolicyError(error.strerror or str(error), str(path), AGAIN) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"not a TOML file: {error}", str(path), AGAIN) from error
    except msgspec.ValidationError as error:
        raise PolicyError(str(error), str(path), AGAIN) from error
    names = {term.name for stage in calibration.stages for term in stage.terms}
    strangers = sorted(names - {*ATTEMPT_TERMS, *calibration.signals})
    if strangers:
        raise PolicyError(f"a stage has the unknown term {strangers[0]!r}", str(path), AGAIN)
    return calibration


def origin_of(manifest: Manifest) -> Origin:
    """What made a run, as a calibration remembers it."""
    return Origin(
        model=manifest.model.name,
        model_sha256=manifest.model.sha256,
        prompts=manifest.prompts,
        samples=manifest.policy.verify.samples,
        adapters={role: file.sha256 for role, file in manifest.adapters.items()},
        programs=manifest.policy.verify.programs,
        tokens=manifest.policy.solve.max_tokens,
        thinking=manifest.policy.thinking,
        judge=manifest.policy.judge.model if manifest.policy.judge else None,
    )


def differences(calibration: Calibration, origin: Origin) -> list[str]:
    """What is another now than when the calibration was fitted, as words: its probabilities hold for that alone."""
    before, now = (_concerning(calibration.signals, made) for made in (calibration.origin, origin))
    return [
        told.word
        for field, told in COMPARED.items()
        if (told.verifier is None or told.verifier in calibration.signals)
        and getattr(before, field) is not None
        and getattr(before, field) != getattr(now, field)
    ]


def _concerning(signals: Sequence[str], origin: Origin) -> Origin:
    """Of the adapters, those that what is judged and `signals` hang on; who refines comes after the verdict."""
    kept = {
        role: sha256 for role, sha256 in origin.adapters.items() if role == "solver" or ASKED_BY.get(role) in signals
    }
    return msgspec.structs.replace(origin, adapters=kept)
