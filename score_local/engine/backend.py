"""What the batched engine asks of a backend: rows in, logits out, streams copied and trimmed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from score_local.errors import EngineError


class NoRoom(EngineError):
    """The KV cache has no room for this batch; smaller ones may still pass."""


class DecodeError(EngineError):
    """The backend failed for good on this batch."""


class Row(NamedTuple):
    """One token to evaluate: in which stream, at which position, and whether its logits are wanted."""

    stream: int
    position: int
    token: int
    wanted: bool


class Backend(Protocol):
    """Computes; a single thread drives it. See `LlamaBackend` for what each member means."""

    name: str
    streams: int
    context: int
    chunk: int

    def piece(self, token: int) -> bytes: ...
    def tokenize(self, text: str, special: bool) -> list[int]: ...
    def ends_turn(self, token: int) -> bool: ...
    def opening_token(self) -> int | None: ...
    def invocation(self, adapter: str | None) -> tuple[int, ...]: ...
    def has_adapter(self, adapter: str) -> bool: ...
    def trim(self, stream: int, keep: int) -> bool: ...
    def copy(self, source: int, target: int) -> None: ...
    def decode(self, rows: Sequence[Row], adapter: str | None) -> list[NDArray[np.float32]]: ...
    def close(self) -> None: ...
