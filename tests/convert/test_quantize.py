"""Quantising through llama.cpp: every type, what falls back, what is refused, and that nothing half-written stays."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from numpy.typing import NDArray

from convert import quantize_process
from convert.comparison import compare
from convert.held_back import held_back_sequences
from convert.imatrix import (
    Entry,
    ImportanceMatrix,
    compute_imatrix,
    layer_weights,
    read_imatrix,
    shapes_of,
    write_imatrix,
)
from convert.logits import Vocabulary, llama_logits
from convert.quantize import Quantised, quantize
from convert.quantize_process import Began, Ended, Event, Fallback, Job, LogReader, Sized, run
from convert.quantize_types import OVERRIDES, TENSOR_TYPES, TYPES, block_length, tensor_type_name
from convert.sources import InGGUF
from score_local import catalog
from score_local.errors import ModelError
from score_local.gguf_file import read_header
from tests import gguf_files
from tests.convert.tiny_gguf import NARROW, WIDE, Shape, random_weights, write_model

SMALL = Shape(layers=1)
TOKENS = [1, *range(40, 100)]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("wide") / "wide-f16.gguf", WIDE)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("narrow") / "narrow-f16.gguf", NARROW)


def matrix_of(model: Path, target: Path) -> Path:
    """An importance matrix by hand: some inputs count a hundred times as much."""
    header, random = read_header(model), np.random.default_rng(3)
    entries = {
        name: Entry(
            10 ** random.uniform(0, 2, (1, header.tensors[name].shape[0])).astype(np.float32),
            np.array([10], dtype=np.float32),
        )
        for name in layer_weights(shapes_of(header))
    }
    write_imatrix(ImportanceMatrix(entries, 4, 512, ("some text.txt",)), target, header.architecture)
    return target


# -- the tables -----------------------------------------------------------------------------------------------------


def test_the_types_are_those_of_the_library() -> None:
    known = {name: value for name, value in vars(llama_cpp).items() if name.startswith("LLAMA_FTYPE_")}
    no_recipe = {"LLAMA_FTYPE_GUESSED", "LLAMA_FTYPE_MOSTLY_NVFP4"}  # llama.cpp reads such files, and makes none
    names = {
        name.removeprefix("LLAMA_FTYPE_").split("_", 1)[1].lower(): known[name] for name in known.keys() - no_recipe
    }
    assert {name: type.ftype for name, type in TYPES.items()} == names
    assert [type.bits for type in TYPES.values()] == sorted(type.bits for type in TYPES.values())


def test_tensor_types_have_the_librarys_numbers() -> None:
    prefix = "GGML_TYPE_"
    known = {
        name.removeprefix(prefix).lower(): value for name, value in vars(llama_cpp).items() if name.startswith(prefix)
    }
    assert {name: TENSOR_TYPES[name] for name in known.keys() & TENSOR_TYPES.keys()}.items() <= known.items()
    assert known.keys() - TENSOR_TYPES.keys() == {"count"}
    assert {name: block_length(TENSOR_TYPES[name]) for name in OVERRIDES} == {
        name: GGML_QUANT_SIZES[GGMLQuantizationType(TENSOR_TYPES[name])][0] for name in OVERRIDES
    }
    assert tensor_type_name(42) == "q2_0" and tensor_type_name(99) == "type 99"


def in_this_process(model: Path, target: Path, type: str) -> list[Event]:
    events = list[Event]()
    run(Job(source=str(model), ftype=TYPES[type].ftype, threads=2), target, events.append)
    return events


@pytest.mark.parametrize("type", TYPES)
def test_llama_cpp_makes_every_type_and_wants_a_matrix_for_those_that_say_so(
    tmp_path: Path, type: str, capfd: pytest.CaptureFixture[str]
) -> None:
    model = write_model(tmp_path / "m.gguf", SMALL)
    target = tmp_path / "q.gguf"
    *_, ended = in_this_process(model, target, type)
    assert isinstance(ended, Ended)
    assert ("imatrix" in ended.error) is TYPES[type].needs_imatrix
    if not ended.error:
        header = read_header(target)
        assert header.metadata["general.file_type"] == TYPES[type].ftype
        found = header.tensors["blk.0.attn_q.weight"]
        assert found.bytes * 8 / found.weights == pytest.approx(TYPES[type].bits) or type in {"mxfp4_moe", "q2_0"}
    assert capfd.readouterr() == ("", "")


# -- what comes out -------------------------------------------------------------------------------------------------


def test_a_quantised_model_runs_and_is_near_its_source(tmp_path: Path, wide: Path) -> None:
    (exact,) = llama_logits(wide, [TOKENS])
    drift = dict[str, float]()
    for type in ("q8_0", "q4_k_m", "q2_k"):
        made = quantize(wide, tmp_path / f"{type}.gguf", type, threads=2)
        drift[type] = compare([TOKENS], [exact], llama_logits(made.path, [TOKENS])).summary().mean_kl
        assert made.fallbacks == () and made.summary == ""
        assert made.bytes == made.path.stat().st_size < wide.stat().st_size
    assert drift["q8_0"] < 0.01
    assert drift["q8_0"] < drift["q4_k_m"] < drift["q2_k"]


def test_it_tells_tensor_by_tensor_what_it_made(tmp_path: Path, wide: Path) -> None:
    told = list[tuple[int, int]]()
    made = quantize(wide, tmp_path / "q.gguf", "q4_k_m", progress=lambda *now: told.append(now))
    assert made.types["blk.0.attn_q.weight"] == "q4_k"
    assert made.types["output.weight"] == "q6_k"
    assert made.types["blk.0.attn_norm.weight"] == "f32"
    assert made.types.keys() == read_header(wide).tensors.keys()
    total = len(made.types)
    assert told == [(done, total) for done in range(total + 1)]


def test_narrow_models_fall_back_and_it_says_so(tmp_path: Path, narrow: Path) -> None:
    made = quantize(narrow, tmp_path / "q.gguf", "q4_k_m")
    assert len(made.fallbacks) == 15
    assert Fallback("blk.1.ffn_down.weight", 128, "q6_k", "q8_0") in made.fallbacks
    for fallback in made.fallbacks:
        assert made.types[fallback.tensor] == fallback.given
    assert made.summary == (
        "15 of 21 tensors fell back to other types (q4_k to q5_0: 13, q6_k to q8_0: 2): their width 64, 128 does not"
        " fill the blocks that were meant"
    )


@pytest.mark.parametrize("type", [GGMLQuantizationType.F32, GGMLQuantizationType.BF16])
def test_other_exact_sources(tmp_path: Path, type: GGMLQuantizationType) -> None:
    source = write_model(tmp_path / "source.gguf", NARROW, type=type)
    assert quantize(source, tmp_path / "q.gguf", "q8_0").types["blk.0.attn_q.weight"] == "q8_0"


@pytest.mark.parametrize(
    ("options", "tied", "expected"),
    [
        ({"output_type": "f16"}, False, {"output.weight": "f16", "token_embd.weight": "q4_0"}),
        ({"embedding_type": "q8_0"}, False, {"output.weight": "q6_k", "token_embd.weight": "q8_0"}),
        ({"output_type": "q8_0"}, True, {"token_embd.weight": "q8_0"}),
        ({"output_type": "q8_0", "embedding_type": "q5_1"}, True, {"token_embd.weight": "q5_1"}),
    ],
)
def test_the_embeddings_and_the_output_may_have_a_type_of_their_own(
    tmp_path: Path, options: dict[str, str], tied: bool, expected: dict[str, str]
) -> None:
    model = write_model(tmp_path / "m.gguf", Shape(layers=1, tied=tied))
    made = quantize(model, tmp_path / "q.gguf", "q4_0", **options)  # type: ignore[arg-type]
    assert expected.items() <= made.types.items()


# -- the importance matrix ------------------------------------------------------------------------------------------


def error_by_input(made: Quantised, model: Path, name: str) -> NDArray[np.float32]:
    exact, rounded = (
        InGGUF(header, name, header.tensors[name]).read(0, 256)
        for header in (read_header(model), read_header(made.path))
    )
    squares: NDArray[np.float32] = ((exact - rounded) ** 2).sum(axis=0)
    return squares


def test_a_matrix_is_used_and_recorded(tmp_path: Path, wide: Path) -> None:
    matrix, name = matrix_of(wide, tmp_path / "matrix.gguf"), "blk.0.attn_q.weight"
    plain = quantize(wide, tmp_path / "plain.gguf", "q2_k")
    weighed = quantize(wide, tmp_path / "weighed.gguf", "q2_k", imatrix=matrix)
    weights = read_imatrix(matrix).entries[name].mean()
    assert (weights * error_by_input(weighed, wide, name)).sum() < 0.9 * (
        weights * error_by_input(plain, wide, name)
    ).sum()
    told = {key: value for key, value in read_header(weighed.path).metadata.items() if key.startswith("quantize.")}
    assert told == {
        "quantize.imatrix.file": "matrix.gguf",
        "quantize.imatrix.dataset": "some text.txt",
        "quantize.imatrix.entries_count": 14,
        "quantize.imatrix.chunks_count": 4,
    }
    assert not any(key.startswith("quantize.") for key in read_header(plain.path).metadata)


def test_types_that_need_a_matrix_take_one(tmp_path: Path, wide: Path) -> None:
    made = quantize(wide, tmp_path / "q.gguf", "iq2_xxs", imatrix=matrix_of(wide, tmp_path / "matrix.gguf"))
    assert made.types["blk.0.attn_q.weight"] == "iq2_xxs"


def test_a_long_name_of_a_matrix_is_cut_to_what_llama_cpp_holds(tmp_path: Path, narrow: Path) -> None:
    matrix = matrix_of(narrow, tmp_path / ("é" * 90 + ".gguf"))
    made = quantize(narrow, tmp_path / "q.gguf", "q8_0", imatrix=matrix)
    assert read_header(made.path).metadata["quantize.imatrix.file"] == "é" * 63


# -- what is refused ------------------------------------------------------------------------------------------------


def quantised_source(folder: Path) -> Path:
    return write_model(folder / "q8.gguf", NARROW, type=GGMLQuantizationType.Q8_0)


def not_a_number(folder: Path) -> Path:
    weights = random_weights(NARROW)
    weights["blk.1.ffn_up.weight"][5, 7] = np.nan
    return write_model(folder / "nan.gguf", NARROW, weights)


def cut_short(folder: Path) -> Path:
    path = write_model(folder / "cut.gguf", NARROW)
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def adapter(folder: Path) -> Path:
    return gguf_files.write_adapter(folder / "lora.gguf")


def sound(folder: Path) -> Path:
    return write_model(folder / "sound.gguf", NARROW)


def of_another_model(folder: Path) -> Path:
    return matrix_of(write_model(folder / "other.gguf", Shape(layers=1)), folder / "other.imatrix")


@pytest.mark.parametrize(
    ("make", "type", "options", "words"),
    [
        (sound, "q9_x", {}, "no such type: q9_x. Choose one of q1_0, .*q4_k_m"),
        (sound, "iq2_xs", {}, "iq2_xs needs an importance matrix.*score-convert imatrix"),
        (sound, "q1_0", {}, "do not fill the blocks"),
        (sound, "q4_0", {"imatrix": of_another_model}, "of another model"),
        (sound, "q4_0", {"imatrix": sound}, "not an importance matrix"),
        (sound, "q4_0", {"imatrix": lambda folder: folder / "none"}, "cannot be read"),
        (sound, "q4_0", {"output_type": "iq2_xxs"}, "output.weight cannot be made iq2_xxs"),
        (sound, "q4_0", {"embedding_type": "q6_k"}, "token_embd.weight cannot be made q6_k: .*multiple of 256"),
        (quantised_source, "q4_0", {}, r"quantised already \(q8_0\).*loses twice.*F16 file"),
        (not_a_number, "q8_0", {}, "no numbers"),
        (cut_short, "q8_0", {}, "cut short"),
        (adapter, "q8_0", {}, "not a model: it is of type adapter"),
        (lambda folder: folder / "none.gguf", "q8_0", {}, "cannot be read"),
    ],
)
def test_what_cannot_be_quantised(
    tmp_path: Path, make: Callable[[Path], Path], type: str, options: dict[str, Any], words: str
) -> None:
    if "imatrix" in options:
        options = {"imatrix": options["imatrix"](tmp_path)}
    source, target = make(tmp_path), tmp_path / "out" / "target.gguf"
    with pytest.raises(ModelError, match=words):
        quantize(source, target, type, **options)
    assert not target.parent.exists() or not list(target.parent.iterdir())


def test_a_quantised_source_where_it_is_allowed(tmp_path: Path) -> None:
    made = quantize(quantised_source(tmp_path), tmp_path / "f16.gguf", "f16", requantise=True)
    assert made.types["blk.0.attn_q.weight"] == "f16"


def test_nothing_is_overwritten(tmp_path: Path, narrow: Path) -> None:
    target = tmp_path / "mine.gguf"
    target.write_bytes(b"mine")
    with pytest.raises(ModelError, match="exists already"):
        quantize(narrow, target, "q8_0")
    assert target.read_bytes() == b"mine"


# -- faults ---------------------------------------------------------------------------------------------------------


def is_clean(folder: Path) -> bool:
    return not list(folder.iterdir()) and not multiprocessing.active_children()


def test_a_full_disk_is_known_before_anything_is_written(
    tmp_path: Path, narrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 100))
    with pytest.raises(ModelError, match=r"needs 1.*bytes, and 100 are free"):
        quantize(narrow, tmp_path / "q.gguf", "q8_0")
    assert is_clean(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of a file there")
def test_a_disk_that_fills_up_half_way(tmp_path: Path, wide: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(ModelError, match="the disk is full"):
            quantize(wide, tmp_path / "q.gguf", "q8_0")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert is_clean(tmp_path)


def be_killed(job: Job, target: Path, events: Connection) -> None:
    target.write_bytes(b"half")
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def test_llama_cpps_process_is_killed(tmp_path: Path, narrow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize_process, "work", be_killed)
    with pytest.raises(ModelError, match="ended in the middle"):
        quantize(narrow, tmp_path / "q.gguf", "q8_0")
    assert is_clean(tmp_path)


def go_on_for_ever(job: Job, target: Path, events: Connection) -> None:
    target.write_bytes(b"half")
    events.send(Began(1, 9))
    time.sleep(3600)


def interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


def test_an_interrupt_ends_llama_cpp_and_leaves_nothing(
    tmp_path: Path, narrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize_process, "work", go_on_for_ever)
    with pytest.raises(KeyboardInterrupt):
        quantize(narrow, tmp_path / "q.gguf", "q8_0", progress=interrupt)
    assert is_clean(tmp_path)


# -- the log --------------------------------------------------------------------------------------------------------

FELL_BACK = [
    "warning: blk.0.attn_k.weight                  - ncols    576 not divisible by 256 (required for type    q4_K) ",
    "-> falling back to    q5_0\n",
]
NO_BLOCK_FITS = [
    "warning: blk.0.odd.weight                     - ncols     80 not divisible by 256 (required for type    q4_K) ",
    "(WARNING: must use F16 due to unusual shape) ",
    "-> falling back to     f16\n",
]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["[  12/ 272] ", "blk.1.ffn_up.weight - [576, 1536], type = f16, ", "size = 1 MiB\n"], [Began(12, 272)]),
        (FELL_BACK, [Fallback("blk.0.attn_k.weight", 576, "q4_k", "q5_0")]),
        (NO_BLOCK_FITS, [Fallback("blk.0.odd.weight", 80, "q4_k", "f16")]),
        (["llama_model_quantize_impl: quant size  =     1.50 MiB (4.50 BPW)\n"], [Sized(3 * 2**19)]),
        (["llama_model_loader: - kv   0: general.architecture str = llama\n"], []),
    ],
)
def test_the_log_in_pieces(pieces: list[str], expected: list[Event]) -> None:
    events = list[Event]()
    reader = LogReader(events.append)
    for piece in pieces:
        reader.feed(piece)
    assert events == expected


def test_the_log_of_a_failure() -> None:
    reader = LogReader(lambda event: None)
    reader.feed("llama_model_quantize: failed to quantize: ")
    reader.feed("tensor 'x' has invalid data\n")
    assert reader.error == "tensor 'x' has invalid data"


# -- a real model ---------------------------------------------------------------------------------------------------


@pytest.mark.model
def test_a_matrix_helps_a_real_model(tmp_path: Path) -> None:
    """SmolLM2-135M, made F16 again. Measured at Q2_K on the held-back text, with a matrix of five sequences: loss 2.547
    without it, 2.460 with it (F16: 2.409), mean KL 0.414 and 0.309."""
    try:
        source = catalog.resolve(catalog.DEFAULT_MODEL)
    except ModelError as error:
        pytest.skip(str(error))
    exact = quantize(source, tmp_path / "f16.gguf", "f16", requantise=True).path
    text = tmp_path / "text.txt"
    text.write_text((Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    compute_imatrix(exact, text, tmp_path / "matrix.gguf", chunk=256)
    plain = quantize(exact, tmp_path / "plain.gguf", "q2_k")
    weighed = quantize(exact, tmp_path / "weighed.gguf", "q2_k", imatrix=tmp_path / "matrix.gguf")
    assert "180 of 272 tensors fell back" in plain.summary
    with Vocabulary(exact) as vocabulary:
        sequences = held_back_sequences(vocabulary)[:6]
    reference = list(llama_logits(exact, sequences))
    without, with_matrix = (
        compare(sequences, reference, llama_logits(made.path, sequences)).summary() for made in (plain, weighed)
    )
    assert with_matrix.nll < without.nll
    assert with_matrix.mean_kl < 0.9 * without.mean_kl
