"""transformers' models as a backend of the batched engine; with `transformers_*`, the engine's door to torch.

Continuous batching, prefix reuse, sampling, stop strings and scoring are `BatchedEngine`'s, as for llama.cpp; here is
what it drives: a model on a GPU (bf16 or NF4) or on the CPU, its KV streams, and PEFT adapters.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from score_local.engine.backend import DecodeError, NoRoom, Row
from score_local.engine.batched import BatchedEngine
from score_local.engine.chat import ChatTemplate
from score_local.engine.transformers_cache import KVStreams, attention_masks
from score_local.engine.transformers_load import (
    DTYPES,
    LOAD_ERRORS,
    Precision,
    device_here,
    end_tokens,
    load_model,
    read_config,
    require_memory,
)
from score_local.engine.transformers_text import FolderText
from score_local.errors import ModelError

CHUNK = {"cuda": 512, "cpu": 128}  # prompt tokens a step: a GPU is idle with less, on a CPU others wait for them


def open_engine(
    base: Path,
    *,
    capacity: int = 16,
    context: int = 2048,
    adapters: Mapping[str, Path] | None = None,
    precision: Precision | None = None,
) -> BatchedEngine:
    """Loads a Hugging Face folder and starts the engine's thread.

    `capacity` requests run side by side, each with `context` tokens of its own. `adapters` maps the names that requests
    use to PEFT folders. `precision` None: bf16 on a CUDA GPU, fp32 on the CPU. Raises ModelError or MemoryLimit.
    """
    backend = TorchBackend(base, streams=capacity, context=context, adapters=adapters or {}, precision=precision)
    text = backend.text
    try:
        template = ChatTemplate(text.chat_template, text.special_text, text.tokenize, backend.name)
    except ModelError:
        backend.close()
        raise
    return BatchedEngine(backend, template)


class TorchBackend:
    """A model, its KV streams and its adapters. Not thread-safe: one thread decodes."""

    def __init__(
        self,
        base: Path,
        *,
        streams: int,
        context: int,
        adapters: Mapping[str, Path] | None = None,
        precision: Precision | None = None,
    ) -> None:
        self._device = device_here()
        precision = precision or ("bf16" if self._device == "cuda" else "fp32")
        self.name, self.streams, self.context, self.chunk = base.name, streams, context, CHUNK[self._device]
        config = read_config(base)
        require_memory(self.name, config, precision, streams, context)
        self._model, self._dtype = load_model(base, config, precision), DTYPES[precision]
        self.text = FolderText(base, end_tokens(self._model))
        self._cache = KVStreams(streams, context)
        self._invocations: dict[str, tuple[int, ...]] = {}
        self._adapted: Any = None
        for name, folder in (adapters or {}).items():
            self._add_adapter(name, folder)
        self._active: str | None = None
        if self._adapted is not None:
            self._adapted.base_model.disable_adapter_layers()

    # -- text ---------------------------------------------------------------------------------------------------

    def tokenize(self, text: str, special: bool) -> list[int]:
        return self.text.tokenize(text, special)

    def piece(self, token: int) -> bytes:
        return self.text.piece(token)

    def ends_turn(self, token: int) -> bool:
        return self.text.ends_turn(token)

    def opening_token(self) -> int | None:
        return self.text.opening_token

    # -- the KV cache -------------------------------------------------------------------------------------------

    def trim(self, stream: int, keep: int) -> bool:
        """Forgets a stream's cells from position `keep` on. Always can."""
        self._cache.trim(stream, keep)
        return True

    def copy(self, source: int, target: int) -> None:
        self._cache.copy(source, target)

    # -- computing ----------------------------------------------------------------------------------------------

    def decode(self, rows: Sequence[Row], adapter: str | None) -> list[NDArray[np.float32]]:
        """Evaluates `rows`, those of a stream side by side, under one adapter; logits, shape (vocabulary,), of each row
        that wants them: the last of its stream. Streams with equally many rows share a forward pass.

        Raises NoRoom (nothing was lost; try fewer rows) or DecodeError.
        """
        runs = [list(run) for _, run in groupby(rows, key=lambda row: row.stream)]
        logits: dict[int, NDArray[np.float32]] = {}
        try:
            self._use(adapter)
            for width in sorted({len(run) for run in runs}):
                logits |= self._forward([run for run in runs if len(run) == width])
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise NoRoom(f"{self.name}: no memory for {len(rows)} tokens") from error
        except RuntimeError as error:
            raise DecodeError(f"{self.name}: {error}") from error
        return [logits[row.stream] for row in rows if row.wanted]

    def invocation(self, adapter: str | None) -> tuple[int, ...]:
        """The tokens that switch an activated LoRA on; () for a plain LoRA and for the base model."""
        return self._invocations[adapter] if adapter is not None else ()

    def has_adapter(self, adapter: str) -> bool:
        return adapter in self._invocations

    def close(self) -> None:
        self._model = self._adapted = None
        self._cache = KVStreams(0, 0)
        gc.collect()
        torch.cuda.empty_cache()

    # -- inside -------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _forward(self, runs: Sequence[Sequence[Row]]) -> dict[int, NDArray[np.float32]]:
        """One pass over runs of equal length; the logits of each run's last row, by stream."""
        streams = [run[0].stream for run in runs]
        tokens = torch.tensor([[row.token for row in run] for run in runs], device=self._device)
        positions = torch.tensor([[row.position for row in run] for run in runs], device=self._device)
        cells = self._cache.rows(streams, positions, [run[-1].position + 1 for run in runs])
        output = self._model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=attention_masks(self._model.config, positions, cells.length, self._dtype),
            past_key_values=cells,
            use_cache=True,
            logits_to_keep=1,
        )
        return dict(zip(streams, output.logits[:, -1].float().cpu().numpy(), strict=True))

    def _add_adapter(self, name: str, folder: Path) -> None:
        """Loads a PEFT folder. An activated LoRA is loaded as a plain one: the engine knows from which cell on it is
        asked for."""
        from peft import PeftConfig, PeftModel, load_peft_weights, set_peft_model_state_dict

        try:
            config = PeftConfig.from_pretrained(str(folder))
            self._invocations[name] = tuple(getattr(config, "alora_invocation_tokens", None) or ())
            config.alora_invocation_tokens, config.inference_mode = None, True
            if self._adapted is None:
                self._adapted = PeftModel(self._model, config, name)
            else:
                self._adapted.add_adapter(name, config)
            loaded: Any = set_peft_model_state_dict(self._adapted, load_peft_weights(str(folder), self._device), name)
            absent = [key for key in loaded.missing_keys if f".{name}." in key]
            if absent or loaded.unexpected_keys:
                raise ValueError(f"its weights are not those of its settings: {[*absent, *loaded.unexpected_keys][0]}")
        except LOAD_ERRORS as error:
            what = f"PEFT cannot use this adapter with {self.name}: {error}"
            raise ModelError(what, str(folder), "Was it trained on another base model?") from error

    def _use(self, adapter: str | None) -> None:
        if self._adapted is None or adapter == self._active:
            return
        if adapter is None:
            self._adapted.base_model.disable_adapter_layers()
        else:
            self._adapted.base_model.enable_adapter_layers()
            self._adapted.base_model.set_adapter(adapter)
        self._active = adapter
