"""A base model with a LoRA adapter on it: hidden states, logits of chosen positions, gradients of the factors.

Base weights are frozen, in bfloat16, float32 or NF4; the factors are float32 whatever the base is. It knows nothing of
samples or recipes' other parts. Shapes: B rows, S new tokens, P cached tokens, V vocabulary.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, DynamicCache
from transformers.utils import logging

from score_local.errors import ModelError
from score_local.train.attention import GROUPED
from score_local.train.base import Base
from score_local.train.recipe import AdapterSettings

Precision = Literal["float32", "bfloat16", "nf4"]
PIECE = 256  # positions whose logits exist at once: 156 MB for a vocabulary of 152,000
LOAD_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError)


class Network:
    """Rows are left-padded caches followed by right-padded tokens; `mask`, shape (B, P + S), is 0 where padded."""

    def __init__(self, base: Base, settings: AdapterSettings, precision: Precision, seed: int) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision = precision
        few_tokens = self.device.type == "cpu" and settings.kind == "alora"
        model = _load(base.folder, precision, self.device, GROUPED if few_tokens else None)
        self._cap = getattr(model.config, "final_logit_softcapping", None)
        self.config = LoraConfig(
            task_type="CAUSAL_LM",
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules="all-linear",
        )
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 asks transformers 5.23 for an old name
            self._adapted = get_peft_model(model, self.config)
        if self.device.type == "cuda" and settings.kind == "lora":  # an activated LoRA's few tokens need none
            model.gradient_checkpointing_enable({"use_reentrant": False})
        self.config.base_model_name_or_path = base.name  # PEFT has put the folder there, which is this machine's
        self._body, self._head = model.get_decoder(), model.get_output_embeddings()
        self._adapted.train()

    @property
    def parameters(self) -> list[Tensor]:
        """The factors, which are all that is trained."""
        return [parameter for _, parameter in self.named_parameters()]

    @property
    def vocabulary(self) -> int:
        """How many logits there are for a token."""
        return int(self._head.out_features)

    def weights(self) -> list[Tensor]:
        """All weights, the frozen ones too."""
        return list(self._adapted.parameters())

    def named_parameters(self) -> list[tuple[str, Tensor]]:
        return [(name, value) for name, value in self._adapted.named_parameters() if value.requires_grad]

    def factors(self) -> dict[str, Tensor]:
        """Copies of the factors by PEFT's names, on the CPU."""
        return {name: value.detach().cpu().clone() for name, value in self._state().items()}

    def load_factors(self, factors: dict[str, Tensor]) -> None:
        set_peft_model_state_dict(self._adapted, factors)

    def hidden(self, tokens: Tensor, positions: Tensor, mask: Tensor | None, cache: DynamicCache | None) -> Tensor:
        """Hidden states of the new tokens, shape (B, S, width); `cache` grows by them."""
        output = self._body(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = output.last_hidden_state
        return states

    def logits(self, states: Tensor) -> Tensor:
        """Logits in float32, shape (..., V)."""
        logits: Tensor = self._head(states).float()
        return torch.tanh(logits / self._cap) * self._cap if self._cap else logits

    def loss(self, states: Tensor, labels: Tensor) -> float:
        """The summed cross-entropy of `labels`, shape (n,), at `states`, shape (n, width), in nats."""
        return sum(
            float(functional.cross_entropy(self.logits(x), y, reduction="sum")) for x, y in _pieces(states, labels)
        )

    def backward(self, states: Tensor, labels: Tensor, scale: float) -> float:
        """Adds to the factors' gradients those of `scale` times the summed cross-entropy of `labels`, shape (n,), at
        `states`, shape (n, width); returns the sum in nats. The head's part is taken a piece at a time, so the logits
        of all positions never exist together."""
        leaf = states.detach().requires_grad_()
        total = 0.0
        for some, wanted in _pieces(leaf, labels):
            loss = functional.cross_entropy(self.logits(some), wanted, reduction="sum")
            (loss * scale).backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        states.backward(leaf.grad)  # type: ignore[no-untyped-call]
        return total

    @contextmanager
    def inference(self, *, adapter: bool = True) -> Iterator[None]:
        """No gradients and no dropout; without the adapter where it is to be the base model. May be nested."""
        before = self._adapted.training
        self._adapted.eval()
        try:
            with torch.no_grad():
                if adapter:
                    yield
                else:
                    with self._adapted.disable_adapter():
                        yield
        finally:
            self._adapted.train(before)

    def _state(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = get_peft_model_state_dict(self._adapted, save_embedding_layers=False)
        return found


def _load(folder: Path, precision: Precision, device: torch.device, attention: str | None) -> Any:
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    four_bit = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32 if precision == "float32" else torch.bfloat16,
            quantization_config=four_bit if precision == "nf4" else None,
            attn_implementation=attention,
            local_files_only=True,
        )
        return model if precision == "nf4" else model.to(device)
    except LOAD_ERRORS as error:
        what = f"transformers cannot load it: {' '.join(str(error).split())}"
        raise ModelError(what, str(folder), "Give a whole Hugging Face folder, or a GGUF") from error


def faster_precision(width: int = 1024, tokens: int = 256, repeats: int = 4) -> Precision:
    """In which of the two this CPU multiplies faster, forward and backward; bfloat16 needs instructions of its own."""
    seconds = {name: _timed(dtype, width, tokens, repeats) for name, dtype in _CPU_TYPES.items()}
    return min(_CPU_TYPES, key=seconds.__getitem__)


def _timed(dtype: torch.dtype, width: int, tokens: int, repeats: int) -> float:
    states = torch.ones(tokens, width, dtype=dtype, requires_grad=True)
    weight = torch.ones(4 * width, width, dtype=dtype)
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        functional.linear(states, weight).sum().backward()  # type: ignore[no-untyped-call]
        best = min(best, time.perf_counter() - began)
    return best


_CPU_TYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _pieces(states: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    starts = range(0, len(labels), PIECE)
    return ((states[start : start + PIECE], labels[start : start + PIECE]) for start in starts)


def padded(rows: Sequence[Sequence[int]], *, left: bool, fill: int = 0) -> Tensor:
    """Rows of one length, shape (B, longest)."""
    longest = max(map(len, rows))
    gaps = [[fill] * (longest - len(row)) for row in rows]
    filled = [gap + list(row) if left else list(row) + gap for row, gap in zip(rows, gaps, strict=True)]
    return torch.tensor(filled, dtype=torch.long)
