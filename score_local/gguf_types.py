"""The numbers by which a GGUF file names its types: values of the metadata, and blocks of weights.

The sizes are those of `gguf.GGML_QUANT_SIZES` (a test compares), without its 0.3 s of import, and of newer types.
"""

from __future__ import annotations

import math
import struct

import msgspec

_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
SCALARS = {number: struct.Struct("<" + code) for number, code in _CODES.items()}
U32, U64, TEXT, ARRAY = SCALARS[4], SCALARS[10], 8, 9

BLOCKS: dict[int, tuple[int, int]] = {
    **{0: (1, 4), 1: (1, 2), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2)},
    **{2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40), 20: (32, 18), 39: (32, 17)},
    **{10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292)},
    **{16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 21: (256, 110), 22: (256, 82), 23: (256, 136)},
    **{29: (256, 56), 34: (256, 54), 35: (256, 66), 40: (64, 36), 41: (128, 18), 42: (64, 18)},
}
"""ggml's tensor types by number: weights in a block, bytes of a block."""


class Tensor(msgspec.Struct, frozen=True):
    """Where a tensor lies. `shape` is ggml's: the dimension that is contiguous in memory comes first."""

    shape: tuple[int, ...]
    type: int
    offset: int  # from the start of the tensor data

    @property
    def weights(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size in the file; 0 for a type that is newer than this table, so that it is not called cut short."""
        per_block, block_bytes = BLOCKS.get(self.type, (1, 0))
        return self.weights // per_block * block_bytes
