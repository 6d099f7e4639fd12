"""How much memory and time merging a 7B-shaped model takes, beside a plain copy of the same file on the same disk."""

from __future__ import annotations

import json
import math
import resource
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from convert.base import open_base
from convert.merge import merge
from convert.peft_adapter import read_peft
from score_local.errors import ModelError

LIMIT = 1.5e9  # bytes of memory
SHARE = 0.5  # of the disk's copy speed
SPARE = 500_000_000  # bytes, for the adapter
HIDDEN, INNER, HEADS, HEADS_KV, VOCABULARY, RANK = 3584, 18944, 28, 4, 152064, 16
"""Qwen2.5-7B's shape."""


def run(folder: Path | None, layers: int) -> int:
    """Prints the figures; 0 where both targets are reached, else 1. Raises ModelError."""
    if folder is not None and not folder.is_dir():
        raise ModelError("no such folder", str(folder), "Make it, or give another place with --dir")
    size = 2 * sum(math.prod(shape) for shape in shapes(layers).values())
    with tempfile.TemporaryDirectory(prefix="score-convert-bench-", dir=folder) as scratch:
        needed = 2 * size + SPARE  # a copy or a merged file beside the model
        free = shutil.disk_usage(scratch).free
        if free < needed:
            what = f"needs {needed:,} bytes, and {free:,} are free"
            raise ModelError(what, scratch, "Give another place with --dir, or fewer --layers")
        base, adapter = write_model(Path(scratch) / "base", layers), write_adapter(Path(scratch) / "adapter", layers)
        weights = base / "model.safetensors"
        copies, merges, peak = list[float](), list[float](), 0.0
        for _ in range(3):
            copies.append(_copied(weights))
            seconds, memory = _apart(_merged, base, adapter, Path(scratch) / "merged.gguf")
            merges.append(seconds)
            peak = max(peak, memory)
    copy, merged = size / sorted(copies)[1], size / sorted(merges)[1]
    print(f"{size / 1e9:.1f} GB of bfloat16, {layers} layers of a 7B-shaped Qwen2, LoRA of rank {RANK} everywhere")
    print(f"copy   {copy / 1e6:7,.0f} MB/s (median of 3, alternating)")
    print(f"merge  {merged / 1e6:7,.0f} MB/s, {merged / copy:.2f} of the copy's (wanted: {SHARE} at least)")
    print(f"memory {peak / 1e9:7.2f} GB at most (wanted: {LIMIT / 1e9} at most)")
    return int(peak > LIMIT or merged < SHARE * copy)


def _apart(function: Any, *arguments: Any) -> Any:
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _copied(source: Path) -> float:
    """Seconds of a plain copy. As for the merge, what the system writes to the disk later is not waited for."""
    target = source.with_suffix(".copy")
    began = time.perf_counter()
    with source.open("rb") as read, target.open("wb") as write:
        while block := read.read(1 << 24):
            write.write(block)
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds


def _merged(base: Path, adapter: Path, target: Path) -> tuple[float, float]:
    """(seconds, peak bytes of memory) of a merge in this process, which is fresh."""
    began = time.perf_counter()
    merge(open_base(base, base / "donor.gguf"), read_peft(adapter), target)
    seconds = time.perf_counter() - began
    target.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds, float(peak if sys.platform == "darwin" else peak * 1024)


def shapes(layers: int) -> dict[str, tuple[int, ...]]:
    """The tensors of the model."""
    kv = HIDDEN // HEADS * HEADS_KV
    layer: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj.weight": (HIDDEN, HIDDEN),
        "self_attn.k_proj.weight": (kv, HIDDEN),
        "self_attn.v_proj.weight": (kv, HIDDEN),
        "self_attn.o_proj.weight": (HIDDEN, HIDDEN),
        "self_attn.q_proj.bias": (HIDDEN,),
        "self_attn.k_proj.bias": (kv,),
        "self_attn.v_proj.bias": (kv,),
        "mlp.gate_proj.weight": (INNER, HIDDEN),
        "mlp.up_proj.weight": (INNER, HIDDEN),
        "mlp.down_proj.weight": (HIDDEN, INNER),
        "input_layernorm.weight": (HIDDEN,),
        "post_attention_layernorm.weight": (HIDDEN,),
    }
    whole: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (VOCABULARY, HIDDEN),
    }
    return whole | {f"model.layers.{i}.{name}": shape for i in range(layers) for name, shape in layer.items()}


def write_model(folder: Path, layers: int) -> Path:
    """A folder with random bfloat16 weights of that shape, and a donor with no vocabulary."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["Qwen2ForCausalLM"],
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS_KV,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    _write(folder / "model.safetensors", {name: (shape, "BF16") for name, shape in shapes(layers).items()})
    from gguf import GGUFWriter

    writer = GGUFWriter(str(folder / "donor.gguf"), "qwen2")
    writer.add_block_count(layers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return folder


def write_adapter(folder: Path, layers: int) -> Path:
    """A LoRA on every projection of every layer."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK}))
    pairs: dict[str, tuple[tuple[int, ...], str]] = {}
    for name, shape in shapes(layers).items():
        if name.endswith("_proj.weight"):
            module = f"base_model.model.{name.removesuffix('.weight')}"
            pairs[f"{module}.lora_A.weight"] = ((RANK, shape[1]), "F32")
            pairs[f"{module}.lora_B.weight"] = ((shape[0], RANK), "F32")
    _write(folder / "adapter_model.safetensors", pairs)
    return folder


def _write(path: Path, tensors: dict[str, tuple[tuple[int, ...], str]]) -> None:
    """A safetensors file of small random values; one block of them again and again."""
    block = np.random.default_rng(0).normal(scale=0.02, size=1 << 22).astype(np.float32)
    blocks = {"F32": block.tobytes(), "BF16": (block.view(np.uint32) >> 16).astype(np.uint16).tobytes()}
    width, header, offset = {"F32": 4, "BF16": 2}, dict[str, Any](), 0
    for name, (shape, dtype) in tensors.items():
        size = int(np.prod(shape)) * width[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape, dtype in tensors.values():
            left = int(np.prod(shape)) * width[dtype]
            while left:
                left -= file.write(memoryview(blocks[dtype])[:left])
