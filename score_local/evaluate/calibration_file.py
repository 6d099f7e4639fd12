"""`calibration.toml`: written whole or not at all, read with every key and number checked."""

from __future__ import annotations

import sys
from collections.abc import Callable
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
    """One thing that an Origin remembers, None where it does not; what it is called, and the verifier that it matters
    to, None: to what all of them judge."""

    word: str
    of: Callable[[Origin], object]
    verifier: str | None = None


COMPARED = (
    _Compared("model", lambda origin: origin.model_sha256),
    _Compared("prompts", lambda origin: origin.prompts),
    _Compared("number of samples", lambda origin: origin.samples, "consistency"),
    _Compared("number of programs", lambda origin: origin.programs, "program"),
    _Compared("judge", lambda origin: origin.judge, "model"),
    _Compared("longest solution", lambda origin: origin.tokens),
    _Compared("thinking", lambda origin: origin.thinking),
    _Compared("adapters", lambda origin: origin.adapters.get("solver", "")),  # who refines comes after the verdict
    _Compared("adapters", lambda origin: origin.adapters.get("verifier", ""), "self"),
    _Compared("adapters", lambda origin: origin.adapters.get("programmer", ""), "program"),
)
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
    concerning = (told for told in COMPARED if told.verifier is None or told.verifier in calibration.signals)
    pairs = ((told.word, told.of(calibration.origin), told.of(origin)) for told in concerning)
    return list(dict.fromkeys(word for word, before, now in pairs if before is not None and before != now))
