"""What llama.cpp calls an architecture's tensors, and in which order and with what offset it keeps their rows.

Sources: the tensor-name maps of the `gguf` package; for the order of rows, llama.cpp's src/llama-model.cpp (rotary
embeddings of the llama family turn neighbouring pairs, those of Hugging Face turn halves); for the offset, the RMS norm
of Gemma, which multiplies with 1 + weight.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map
from numpy.typing import NDArray

from score_local.errors import ModelError

EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"


class Architecture(msgspec.Struct, frozen=True, kw_only=True):
    """One of llama.cpp's architectures, and the Hugging Face classes that it runs."""

    name: str
    classes: tuple[str, ...]
    interleaved: bool = False  # rows of q and k: a head's two halves, one row of each in turn
    norm_offset: float = 0.0
    always_tied: bool = False  # the output is the token embedding, whatever the checkpoint holds


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(name="llama", classes=("LlamaForCausalLM", "MistralForCausalLM"), interleaved=True),
        Architecture(name="qwen2", classes=("Qwen2ForCausalLM",)),
        Architecture(name="qwen3", classes=("Qwen3ForCausalLM",)),
        Architecture(name="gemma2", classes=("Gemma2ForCausalLM",), norm_offset=1.0, always_tied=True),
        Architecture(name="gemma3", classes=("Gemma3ForCausalLM",), norm_offset=1.0),
        Architecture(name="phi3", classes=("Phi3ForCausalLM",)),
        Architecture(name="smollm3", classes=("SmolLM3ForCausalLM",), interleaved=True),
    )
}


def architecture_of(config: dict[str, Any], where: str) -> Architecture:
    """The architecture that a `config.json` names. Raises ModelError with those that are supported."""
    classes = config.get("architectures") or ["none"]
    for architecture in ARCHITECTURES.values():
        if classes[0] in architecture.classes:
            return architecture
    known = ", ".join(name for architecture in ARCHITECTURES.values() for name in architecture.classes)
    raise ModelError(f"architecture {classes[0]} is not supported", where, f"Supported: {known}")


class Layout(msgspec.Struct, frozen=True):
    """How an architecture's tensors are named and ordered in a GGUF, for a number of layers and of heads."""

    architecture: Architecture
    layers: int
    heads: int
    heads_kv: int

    def gguf_name(self, name: str) -> str | None:
        """llama.cpp's name of a Hugging Face tensor such as `model.layers.0.self_attn.q_proj.weight`; None: it has
        none."""
        found: str | None = self._names().get_name(name, try_suffixes=(".weight", ".bias"))
        return found

    def order(self, gguf_name: str, rows: int) -> NDArray[np.intp] | None:
        """The checkpoint's row for each row of the GGUF's tensor; None where they are the same."""
        kind = re.fullmatch(r"blk\.\d+\.attn_([qk])\.(?:weight|bias)", gguf_name)
        if not (kind and self.architecture.interleaved):
            return None
        heads = self.heads if kind[1] == "q" else self.heads_kv
        order: NDArray[np.intp] = np.arange(rows).reshape(heads, 2, rows // heads // 2).swapaxes(1, 2).reshape(-1)
        return order

    def offset(self, gguf_name: str) -> float:
        """What llama.cpp expects to have been added to a tensor."""
        return self.architecture.norm_offset if gguf_name.endswith("norm.weight") else 0.0

    def _names(self) -> Any:
        return get_tensor_name_map(_NUMBERS[self.architecture.name], self.layers)


_NUMBERS: dict[str, MODEL_ARCH] = {name: number for number, name in MODEL_ARCH_NAMES.items()}
