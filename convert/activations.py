"""What goes into a model's weights while it reads a text: the sum of squares, input by input, and how many were summed.

llama.cpp computes a graph of operations and calls back for each. Where a weight is multiplied with activations, those
are looked at and let go: only their sums stay. What is watched is what llama.cpp's own tool watches (tools/imatrix):
the weights of the layers, not the embeddings and the output.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.ggml import FLOAT32, Tensor, operation, read_float32
from score_local.engine.backend import Row
from score_local.engine.llama import LlamaBackend
from score_local.errors import MemoryLimit, ModelError

import llama_cpp  # isort: skip  (after engine.llama, which sets what the library reads as it loads)

PIECE = 128  # tokens a call: their logits take 78 MB for a vocabulary of 152,000
LAYERS = "blk."


class Activations:
    """The sums, by weight: float64, shape (width,); `counts` says over how many tokens. `callback` is llama.cpp's."""

    def __init__(self) -> None:
        self.sums: dict[str, NDArray[np.float64]] = {}
        self.counts: dict[str, int] = {}
        self.callback = llama_cpp.ggml_backend_sched_eval_callback(self._called)
        self._trouble: BaseException | None = None

    def of(self, weight: str) -> tuple[NDArray[np.float64], int]:
        """A weight's sums and how many tokens are in them."""
        return self.sums[weight], self.counts[weight]

    def raise_trouble(self) -> None:
        """Raises what went wrong in the callback, which has nobody to raise to."""
        if self._trouble:
            raise self._trouble

    def _called(self, address: int, asked: bool, _: object) -> bool:
        """Asked first whether the result of an operation is wanted; called again when it is there. False then stops."""
        try:
            product = Tensor.from_address(address)
            return self._is_wanted(product) if asked else self._add(product)
        except BaseException as error:
            self._trouble = error
            return False

    def _is_wanted(self, product: Tensor) -> bool:
        kind = operation(product)
        if kind not in ("MUL_MAT", "MUL_MAT_ID") or not weight_name(product).startswith(LAYERS):
            return False
        weight, inputs = product.src[0].contents, product.src[1].contents
        if kind == "MUL_MAT_ID" or weight.ne[2] * weight.ne[3] > 1:
            what = f"{weight_name(product)} is a stack of matrices (a mixture of experts), which is not supported"
            raise ModelError(what, "", "Compute the importance matrix with llama.cpp's llama-imatrix")
        return bool(inputs.type == FLOAT32)

    def _add(self, product: Tensor) -> bool:
        inputs, name = read_float32(product.src[1].contents), weight_name(product)
        squares = np.square(inputs, dtype=np.float64).sum(axis=(0, 1, 2))
        if not np.isfinite(squares).all():
            raise ModelError(f"the inputs of {name} are no numbers (NaN or infinite)", "", "Is the model damaged?")
        self.sums[name] = self.sums.get(name, 0.0) + squares
        self.counts[name] = self.counts.get(name, 0) + inputs.size // inputs.shape[-1]
        return True


def weight_name(product: Tensor) -> str:
    """The name of the weight in a product. A copy on another device is called `device#name#number`."""
    name: str = product.src[0].contents.name.decode("utf-8", "replace")
    return name.split("#")[1] if "#" in name else name


class WatchedBackend(LlamaBackend):
    """A model whose activations are summed while it reads."""

    def __init__(self, path: Path, *, context: int, threads: int | None) -> None:
        self.activations = Activations()
        super().__init__(path, streams=1, context=context, threads=threads, chunk=min(PIECE, context))

    def read(self, tokens: Sequence[int]) -> None:
        """Reads a sequence of at most `context` tokens. Raises ModelError or EngineError."""
        self.trim(0, 0)
        for start in range(0, len(tokens), self.chunk):
            piece = range(start, min(start + self.chunk, len(tokens)))
            # All are wanted: llama.cpp leaves the rest of the last layer out for those that are not.
            self.decode([Row(0, position, tokens[position], True) for position in piece], None)
            self.activations.raise_trouble()

    def sequences(self, text: str) -> Iterator[list[int]]:
        """The text in whole sequences of `context` tokens, each with the opening token that the model wants (in place
        of its first); what is left at the end is left out."""
        opening = self.opening_token()
        tokens = ([] if opening is None else [opening]) + self.tokenize(text, False)
        for start in range(0, len(tokens) - self.context + 1, self.context):
            sequence = tokens[start : start + self.context]
            yield sequence if opening is None else [opening, *sequence[1:]]

    def __enter__(self) -> WatchedBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _new_context(self, threads: int) -> Any:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = self.context
        params.n_batch = params.n_ubatch = params.n_outputs_max = self.chunk
        params.n_threads = params.n_threads_batch = threads
        params.cb_eval = self.activations.callback
        params.cb_eval_user_data = ctypes.c_void_p(0)
        params.no_perf = True
        context = llama_cpp.llama_init_from_model(self._model, params)
        if not context:
            what = f"llama.cpp could not make a context of {self.context} tokens"
            raise MemoryLimit(what, self.name, "Close other programs, or give a smaller model")
        return context
