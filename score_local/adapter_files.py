"""Reads LoRA adapters (a GGUF, or a folder with `adapter.toml` beside one) and checks that they fit a base model.

The checks are those of llama.cpp's loader (src/llama-adapter.cpp), made before gigabytes are loaded and told in words.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec

from score_local.errors import ModelError
from score_local.gguf_check import file_sha256
from score_local.gguf_file import GGUFHeader, read_header
from score_local.gguf_types import Tensor
from score_local.roles import Role

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CARD = "adapter.toml"
OTHER_BASE = "Was it trained on another base model?"


class AdapterCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An adapter folder's `adapter.toml`. `base_sha256` is that of the base model's GGUF; `file` of the adapter's."""

    role: Role | None = None
    kind: Literal["lora", "alora"] | None = None
    base: str = ""
    base_sha256: str | None = None
    file: str | None = None
    prompts: str | None = None
    calibration: dict[str, Any] = {}
    data: dict[str, Any] = {}
    metrics: dict[str, Any] = {}


class AdapterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter that can be loaded. An aLoRA changes what follows its `invocation_tokens`; a LoRA has none."""

    file: Path
    architecture: str
    alpha: float
    invocation_tokens: tuple[int, ...]
    base: str
    tensors: dict[str, Tensor]
    card: AdapterCard

    @property
    def kind(self) -> Literal["lora", "alora"]:
        return "alora" if self.invocation_tokens else "lora"


def read_adapter(path: Path) -> AdapterInfo:
    """Reads a LoRA GGUF, with the card beside it, or an adapter folder. Raises ModelError where it is neither, or its
    parts disagree."""
    path = Path(os.path.expanduser(path))
    card = _read_card(path / CARD) if path.is_dir() else _card_beside(path)
    header = read_header(_gguf_of(path, card) if path.is_dir() else path)
    for key, wanted in (("general.type", "adapter"), ("adapter.type", "lora")):
        if header.metadata.get(key) != wanted:
            found = header.metadata.get(key, "absent")
            raise ModelError(f"not a LoRA adapter: {key} is {found}", str(header.path), "Give a LoRA GGUF")
    info = AdapterInfo(
        file=header.path,
        architecture=header.architecture,
        alpha=float(header.metadata.get("adapter.lora.alpha", 0.0)),
        invocation_tokens=tuple(header.metadata.get("adapter.alora.invocation_tokens", ())),
        base=str(header.metadata.get("general.base_model.0.name", card.base)),
        tensors=header.tensors,
        card=card,
    )
    if card.kind and card.kind != info.kind:
        raise ModelError(f"{CARD} says {card.kind}, and {info.file.name} is {info.kind}", str(path), f"Mend {CARD}")
    return info


def check_role(adapter: AdapterInfo, role: str) -> None:
    """Raises ModelError where the adapter was trained to play another role."""
    trained = adapter.card.role
    if trained and trained != role:
        what = f"it was trained as the {trained}, and is given as the {role}"
        raise ModelError(what, str(adapter.file), f"Give it as the {trained}, or another one as the {role}")


def check_adapter_fits(adapter: AdapterInfo, model: GGUFHeader, *, accept_other_base: bool = False) -> None:
    """Raises ModelError naming the first thing that does not fit.

    `accept_other_base` allows a base whose SHA-256 is not the one in `adapter.toml`, such as another quantisation.
    """
    where = str(adapter.file)
    if adapter.architecture != model.architecture:
        what = f"it is for architecture {adapter.architecture!r}, and {model.path.name} is {model.architecture!r}"
        raise ModelError(what, where, OTHER_BASE)
    for name in sorted({_base_name(tensor) for tensor in adapter.tensors} - {None}, key=str):
        trouble = _mismatch(str(name), adapter.tensors, model)
        if trouble:
            raise ModelError(f"{trouble} ({model.path.name})", where, OTHER_BASE)
    stated = adapter.card.base_sha256
    if stated and not accept_other_base and stated != file_sha256(model.path):
        what = f"it was made for the model with SHA-256 {stated[:12]}..., and {model.path.name} is another"
        raise ModelError(what, where, f"Use its base model{f', {adapter.base}' if adapter.base else ''}")


def _base_name(tensor: str) -> str | None:
    """The base tensor that a LoRA tensor changes; None for a norm, which llama.cpp passes over."""
    return None if tensor.endswith("_norm.weight") else tensor.removesuffix(".lora_a").removesuffix(".lora_b")


def _mismatch(name: str, tensors: dict[str, Tensor], model: GGUFHeader) -> str | None:
    """What is wrong with the pair of `name`, base weight [n_in, n_out]: A is [n_in, r], B is [r, n_out]."""
    a, b, base = tensors.get(f"{name}.lora_a"), tensors.get(f"{name}.lora_b"), model.tensors.get(name)
    if a is None or b is None:
        return f"tensor {name} has no pair of lora_a and lora_b"
    if base is None:
        return f"the model has no tensor {name}"
    if name == "token_embd.weight" and "output.weight" not in model.tensors:
        # llama.cpp would take the embedding's factors for the output's too, and abort.
        return f"tensor {name} is changed, and in this model embedding and output are one"
    if min(len(a.shape), len(b.shape)) < 2:
        fits = False
    elif name.endswith("token_embd.weight"):  # looked up, not multiplied: A is [r, n_out], B [r, n_in]
        fits = base.shape[:2] == (b.shape[1], a.shape[1])
    else:
        fits = base.shape[:2] == (a.shape[0], b.shape[1]) and a.shape[1] == b.shape[0]
    return None if fits else f"tensor {name}: A {list(a.shape)} and B {list(b.shape)} do not fit {list(base.shape)}"


def _read_card(path: Path) -> AdapterCard:
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), type=AdapterCard)
    except OSError as error:
        what = f"an adapter folder holds {CARD} and one .gguf; {CARD}: {error.strerror}"
        raise ModelError(what, str(path.parent), "Give the folder that training or convert wrote") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ModelError(str(error), str(path), "Mend that line") from error


def _card_beside(gguf: Path) -> AdapterCard:
    """The card of the folder that a GGUF lies in; an empty one where there is none, or it is another file's."""
    beside = gguf.parent / CARD
    card = _read_card(beside) if beside.is_file() else AdapterCard()
    return card if card.file in (None, gguf.name) else AdapterCard()


def _gguf_of(folder: Path, card: AdapterCard) -> Path:
    if card.file:
        return folder / card.file
    found = sorted(folder.glob("*.gguf"))
    if len(found) != 1:
        what = f"holds {len(found)} .gguf files, and an adapter folder holds one"
        raise ModelError(what, str(folder), f"Convert it to a LoRA GGUF, or name one: file = ... in {CARD}")
    return found[0]
