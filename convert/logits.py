"""Logits of GGUF models through llama.cpp, at every position and as exactly as it computes; and where they are kept.

llama.cpp multiplies quantised weights with activations that it rounds to 8 bits, and F16 or BF16 weights with
activations in the same type; only F32 weights are multiplied in float32. The KV cache here is float32 and flash
attention is off: what is left between two files is the weights.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from gguf import TokenType

from convert.comparison import Logits
from score_local.engine.backend import Row
from score_local.engine.jobs import prompt_cells
from score_local.engine.llama import LlamaBackend
from score_local.errors import MemoryLimit, ModelError
from score_local.gguf_file import read_header

import llama_cpp  # isort: skip  (after engine.llama, which sets what the library reads as it loads)

CHUNK = 128  # tokens a call: their logits take 78 MB for a vocabulary of 152,000
ADAPTER = "lora"


def llama_logits(
    model: Path, sequences: Sequence[Sequence[int]], *, lora: Path | None = None, threads: int | None = None
) -> Iterator[Logits]:
    """Logits of each sequence, shape (tokens, vocabulary), under the model or under it with a LoRA GGUF.

    An activated LoRA takes effect from its last invocation in a sequence on. Raises ModelError where llama.cpp cannot
    use a file, MemoryLimit, and EngineError where it fails on the way.
    """
    with LogitsBackend(model, lora=lora, context=max(map(len, sequences)), threads=threads) as backend:
        for tokens in sequences:
            yield backend.logits(tokens)


class LogitsBackend(LlamaBackend):
    """A model that is asked for the logits of all positions, a sequence at a time."""

    def __init__(self, path: Path, *, lora: Path | None, context: int, threads: int | None) -> None:
        adapters = {ADAPTER: lora} if lora else {}
        super().__init__(path, streams=1, context=context, threads=threads, adapters=adapters, chunk=CHUNK)
        self._lora = ADAPTER if lora else None

    def logits(self, tokens: Sequence[int]) -> Logits:
        """Shape (tokens, vocabulary)."""
        self.trim(0, 0)
        cells = prompt_cells(tokens, self._lora, self.invocation(self._lora))
        logits = np.empty((len(cells), self.vocabulary), dtype=np.float32)
        for weights, run in groupby(enumerate(cells), key=lambda cell: cell[1].weights):
            rows = [Row(0, position, cell.token, True) for position, cell in run]
            for start in range(0, len(rows), self.chunk):
                part = rows[start : start + self.chunk]
                for row, values in zip(part, self.decode(part, weights), strict=True):
                    logits[row.position] = values
        return logits

    def _new_context(self, threads: int) -> Any:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = self.context
        params.n_batch = params.n_ubatch = params.n_outputs_max = self.chunk
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.no_perf = True
        context = llama_cpp.llama_init_from_model(self._model, params)
        if not context:
            what = f"llama.cpp could not make a context of {self.context} tokens"
            raise MemoryLimit(what, self.name, "Close other programs, or verify on a larger machine")
        return context

    def __enter__(self) -> LogitsBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Vocabulary(LlamaBackend):
    """The text side of a model: its tokenizer, chat template and special tokens. No weights are loaded."""

    def __init__(self, path: Path) -> None:
        self.name, self._path = path.name, path
        self._ctx = self._batch = None
        self._pieces: dict[int, bytes] = {}
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params) if path.is_file() else None
        if not self._model:
            raise ModelError("llama.cpp cannot read its vocabulary", str(path), "Convert it again")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(self._vocab)

    def prompt(self, text: str) -> list[int]:
        """Token ids of a text that a sequence begins with: special tokens read as such, and an opening token where the
        model wants one."""
        opening = self.opening_token()
        return ([] if opening is None else [opening]) + self.tokenize(text, True)

    def end_tokens(self) -> set[int]:
        """All tokens that end a turn."""
        return {token for token in range(self.vocabulary) if self.ends_turn(token)}

    def forced(self) -> set[str]:
        """Texts that llama.cpp reads as control tokens though the file calls them normal ones: it goes by the name."""
        span = read_header(self._path).spans.get("tokenizer.ggml.token_type")
        if span is None:
            return set()
        types = np.fromfile(self._path, "<i4", self.vocabulary, offset=span[1] - 4 * self.vocabulary)
        normal = np.flatnonzero(types == TokenType.NORMAL).tolist()
        control = (token for token in normal if llama_cpp.llama_vocab_is_control(self._vocab, token))
        return {self.piece(token, special=True).decode("utf-8", "replace") for token in control}

    def __enter__(self) -> Vocabulary:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SavedLogits:
    """Logits on disk, read back a sequence at a time and as often as wanted: tokens x vocabulary x 4 bytes in `folder`,
    gone when it is closed."""

    def __init__(self, logits: Iterable[Logits], folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed by close)
        self._count = 0
        try:
            for array in logits:
                np.save(self._file, array)
                self._count += 1
        except OSError as error:
            self.close()
            what = f"logits cannot be kept there: {error.strerror or error}"
            raise ModelError(what, str(folder), "Make room") from error
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Logits]:
        position = 0
        for _ in range(self._count):
            self._file.seek(position)
            array = np.load(self._file)
            position = self._file.tell()
            yield array

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> SavedLogits:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
