"""Reading Hugging Face folders: values by ranges of rows, and every kind of damage told in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from convert.safetensors import open_folder, to_float32
from score_local.errors import ModelError
from tests.convert.files import write_safetensors

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<f2"])
def test_rows_are_read_in_float32(tmp_path: Path, dtype: str) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"w": MATRIX.astype(dtype), "v": MATRIX[0].astype(dtype)})
    tensors = open_folder(tmp_path)
    assert tensors["w"].read(2, 5).tolist() == MATRIX[2:5].tolist()
    assert tensors["v"].read(1, 3).tolist() == [1.0, 2.0]
    assert tensors["w"].read().dtype == np.float32


def test_bfloat16_is_the_upper_half_of_float32() -> None:
    halves = np.array([0x3F80, 0xC000, 0x7F80, 0x0000], dtype=np.uint16)
    assert to_float32(halves).tolist() == [1.0, -2.0, float("inf"), 0.0]


def test_shards_are_found_through_their_index(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "one.safetensors", {"a": MATRIX})
    write_safetensors(tmp_path / "two.safetensors", {"b": MATRIX})
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert open_folder(tmp_path).keys() == {"a", "b"}


def damaged(folder: Path, how: str) -> None:
    whole = write_safetensors(folder / "model.safetensors", {"w": MATRIX}).read_bytes()
    file = folder / "model.safetensors"
    if how == "truncated data":
        file.write_bytes(whole[:-1])
    elif how == "truncated header":
        file.write_bytes(whole[:20])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "no safetensors":
        file.write_bytes(b"PK\3\4" * 99)
    elif how == "wrong size":
        file.write_bytes(whole.replace(b"[6, 4]", b"[6, 5]"))
    elif how == "missing shard":
        file.unlink()
        index = {"weight_map": {"w": "model-1.safetensors", "v": "model-2.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    elif how == "broken index":
        file.unlink()
        (folder / "model.safetensors.index.json").write_text('{"weight_map": [')
    elif how == "pickle":
        file.unlink()
        (folder / "pytorch_model.bin").write_bytes(b"x")
    elif how == "nothing":
        file.unlink()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("truncated data", "cut short: 168 bytes of 169"),
        ("truncated header", "cut short"),
        ("empty", "cut short"),
        ("no safetensors", "not a safetensors file"),
        ("wrong size", "w does not have the size that its shape says"),
        ("missing shard", "names model-1.safetensors and 1 more, which is not there"),
        ("broken index", "not an index of shards"),
        ("pickle", "safe_serialization=True"),
        ("nothing", "has no model.safetensors"),
    ],
)
def test_damage_is_told(tmp_path: Path, how: str, told: str) -> None:
    damaged(tmp_path, how)
    with pytest.raises(ModelError) as caught:
        open_folder(tmp_path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
