"""A LoRA GGUF with random weights, made for a real model's attention tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter


def write_random_lora(model: Path, target: Path, *, rank: int = 4, scale: float = 0.15) -> Path:
    """Random A and B for every attention query projection of `model`. Returns `target`."""
    reader = GGUFReader(str(model))
    field = reader.get_field("general.architecture")
    assert field is not None
    random = np.random.default_rng(0)
    writer = GGUFWriter(str(target), str(field.contents()))
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    for tensor in reader.tensors:
        if tensor.name.endswith("attn_q.weight"):
            columns, rows = (int(n) for n in tensor.shape)
            writer.add_tensor(tensor.name + ".lora_a", (scale * random.normal(size=(rank, columns))).astype(np.float32))
            writer.add_tensor(tensor.name + ".lora_b", (scale * random.normal(size=(rows, rank))).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
