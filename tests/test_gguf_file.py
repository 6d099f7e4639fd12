"""The header reader against files that the `gguf` package wrote, and against files that are damaged."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from gguf import GGML_QUANT_SIZES, GGUFReader

from score_local import catalog
from score_local.errors import ModelError
from score_local.gguf_check import check_file, file_sha256
from score_local.gguf_file import read_header
from score_local.gguf_types import BLOCKS
from tests.gguf_files import BASE, TEMPLATE, write_adapter, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.gguf")


def test_header_says_what_was_written(model: Path) -> None:
    header = read_header(model)
    assert (header.version, header.architecture, header.quantisation) == (3, "llama", "Q8_0")
    assert (header.context_length, header.chat_template) == (2048, TEMPLATE)
    assert header.parameters == sum(rows * columns for rows, columns in BASE.values())
    assert header.metadata["general.languages"] == ["en", "fr"]
    assert header.bytes == model.stat().st_size


def test_long_arrays_are_stepped_over(model: Path) -> None:
    metadata = read_header(model).metadata
    assert "tokenizer.ggml.tokens" not in metadata and "tokenizer.ggml.scores" not in metadata
    assert metadata["tokenizer.chat_template"] == TEMPLATE, "what follows them is still read"


def test_tensors_are_those_of_the_reference_reader(model: Path) -> None:
    ours = read_header(model).tensors
    reference = GGUFReader(str(model))
    assert {name: (t.shape, t.type, t.bytes) for name, t in ours.items()} == {
        t.name: (tuple(int(n) for n in t.shape), int(t.tensor_type), int(t.n_bytes)) for t in reference.tensors
    }


def test_block_sizes_are_ggmls() -> None:
    theirs = {int(kind): sizes for kind, sizes in GGML_QUANT_SIZES.items()}
    newer = {42: (64, 18)}  # Q2_0, which llama-cpp-python has and gguf 0.19 does not
    assert {**theirs, **newer} == BLOCKS


def test_a_tensor_type_newer_than_the_table_is_not_called_cut_short(tmp_path: Path) -> None:
    header = read_header(write_model(tmp_path / "new.gguf"))
    tensor = header.tensors["token_embd.weight"]
    assert type(tensor)(tensor.shape, 999, tensor.offset).bytes == 0


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (b"GG", "not a GGUF file"),
        (b"<!DOCTYPE html><html>not found</html>", "not a GGUF file"),
        (b"GGUF", "cut short: it ends within its header"),
        (b"GGUF" + struct.pack("<I", 3), "cut short: it ends within its header"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "GGUF version 1 is not supported"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "GGUF version for big-endian machines is not supported"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62), "cut short: it ends within its header"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 99), "damaged: its header makes no sense"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 2**62), "cut short: it ends within its header"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 2, 1, b"k", 9, 4, 2**62), "damaged: its header makes no sense"),
        (b"GGUF" + struct.pack("<IQQQ17sII", 3, 0, 1, 17, b"general.alignment", 4, 0), "damaged: its header makes no"),
    ],
)
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_header(path)
    assert what in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.next == "Fetch or copy it again, or name another file", "whatever kind of GGUF it should be"


@pytest.mark.parametrize("missing", [1, 1000])
def test_a_file_that_ends_early_is_found_without_reading_it(model: Path, missing: int) -> None:
    content = model.read_bytes()
    model.write_bytes(content[:-missing])
    with pytest.raises(ModelError, match=rf"cut short: {len(content) - missing:,} bytes of {len(content):,} are here"):
        read_header(model)


def test_every_cut_of_the_header_is_a_model_error(tmp_path: Path) -> None:
    content = write_model(tmp_path / "whole.gguf", vocabulary=3).read_bytes()
    path = tmp_path / "cut.gguf"
    for length in range(0, len(content) - 1, 7):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError):
            read_header(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        read_header(tmp_path / "none.gguf")
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        read_header(tmp_path)


def test_report(model: Path) -> None:
    quick, full = check_file(model), check_file(model, full=True)
    assert (quick.kind, quick.chat_template, quick.tensors, quick.sha256) == ("model", True, 3, None)
    assert full.sha256 == file_sha256(model)


def test_report_of_a_model_without_template_and_of_an_adapter(tmp_path: Path) -> None:
    assert not check_file(write_model(tmp_path / "base.gguf", template=None)).chat_template
    report = check_file(write_adapter(tmp_path / "lora.gguf"))
    assert (report.kind, report.quantisation) == ("adapter", "unknown")


@pytest.mark.model
def test_the_embedded_model() -> None:
    try:
        path = catalog.resolve(catalog.DEFAULT_MODEL)
    except ModelError as error:
        pytest.skip(str(error))
    began = time.perf_counter()
    header = read_header(path)
    assert time.perf_counter() - began < 0.3
    assert (header.architecture, header.quantisation, header.parameters) == ("llama", "Q4_1", 134_515_008)
    report = check_file(path, catalog.find_entry(catalog.DEFAULT_MODEL), full=True)
    assert report.chat_template and report.context_length == 8192
