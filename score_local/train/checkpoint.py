"""A training folder: what it is made of, the curve so far, the state to go on from, and at the end the adapter.

manifest.json               role, base, data, prompts, recipe: training is resumed only with the same
metrics.jsonl               an event a line: each step and each evaluation
state.pt                    factors, moments and counters, written whole every `save_every` steps; gone at the end
recipe.toml                 the recipe with everything that was chosen
adapter_config.json         PEFT's, with the invocation tokens of an activated LoRA
adapter_model.safetensors   the factors of the best adapter
adapter.toml                the card; only a finished training has one
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import torch
from filelock import FileLock, Timeout
from peft import LoraConfig
from safetensors.torch import save
from torch import Tensor

from score_local.adapter_files import CARD, AdapterCard
from score_local.append_only import AppendOnly, whole_lines, write_error
from score_local.errors import RunError
from score_local.roles import Role
from score_local.runs import changes, write_whole
from score_local.toml_text import toml_text
from score_local.train.recipe import Recipe
from score_local.train.tasks import Quality
from score_local.train.training import Event, Started, State, Stepped

MANIFEST, METRICS, STATE, RECIPE, LOCK = "manifest.json", "metrics.jsonl", "state.pt", "recipe.toml", ".lock"
WEIGHTS = "adapter_model.safetensors"
CARD_HEAD = "# A trained adapter; written by `score-local train`.\n"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a training is made of. `computing` is what computes it, and how, as words; manifests of before do not tell
    it. `software` is told, not compared."""

    version: int = 1
    role: Role
    base: str
    base_sha256: str | None
    data: tuple[str, ...]
    data_sha256: str
    prompts: str
    recipe: Recipe
    computing: str | None = None
    software: dict[str, str] = {}


class Folder:
    """A training folder that this process writes. Use `open_folder`; it is a context manager."""

    def __init__(self, path: Path, lock: FileLock) -> None:
        self.path, self._lock = path, lock
        self._metrics: AppendOnly | None = None

    @property
    def finished(self) -> bool:
        return (self.path / CARD).is_file()

    def manifest(self) -> Manifest | None:
        """What was begun here; None where nothing was. Raises RunError."""
        file = self.path / MANIFEST
        try:
            return msgspec.json.decode(file.read_bytes(), type=Manifest)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise RunError(f"cannot be read: {error}", str(file), "Restore it, or choose another --out") from error

    def begin(self, manifest: Manifest) -> None:
        write_whole(self.path / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        write_whole(self.path / RECIPE, toml_text(msgspec.to_builtins(manifest.recipe)).encode())

    def state(self) -> State | None:
        """The state to go on from; None where there is none yet. Raises RunError."""
        file = self.path / STATE
        if not file.is_file():
            return None
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever unpickling a damaged file leads to
            raise RunError(f"cannot be read: {error}", str(file), "Delete it to begin again") from error
        qualities = {key: content[key] and Quality(*content[key]) for key in ("base", "best")}
        return State(**{**content, **qualities})

    def save_state(self, state: State) -> None:
        """Raises RunError; the old state then stays."""
        content = {**vars(state), "base": state.base and tuple(state.base), "best": state.best and tuple(state.best)}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_whole(self.path / STATE, buffer.getvalue())

    def continue_metrics(self, state: State) -> None:
        """Takes back what was told of steps and evaluations that are not in `state`: they are made again."""
        kept = [event for event in self.events() if event.step <= _last_of(event, state)]
        write_whole(self.path / METRICS, b"".join(msgspec.json.encode(event) + b"\n" for event in kept))
        self._metrics = AppendOnly(self.path / METRICS)

    def tell(self, event: Event) -> None:
        assert self._metrics is not None, "continue_metrics comes first"
        self._metrics.append(msgspec.json.encode(event))

    def events(self) -> list[Event]:
        return [msgspec.json.decode(line, type=Event) for line in whole_lines(self.path / METRICS)]

    def write_adapter(self, factors: dict[str, Tensor], config: LoraConfig, invocation: Sequence[int]) -> None:
        """PEFT's two files. Raises RunError."""
        config.alora_invocation_tokens = list(invocation) or None
        config.inference_mode = True
        config.target_modules = sorted(config.target_modules or ())  # a set has another order in every process
        write_whole(self.path / WEIGHTS, save({name: factors[name].contiguous() for name in sorted(factors)}))
        try:
            config.save_pretrained(str(self.path))
        except OSError as error:
            raise write_error(self.path, error) from error

    def finish(self, card: AdapterCard) -> None:
        """Writes the card, which says that the adapter is whole; what only resuming needs goes."""
        write_whole(self.path / CARD, (CARD_HEAD + toml_text(msgspec.to_builtins(card))).encode())
        with suppress(OSError):
            (self.path / STATE).unlink(missing_ok=True)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        if self._metrics is not None:
            self._metrics.close()
        self._lock.release()


def open_folder(path: Path, *, resume: bool) -> Folder:
    """Raises RunError where a training is there and `resume` is off, where another process writes it, or where it
    cannot be written."""
    lock = FileLock(path / LOCK)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError("another process is training here", str(path), "Wait for it, or choose another --out") from error
    except OSError as error:
        raise write_error(path, error) from error
    if (path / MANIFEST).exists() and not resume:
        lock.release()
        raise RunError("holds a training already", str(path), "Continue it with --resume, or choose another --out")
    return Folder(path, lock)


def require_same(before: Manifest, now: Manifest, where: Path) -> None:
    """Raises RunError naming what has changed since a training was begun."""
    changed = changes(before, msgspec.structs.replace(now, computing=before.computing))
    if changed:
        what = f"this training was begun with another {', '.join(changed)}"
        raise RunError(what, str(where), "Use what it was begun with, or choose another --out")


def require_same_computing(before: Manifest, now: str, where: Path) -> None:
    """Raises RunError where a training would go on in another precision or on another device: in other numbers, and
    with moments that the optimiser there cannot read."""
    if before.computing not in (None, now):
        what = f"this training was begun in {before.computing}, and here it would go on in {now}"
        raise RunError(what, str(where), "Go on where and how it was begun, or choose another --out")


def _last_of(event: Event, state: State) -> int:
    return state.step if isinstance(event, (Started, Stepped)) else state.evaluated
