"""What is converted: which module of the base gets which change, whatever file that was read from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from convert.architectures import Layout
from convert.safetensors import Array, StoredTensor


class Factor(Protocol):
    """One of the two matrices of a low-rank change, where it lies."""

    @property
    def file(self) -> Path: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def read(self) -> Array:
        """All of it, in float32. Raises ModelError."""


class LoraChange(msgspec.Struct, frozen=True, kw_only=True):
    """The low-rank change of one module: W + scale * B @ A, and with DoRA its rows rescaled to `magnitude`.

    `a` is (rank, columns of W) and `b` (rows of W, rank). Of an embedding, A is (rank, rows of W) and B (columns of W,
    rank), and the change is the transpose. `placed`: B's rows are in llama.cpp's order, not in the checkpoint's.
    """

    a: Factor
    b: Factor
    scale: float
    embedding: bool = False
    magnitude: StoredTensor | None = None
    placed: bool = False

    def order(self, layout: Layout, name: str) -> NDArray[np.intp] | None:
        """The row of the change for each row of llama.cpp's tensor `name`; None where they are the same."""
        return None if self.placed else layout.order(name, self.shape[0])

    @property
    def rank(self) -> int:
        return self.a.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the weight that is changed."""
        rows, columns = self.b.shape[0], self.a.shape[1]
        return (columns, rows) if self.embedding else (rows, columns)


class Adapter(msgspec.Struct, frozen=True):
    """An adapter by the names of the checkpoint's tensors or llama.cpp's: low-rank `changes`, and tensors that take the
    place of the base's (`modules_to_save`, trained biases). Tensors of no known meaning are in `strange`.

    `path` is PEFT's folder or a LoRA GGUF, `config` PEFT's settings, `architecture` llama.cpp's name of what it is
    for ("": PEFT does not say).
    """

    path: Path
    config: dict[str, Any]
    changes: dict[str, LoraChange]
    replaced: dict[str, StoredTensor] = {}
    strange: tuple[str, ...] = ()
    architecture: str = ""

    @property
    def name(self) -> str:
        """What its files are named after."""
        return adapter_name(self.path)

    @property
    def invocation_tokens(self) -> tuple[int, ...]:
        """What an aLoRA's activation begins with; () for a LoRA."""
        return tuple(self.config.get("alora_invocation_tokens") or ())

    @property
    def base(self) -> str:
        """The base model's name as it was when the adapter was trained."""
        return str(self.config.get("base_model_name_or_path") or "")

    @property
    def tied(self) -> bool:
        """Whether embedding and output stayed one in training, where the base has one tensor for both."""
        return bool(self.config.get("ensure_weight_tying"))

    @property
    def dora(self) -> bool:
        return any(change.magnitude for change in self.changes.values())


def adapter_name(path: Path) -> str:
    """The name of a PEFT folder or of an adapter's GGUF, without its ending."""
    return path.resolve().name.removesuffix(".gguf")
