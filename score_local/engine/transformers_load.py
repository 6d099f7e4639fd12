"""Loads a Hugging Face folder: in which precision, on which device, and whether it fits the memory that is free.

Knows nothing of streams' contents, of adapters or of requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
import transformers
from safetensors import SafetensorError

from score_local.errors import MemoryLimit, ModelError

Precision = Literal["fp32", "bf16", "nf4"]
DTYPES: Mapping[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "nf4": torch.bfloat16}
WEIGHT_BYTES: Mapping[Precision, float] = {"fp32": 4.0, "bf16": 2.0, "nf4": 0.6}
WORKING_MEMORY = 500 * 2**20  # activations, logits, and the libraries themselves
PLAIN_ATTENTION = {"full_attention", "sliding_attention"}
LOAD_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, SafetensorError)


def device_here() -> Literal["cuda", "cpu"]:
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_in_words() -> str:
    if device_here() == "cpu":
        return "the CPU: PyTorch sees no CUDA GPU"
    free, total = torch.cuda.mem_get_info()
    return f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} GiB free of {total / 2**30:.1f}"


def read_config(base: Path) -> Any:
    """The model's config.json. Raises ModelError: there is none, or it keeps state other than keys and values."""
    try:
        config = transformers.AutoConfig.from_pretrained(base, local_files_only=True)
    except LOAD_ERRORS as error:
        what = f"is no model folder of transformers: {error}"
        raise ModelError(what, str(base), "Give a Hugging Face folder") from error
    strange = set(getattr(config, "layer_types", None) or ()) - PLAIN_ATTENTION
    if strange:
        what = f"has layers of kind {', '.join(sorted(strange))}, whose state cannot be cut at a token"
        raise ModelError(what, str(base), "Use a model with attention in every layer, or --engine llama")
    return config


def require_memory(name: str, config: Any, precision: Precision, streams: int, context: int) -> None:
    """Raises MemoryLimit, before anything is loaded, where weights and KV cache do not fit."""
    cells = streams * context * _kv_numbers(config) * DTYPES[precision].itemsize
    need = int(_parameters(config) * WEIGHT_BYTES[precision]) + cells + WORKING_MEMORY
    on_gpu = device_here() == "cuda"
    free = torch.cuda.mem_get_info()[0] if on_gpu else psutil.virtual_memory().available
    if need > free:
        raise MemoryLimit(
            f"{precision} weights and {streams} sequences of {context} tokens need {need / 2**20:,.0f} MB,"
            f" {free / 2**20:,.0f} MB are free{' on the GPU' if on_gpu else ''}",
            name,
            "Choose fewer (--parallel) or shorter (--context) sequences, a smaller --precision or a smaller model",
        )


def load_model(base: Path, config: Any, precision: Precision) -> Any:
    """The model, on the GPU where there is one. Raises ModelError or MemoryLimit."""
    if precision == "nf4" and find_spec("bitsandbytes") is None:
        raise ModelError("NF4 needs bitsandbytes, which is not installed", str(base), "Choose --precision bf16")
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            base,
            dtype=DTYPES[precision],
            # "eager" where scores are capped: the others leave that out.
            attn_implementation="eager" if getattr(config, "attn_logit_softcapping", None) else "sdpa",
            quantization_config=_nf4() if precision == "nf4" else None,
            device_map={"": device_here()},
            local_files_only=True,
        )
    except torch.OutOfMemoryError as error:
        raise MemoryLimit(f"the GPU has no room for it in {precision}", str(base), "Choose --precision nf4") from error
    except LOAD_ERRORS as error:
        raise ModelError(f"transformers cannot load it: {error}", str(base), "Give a whole model folder") from error
    return model.eval()


def end_tokens(model: Any) -> list[int]:
    """The end tokens that generation_config.json lists: one, several or none."""
    ends = model.generation_config.eos_token_id if model.generation_config else None
    return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)


def _nf4() -> Any:
    return transformers.BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=DTYPES["nf4"],
    )


def _parameters(config: Any) -> int:
    auto: Any = transformers.AutoModelForCausalLM
    with torch.device("meta"):
        return int(auto.from_config(config).num_parameters())


def _kv_numbers(config: Any) -> int:
    """Numbers that one cell of the KV cache takes, over all layers."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    dimension = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * dimension)
