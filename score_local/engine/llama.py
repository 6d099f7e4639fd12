"""llama.cpp's low-level API as one object that a single thread drives: the only door to `llama_cpp`.

Knows streams (KV sequences), rows of a batch, logits, adapters and return codes; nothing of requests, chats or SCORE.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from score_local import openmp
from score_local.engine.backend import DecodeError, NoRoom, Row
from score_local.engine.batched import BatchedEngine
from score_local.engine.chat import ChatTemplate, SpecialText
from score_local.engine.widened import extra_bytes, widened
from score_local.errors import MemoryLimit, ModelError
from score_local.gguf_file import read_header

openmp.spin_briefly()

import llama_cpp  # noqa: E402  (its OpenMP reads the environment as it loads)

log = logging.getLogger("score_local.llama")
log.addHandler(logging.NullHandler())  # without a handler of the application's, Python would print to the terminal
WORKING_MEMORY = 300 * 2**20  # graph buffers, logits and Python itself; `score-local bench` checks that it is enough
MANY = 16  # sequences from which on multiplying costs clearly more than reading the weights
MOST_EXTRA = WORKING_MEMORY // 2  # bytes that faster weights may take beyond the file's
MOST_SCORES = WORKING_MEMORY // 4  # bytes that the attention scores of a step may take
# ggml's levels: debug, info, warning, error. Its information is as chatty as its debugging.
LOG_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.WARNING, 4: logging.ERROR}


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _to_logging(level: int, text: bytes, _: ctypes.c_void_p) -> None:
    log.log(LOG_LEVELS.get(level, logging.DEBUG), "%s", text.decode("utf-8", "replace").rstrip("\n"))


# The callback is a module-level name on purpose: llama.cpp keeps only its address, and crashes if Python collects it.
llama_cpp.llama_log_set(_to_logging, ctypes.c_void_p(0))


def physical_cores() -> int:
    """Cores this process may use, counting each physical core once: a second thread on a core only slows decoding."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def open_engine(
    model: Path,
    *,
    streams: int = 16,
    context: int = 2048,
    threads: int | None = None,
    adapters: Mapping[str, Path] | None = None,
) -> BatchedEngine:
    """Loads a GGUF and starts the engine's thread.

    `streams` requests run side by side, each with `context` tokens of its own. `adapters` maps the names that requests
    use to LoRA GGUFs. Raises ModelError or MemoryLimit.
    """
    backend = LlamaBackend(model, streams=streams, context=context, threads=threads, adapters=adapters or {})
    return start_engine(backend)


def start_engine(backend: LlamaBackend) -> BatchedEngine:
    """An engine over a backend, which belongs to it from here on. Raises ModelError where it has no chat template."""
    try:
        template = ChatTemplate(backend.chat_template(), backend.special_text(), backend.tokenize, backend.name)
    except ModelError:
        backend.close()
        raise
    return BatchedEngine(backend, template)


class LlamaBackend:
    """A model, its context and its adapters. Not thread-safe: one thread decodes."""

    def __init__(
        self,
        path: Path,
        *,
        streams: int,
        context: int,
        threads: int | None = None,
        adapters: Mapping[str, Path] | None = None,
        chunk: int = 128,  # the prompts of 32 problems: 17% faster than by 64; a cancel waits for one chunk
    ) -> None:
        self.name, self.streams, self.context, self.chunk = path.name, streams, context, chunk
        self._ctx: Any = None
        self._batch: Any = None
        self._model: Any = _load(path)
        self._memory_need = 0
        try:
            self._require_memory(path)
            self._widen(path)
            self._vocab = llama_cpp.llama_model_get_vocab(self._model)
            self.vocabulary = llama_cpp.llama_vocab_n_tokens(self._vocab)
            self._ctx = self._new_context(threads or physical_cores())
            self._memory = llama_cpp.llama_get_memory(self._ctx)
            self._batch = llama_cpp.llama_batch_init(chunk + streams, 0, 1)
            self._adapters = {name: self._load_adapter(file) for name, file in (adapters or {}).items()}
        except BaseException:
            self.close()
            raise
        self._active: str | None = None
        self._pieces: dict[int, bytes] = {}

    # -- text ---------------------------------------------------------------------------------------------------

    def tokenize(self, text: str, special: bool) -> list[int]:
        """Token ids of `text`; with `special`, control tokens in it are read as such. Adds nothing at either end."""
        raw = text.encode("utf-8", "replace")
        buffer = (llama_cpp.llama_token * (len(raw) + 8))()
        count = llama_cpp.llama_tokenize(self._vocab, raw, len(raw), buffer, len(buffer), False, special)
        if count < 0:
            buffer = (llama_cpp.llama_token * -count)()
            count = llama_cpp.llama_tokenize(self._vocab, raw, len(raw), buffer, len(buffer), False, special)
        return list(buffer[:count])

    def piece(self, token: int, special: bool = False) -> bytes:
        """The bytes that a token stands for: perhaps part of a character; nothing for a control token."""
        if special or token not in self._pieces:
            buffer = ctypes.create_string_buffer(512)
            length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, special)
            text = buffer.raw[: max(0, length)]
            if special:
                return text
            self._pieces[token] = text
        return self._pieces[token]

    def ends_turn(self, token: int) -> bool:
        """Whether a token ends the assistant's turn (any of the model's end-of-generation tokens)."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))

    def opening_token(self) -> int | None:
        """The beginning-of-sequence token, where the model wants one before every prompt."""
        return llama_cpp.llama_vocab_bos(self._vocab) if llama_cpp.llama_vocab_get_add_bos(self._vocab) else None

    def chat_template(self) -> str | None:
        source = llama_cpp.llama_model_chat_template(self._model, None)
        return source.decode("utf-8", "replace") if source else None

    def special_text(self) -> SpecialText:
        bos, eos = llama_cpp.llama_vocab_bos(self._vocab), llama_cpp.llama_vocab_eos(self._vocab)
        return SpecialText(
            *(self.piece(t, special=True).decode("utf-8", "replace") if t >= 0 else "" for t in (bos, eos))
        )

    # -- the KV cache -------------------------------------------------------------------------------------------

    def trim(self, stream: int, keep: int) -> bool:
        """Forgets a stream's cells from position `keep` on. False: this model cannot forget a part (it forgot all)."""
        if llama_cpp.llama_memory_seq_rm(self._memory, stream, keep, -1):
            return True
        llama_cpp.llama_memory_seq_rm(self._memory, stream, -1, -1)
        return keep == 0

    def copy(self, source: int, target: int) -> None:
        """Copies all of a stream over another (llama.cpp copies whole streams only; trim afterwards)."""
        llama_cpp.llama_memory_seq_rm(self._memory, target, -1, -1)
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    # -- computing ----------------------------------------------------------------------------------------------

    def decode(self, rows: Sequence[Row], adapter: str | None) -> list[NDArray[np.float32]]:
        """Evaluates `rows` under one adapter; logits, shape (vocabulary,), of each row that wants them, in order.

        The arrays are views that the next call overwrites. Raises NoRoom (nothing was lost; try fewer rows) or
        DecodeError.
        """
        self._use(adapter)
        batch = self._batch
        batch.n_tokens = len(rows)
        for i, row in enumerate(rows):
            batch.token[i], batch.pos[i] = row.token, row.position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, row.stream
            batch.logits[i] = row.wanted
        code = llama_cpp.llama_decode(self._ctx, batch)
        if code in (1, 2):  # 1: no room in the KV cache; 2: aborted
            raise NoRoom(f"{self.name}: llama_decode found no room for {len(rows)} tokens (code {code})")
        if code != 0:
            raise DecodeError(f"{self.name}: llama_decode failed with code {code}")
        return [self._logits(i) for i, row in enumerate(rows) if row.wanted]

    def invocation(self, adapter: str | None) -> tuple[int, ...]:
        """The tokens that switch an activated LoRA on; () for a plain LoRA and for the base model."""
        if adapter is None:
            return ()
        handle = self._adapters[adapter]
        count = llama_cpp.llama_adapter_get_alora_n_invocation_tokens(handle)
        return tuple(llama_cpp.llama_adapter_get_alora_invocation_tokens(handle)[:count]) if count else ()

    def has_adapter(self, adapter: str) -> bool:
        return adapter in self._adapters

    def close(self) -> None:
        if self._batch is not None:
            llama_cpp.llama_batch_free(self._batch)
        if self._ctx is not None:
            llama_cpp.llama_free(self._ctx)
        if self._model is not None:
            llama_cpp.llama_model_free(self._model)  # frees its adapters too
        self._batch = self._ctx = self._model = None

    # -- inside -------------------------------------------------------------------------------------------------

    def memory_need(self) -> int:
        """Bytes that the model file, the KV cache and the working buffers take."""
        return self._memory_need

    def _require_memory(self, path: Path) -> None:
        self._memory_need = path.stat().st_size + self._kv_bytes() + WORKING_MEMORY
        free = psutil.virtual_memory().available
        if self._memory_need > free:
            raise MemoryLimit(
                f"{self.streams} sequences of {self.context} tokens need {self._memory_need / 2**20:,.0f} MB,"
                f" {free / 2**20:,.0f} MB are free",
                path.name,
                "Choose fewer (--parallel) or shorter (--context) sequences, or a smaller model",
            )

    def _widen(self, path: Path) -> None:
        """Exchanges the model for a copy of the same weights that many sequences decode faster, where there is one and
        the memory for it. A GPU's speed is that of its memory, so there the smaller type is the faster."""
        if self.streams < MANY or llama_cpp.llama_supports_gpu_offload():
            return
        try:
            extra = extra_bytes(read_header(path))
            if not 0 < extra <= MOST_EXTRA or self._memory_need + extra > psutil.virtual_memory().available:
                return
            with widened(path) as copy:
                llama_cpp.llama_model_free(self._model)  # before: both at once would take twice the memory
                self._model = None
                self._model = _load(copy)
        except (OSError, ModelError) as error:
            log.warning("%s is used as it is, it could not be widened: %s", path.name, error)
            self._model = self._model or _load(path)

    def _kv_bytes(self) -> int:
        head = llama_cpp.llama_model_n_embd(self._model) // max(1, llama_cpp.llama_model_n_head(self._model))
        width = llama_cpp.llama_model_n_head_kv(self._model) * head
        layers: int = llama_cpp.llama_model_n_layer(self._model)
        cells: int = layers * width * self.context * self.streams
        return 2 * 2 * cells  # K and V, two bytes each

    def _scores_bytes(self) -> int:
        """What attention without "flash" keeps of a step: every token's score with every cell of its stream. It is the
        faster one on a CPU, where the fused loop of llama.cpp reads the keys anew for each head and query (a 0.5B
        model, 32 sequences of 512 tokens, two cores: 366 against 697 ms a step)."""
        heads: int = llama_cpp.llama_model_n_head(self._model)
        return 4 * heads * self.context * (self.chunk + self.streams)

    def _new_context(self, threads: int) -> Any:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = self.context * self.streams
        params.n_seq_max = self.streams
        params.n_batch = params.n_ubatch = self.chunk + self.streams
        params.n_outputs_max = (
            self.streams
        )  # one row of logits a stream and step; more would reserve vocabulary x batch
        params.n_threads = params.n_threads_batch = threads
        if self._scores_bytes() <= MOST_SCORES and not llama_cpp.llama_supports_gpu_offload():
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        # One KV stream a sequence: with a unified cache every token attends over the cells of all sequences.
        params.kv_unified = False
        params.no_perf = True
        context = llama_cpp.llama_init_from_model(self._model, params)
        if not context:
            raise MemoryLimit(
                f"llama.cpp could not make a context of {self.streams} x {self.context} tokens",
                self.name,
                "Choose fewer (--parallel) or shorter (--context) sequences",
            )
        return context

    def _load_adapter(self, path: Path) -> Any:
        if not path.is_file():
            raise ModelError("no such adapter", str(path), "See: score-local models list")
        handle = llama_cpp.llama_adapter_lora_init(self._model, str(path).encode())
        if not handle:
            raise ModelError(
                f"llama.cpp cannot use this adapter with {self.name}",
                str(path),
                "Was it trained on another base model?",
            )
        return handle

    def _use(self, adapter: str | None) -> None:
        if adapter == self._active:
            return
        if adapter is None:
            code = llama_cpp.llama_set_adapters_lora(self._ctx, None, 0, None)
        else:
            handles = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(self._adapters[adapter])
            code = llama_cpp.llama_set_adapters_lora(self._ctx, handles, 1, (ctypes.c_float * 1)(1.0))
        if code != 0:
            raise DecodeError(f"{self.name}: adapter {adapter!r} could not be activated (code {code})")
        self._active = adapter

    def _logits(self, row: int) -> NDArray[np.float32]:
        pointer = llama_cpp.llama_get_logits_ith(self._ctx, row)
        if not pointer:
            raise DecodeError(f"{self.name}: llama.cpp gave no logits for row {row}")
        return np.ctypeslib.as_array(pointer, shape=(self.vocabulary,))


def _load(path: Path) -> Any:
    if not path.is_file():
        raise ModelError("no such model file", str(path), "See: score-local models list")
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), llama_cpp.llama_model_default_params())
    if not model:
        what = "llama.cpp cannot load it: damaged, cut short, or no GGUF"
        raise ModelError(what, str(path), f"Try: score-local models check {path}")
    return model


def system_info() -> str:
    """What llama.cpp was built with, in its own words."""
    flags = llama_cpp.llama_print_system_info().decode("utf-8", "replace").strip()
    return f"llama-cpp-python {llama_cpp.__version__}; {flags}"
