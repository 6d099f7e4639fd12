"""Safetensors files made by hand: an eight-byte length, a header in JSON, the values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

NAMES = {np.dtype("<f4"): "F32", np.dtype("<f2"): "F16", np.dtype("<u2"): "BF16", np.dtype("<f8"): "F64"}


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray[Any, Any]]) -> Path:
    """uint16 is taken for bfloat16."""
    header, offset = {}, 0
    for name, values in tensors.items():
        dtype = NAMES.get(values.dtype, str(values.dtype).upper())
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(v.tobytes() for v in tensors.values()))
    return path


def write_adapter(folder: Path, tensors: Mapping[str, np.ndarray[Any, Any]], **config: Any) -> Path:
    """A PEFT folder; names are those of the base's modules, such as `model.layers.0.self_attn.q_proj.lora_A.weight`."""
    write_safetensors(folder / "adapter_model.safetensors", {f"base_model.model.{n}": t for n, t in tensors.items()})
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "owner/base", **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder
