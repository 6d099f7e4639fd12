"""Reads a PEFT adapter folder (adapter_config.json, adapter_model.safetensors): which module gets which change.

Facts follow peft 0.21: tuners/lora/layer.py (scaling, DoRA), utils/save_and_load.py (names of the saved tensors),
utils/other.py (patterns).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convert.adapter import Adapter, LoraChange
from convert.safetensors import AGAIN, DTYPES, StoredTensor, open_folder
from score_local.errors import ModelError

CONFIG, STEM = "adapter_config.json", "adapter_model"
PREFIX = "base_model.model."
PARTS = ("lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "lora_A", "lora_B")


def read_peft(folder: Path) -> Adapter:
    """Reads an adapter. Raises ModelError where it is none, is no LoRA, or holds half of a pair."""
    config = _config(folder)
    if config.get("peft_type") != "LORA":
        raise ModelError(f"peft_type {config.get('peft_type')} is not supported", str(folder), "Give a LoRA adapter")
    parts, replaced, strange = dict[str, dict[str, StoredTensor]](), dict[str, StoredTensor](), list[str]()
    for name, tensor in open_folder(folder, STEM).items():
        bare = name.removeprefix(PREFIX)
        if tensor.dtype not in DTYPES:
            raise ModelError(f"tensor {name} holds {tensor.dtype}, no 16 or 32-bit floats", str(folder), AGAIN)
        module, part = _split(bare)
        if part:
            parts.setdefault(module, {})[part] = tensor
        elif bare.endswith(".base_layer.weight"):  # the base's own, which PEFT saves with an adapted embedding
            continue
        elif bare.endswith((".weight", ".bias")) and "lora_" not in bare and "token_adapter" not in bare:
            replaced[_base_tensor(bare)] = tensor
        else:
            strange.append(name)
    changes = {f"{module}.weight": _change(module, found, config, folder) for module, found in parts.items()}
    return Adapter(folder, config, changes, replaced, tuple(strange))


def scale_of(config: Mapping[str, Any], module: str, rank: int) -> float:
    """alpha / rank, or alpha / sqrt(rank) with rsLoRA; alpha is that of the first pattern that names the module."""
    alpha = float(_by_pattern(config.get("alpha_pattern") or {}, module, config.get("lora_alpha", 8)))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        remedy = "Give the folder that PEFT saved, or a LoRA GGUF"
        raise ModelError(f"no adapter: it has no {CONFIG}", str(folder), remedy) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read: {error}", str(path), "Copy it again") from error
    if not isinstance(config, dict):
        raise ModelError("not a table of settings", str(path), "Copy it again")
    alpha = config.get("lora_alpha", 8)
    if not isinstance(alpha, (int, float)) or not alpha > 0:
        raise ModelError(f"lora_alpha is {alpha}, no positive number", str(path), "Copy it again")
    return config


def _split(name: str) -> tuple[str, str]:
    """(module, part) of a LoRA tensor: `layers.0.q_proj.lora_A.weight`, also with an adapter's name after the part."""
    found = re.fullmatch(rf"(.+)\.({'|'.join(PARTS)})(?:\.(?!bias)\w+)?(?:\.weight)?", name)
    return (found[1], found[2]) if found else (name, "")


def _base_tensor(name: str) -> str:
    """What a saved tensor replaces: PEFT's wrappers do not count."""
    return re.sub(r"\.(base_layer|original_module|modules_to_save(\.\w+)?)(?=\.)", "", name)


def _change(module: str, parts: Mapping[str, StoredTensor], config: dict[str, Any], folder: Path) -> LoraChange:
    embedding = "lora_embedding_A" in parts or "lora_embedding_B" in parts
    names = ("lora_embedding_A", "lora_embedding_B") if embedding else ("lora_A", "lora_B")
    a, b = (parts.get(name) for name in names)
    if a is None or b is None or len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        raise ModelError(f"{module} has no matching pair of {' and '.join(names)}", str(folder), "Copy it again")
    scale = scale_of(config, module, a.shape[0])
    return LoraChange(a=a, b=b, scale=scale, embedding=embedding, magnitude=parts.get("lora_magnitude_vector"))


def _by_pattern(patterns: Mapping[str, Any], module: str, default: Any) -> Any:
    """The value of the first pattern that fits the end of the module's name, as PEFT looks it up."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), default)
