from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from score_local.engine import widened as module
from score_local.engine.widened import Q5_0_BYTES, extra_bytes, q8_0_of, widened
from score_local.gguf_file import read_header
from tests.gguf_files import write_model

Q5_0, Q8_0 = GGMLQuantizationType.Q5_0, GGMLQuantizationType.Q8_0
in_memory = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no files in memory")


def write(path: Path, tensors: dict[str, NDArray[np.float32]]) -> Path:
    writer = GGUFWriter(str(path), "llama")
    for name, values in tensors.items():
        writer.add_tensor(name, quantize(values, Q5_0), raw_dtype=Q5_0)
    writer.add_tensor("norm", np.ones(7, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.just(Q5_0_BYTES))))
def test_every_number_is_the_same(blocks: NDArray[np.uint8]) -> None:
    with np.errstate(all="ignore"):  # scales may be infinite here, and 0 times that is no number
        np.testing.assert_array_equal(dequantize(q8_0_of(blocks), Q8_0), dequantize(blocks, Q5_0))


@in_memory
def test_a_file_is_widened_where_it_is_multiplied_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIECE", 5 * Q5_0_BYTES)  # so that a tensor takes several
    random = np.random.default_rng(0)
    names = ("token_embd.weight", "blk.0.ffn_up.weight", "output.weight")
    path = write(tmp_path / "m.gguf", {name: random.normal(size=(24, 64)).astype(np.float32) for name in names})
    with widened(path) as copy:
        before, after = ({t.name: t for t in GGUFReader(file).tensors} for file in (path, copy))
        extra = copy.stat().st_size - path.stat().st_size
    assert [t.tensor_type.name for t in after.values()] == ["Q5_0", "Q8_0", "Q8_0", "F32"]
    for name, tensor in before.items():
        expected = dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(dequantize(after[name].data, after[name].tensor_type), expected)
    assert extra == pytest.approx(extra_bytes(read_header(path)), abs=64), "but for padding"


@in_memory
def test_an_embedding_that_is_the_output_too_is_widened(tmp_path: Path) -> None:
    path = write(tmp_path / "m.gguf", {"token_embd.weight": np.ones((4, 32), dtype=np.float32)})
    assert extra_bytes(read_header(path)) == 4 * 12


def test_a_file_without_such_weights_is_left_alone(tmp_path: Path) -> None:
    assert extra_bytes(read_header(write_model(tmp_path / "m.gguf"))) == 0


def test_a_system_without_files_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.gguf", {"output.weight": np.ones((4, 32), dtype=np.float32)})
    monkeypatch.delattr(os, "memfd_create", raising=False)
    assert extra_bytes(read_header(path)) == 0
