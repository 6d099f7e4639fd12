"""The importance matrix: against the same model computed in numpy, its file, and what it must refuse."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter
from numpy.typing import NDArray

from convert import ggml
from convert.activations import Activations, weight_name
from convert.imatrix import (
    Entry,
    ImportanceMatrix,
    compute_imatrix,
    layer_weights,
    read_imatrix,
    shapes_of,
    write_imatrix,
)
from score_local.errors import ModelError
from score_local.gguf_file import read_header
from tests.convert.tiny_gguf import (
    EPSILON,
    FIRST_BYTE,
    HEADS,
    HEADS_KV,
    NARROW,
    OPENING,
    ROPE_BASE,
    Shape,
    Weights,
    random_weights,
    write_model,
)

Array = NDArray[np.float64]
F32 = GGMLQuantizationType.F32
SHAPE = Shape(width=64, layers=2)
CHUNK = 150  # more than one call, and the last call a short one
TEXT = "".join(chr(33 + 7 * n % 90) for n in range(3 * CHUNK + 20))  # no spaces: the vocabulary is one of bytes


# -- the model in numpy ---------------------------------------------------------------------------------------------


def norm(hidden: Array, weight: Array) -> Array:
    normed: Array = hidden / np.sqrt((hidden**2).mean(axis=-1, keepdims=True) + EPSILON) * weight
    return normed


def rotate(heads: Array) -> Array:
    """Rotary position embedding of (tokens, heads, head size), neighbouring pairs."""
    positions, size = np.arange(len(heads))[:, None], heads.shape[-1]
    angle = (positions * ROPE_BASE ** (-np.arange(0, size, 2) / size))[:, None, :]
    even, odd = heads[..., ::2], heads[..., 1::2]
    turned = np.stack([even * np.cos(angle) - odd * np.sin(angle), even * np.sin(angle) + odd * np.cos(angle)], axis=-1)
    return turned.reshape(heads.shape)


def attend(q: Array, k: Array, v: Array) -> Array:
    """Causal attention of (tokens, width) inputs, grouped heads."""
    tokens, head = len(q), q.shape[1] // HEADS
    q = rotate(q.reshape(tokens, HEADS, head))
    k = np.repeat(rotate(k.reshape(tokens, HEADS_KV, head)), HEADS // HEADS_KV, axis=1)
    v = np.repeat(v.reshape(tokens, HEADS_KV, head), HEADS // HEADS_KV, axis=1)
    scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(head)
    scores[:, np.triu(np.ones((tokens, tokens), dtype=bool), 1)] = -np.inf
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    mixed: Array = np.einsum("hqk,khd->qhd", shares, v).reshape(tokens, -1)
    return mixed


def inputs_of_weights(weights: Weights, tokens: list[int]) -> Iterator[tuple[str, Array]]:
    """What is multiplied with each weight while a sequence is read, (tokens, width)."""
    hidden = weights["token_embd.weight"][tokens].astype(np.float64)
    for layer in range(SHAPE.layers):

        def weight(name: str, layer: int = layer) -> Array:
            return weights[f"blk.{layer}.{name}.weight"].astype(np.float64)

        normed = norm(hidden, weight("attn_norm"))
        mixed = attend(*(normed @ weight(name).T for name in ("attn_q", "attn_k", "attn_v")))
        hidden = hidden + mixed @ weight("attn_output").T
        after = norm(hidden, weight("ffn_norm"))
        gate = after @ weight("ffn_gate").T
        inner = gate / (1 + np.exp(-gate)) * (after @ weight("ffn_up").T)
        hidden = hidden + inner @ weight("ffn_down").T
        named = {"attn_q": normed, "attn_k": normed, "attn_v": normed, "attn_output": mixed}
        for name, values in {**named, "ffn_gate": after, "ffn_up": after, "ffn_down": inner}.items():
            yield f"blk.{layer}.{name}.weight", values


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.gguf", SHAPE, type=F32)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def compute(model: Path, text: Path, **options: int | None) -> ImportanceMatrix:
    target = text.parent / "matrix.gguf"
    options = {"chunk": CHUNK, "threads": 2, **options}
    compute_imatrix(model, text, target, **options)  # type: ignore[arg-type]
    return read_imatrix(target)


def test_every_weight_has_the_sums_that_numpy_computes(model: Path, text: Path) -> None:
    tokens = [OPENING, *(FIRST_BYTE + byte for byte in TEXT.encode())]
    sequences = [[OPENING, *tokens[start + 1 : start + CHUNK]] for start in (0, CHUNK, 2 * CHUNK)]
    expected = dict[str, Array]()
    for sequence in sequences:
        for name, inputs in inputs_of_weights(random_weights(SHAPE), sequence):
            expected[name] = expected.get(name, 0) + (inputs**2).sum(axis=0)
    found = compute(model, text)
    assert found.entries.keys() == expected.keys() == set(layer_weights(shapes_of(read_header(model))))
    for name, entry in found.entries.items():
        assert entry.counts.tolist() == [3 * CHUNK]
        # The first layer's inputs are exact; behind them lie keys and values that were kept in 16 bits.
        exact = name.startswith("blk.0.attn_") and "output" not in name
        np.testing.assert_allclose(entry.sums[0], expected[name], rtol=1e-5 if exact else 2e-3, err_msg=name)


def test_the_first_chunks_alone_where_they_are_asked_for(model: Path, text: Path) -> None:
    two = compute(model, text, chunks=2)
    assert (two.chunks, two.chunk_size, two.datasets) == (2, CHUNK, ("text.txt",))
    assert {entry.counts[0] for entry in two.entries.values()} == {2 * CHUNK}


def test_a_sequence_is_no_longer_than_the_model_was_trained_for(tmp_path: Path, text: Path) -> None:
    short = write_model(tmp_path / "short.gguf", Shape(width=64, layers=1, context=64), type=F32)
    assert compute(short, text, chunk=512).chunk_size == 64


def test_progress_and_a_quiet_terminal(model: Path, text: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told = list[tuple[int, int]]()
    compute_imatrix(model, text, text.parent / "m.gguf", chunk=CHUNK, threads=2, progress=lambda *now: told.append(now))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert capfd.readouterr() == ("", "")


# -- the file -------------------------------------------------------------------------------------------------------


def entry(sums: list[list[float]], counts: list[float]) -> Entry:
    return Entry(np.array(sums, dtype=np.float32), np.array(counts, dtype=np.float32))


def test_the_file_has_the_names_that_llama_cpp_reads(tmp_path: Path) -> None:
    stacked = entry([[1, 2, 3], [4, 5, 6]], [7, 0])
    written = ImportanceMatrix({"blk.0.ffn_up_exps.weight": stacked}, 5, 512, ("a.txt", "b.txt"))
    write_imatrix(written, tmp_path / "m.gguf", "llama")
    header = read_header(tmp_path / "m.gguf")
    assert {key: value for key, value in header.metadata.items() if key != "general.architecture"} == {
        "general.type": "imatrix",
        "imatrix.datasets": ["a.txt", "b.txt"],
        "imatrix.chunk_count": 5,
        "imatrix.chunk_size": 512,
    }
    shapes = {name: tensor.shape for name, tensor in header.tensors.items()}
    assert shapes == {"blk.0.ffn_up_exps.weight.in_sum2": (3, 2), "blk.0.ffn_up_exps.weight.counts": (1, 2)}
    read = read_imatrix(tmp_path / "m.gguf")
    (found,) = read.entries.values()
    np.testing.assert_array_equal(found.sums, stacked.sums)
    np.testing.assert_array_equal(found.counts, stacked.counts)
    assert (read.chunks, read.chunk_size, read.datasets) == (5, 512, ("a.txt", "b.txt"))


def test_means_are_over_the_tokens_and_one_where_there_was_none() -> None:
    np.testing.assert_allclose(entry([[2, 4], [3, 9]], [2, 0]).mean(), [1, 2, 1, 1])


# -- what it refuses ------------------------------------------------------------------------------------------------


def not_a_number(tmp_path: Path) -> Path:
    weights = random_weights(NARROW)
    weights["blk.0.attn_norm.weight"][3] = np.nan
    return write_model(tmp_path / "nan.gguf", NARROW, weights, type=F32)


@pytest.mark.parametrize(
    ("content", "make", "words"),
    [
        (b"too short", None, "shorter than 150 tokens"),
        (b"\xff\xfe", None, "cannot be read"),
        (None, None, "cannot be read"),
        (TEXT.encode(), not_a_number, "no numbers"),
        (TEXT.encode(), lambda folder: folder / "none.gguf", "cannot be read"),
    ],
)
def test_what_cannot_be_computed(
    tmp_path: Path, model: Path, content: bytes | None, make: Callable[[Path], Path] | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(ModelError, match=words):
        compute(make(tmp_path) if make else model, tmp_path / "text.txt")
    assert not (tmp_path / "matrix.gguf").exists() and not list(tmp_path.glob("*.part"))


def test_a_matrix_has_every_weight_or_is_not_written(model: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Activations._is_wanted
    monkeypatch.setattr(Activations, "_is_wanted", lambda self, t: "ffn_up" not in weight_name(t) and watched(self, t))
    with pytest.raises(ModelError, match=r"2 weights are never used, the first is blk\.0\.ffn_up\.weight"):
        compute(model, text)
    assert list(text.parent.iterdir()) == [text]


def test_nothing_is_overwritten_and_nothing_left_by_an_interrupt(model: Path, text: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    target = text.parent / "m.gguf"
    with pytest.raises(KeyboardInterrupt):
        compute_imatrix(model, text, target, chunk=CHUNK, progress=interrupt)
    assert list(text.parent.iterdir()) == [text]
    target.write_bytes(b"mine")
    with pytest.raises(ModelError, match="exists already"):
        compute_imatrix(model, text, target, chunk=CHUNK)
    assert target.read_bytes() == b"mine"


def damaged(path: Path, kind: str, **tensors: list[float]) -> Path:
    writer = GGUFWriter(str(path), "llama")
    writer.add_type(kind)
    for name, values in tensors.items():
        writer.add_tensor(f"blk.0.attn_q.weight.{name}", np.array(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("kind", "tensors", "words"),
    [
        ("model", {"in_sum2": [1.0], "counts": [1.0]}, "not an importance matrix"),
        ("imatrix", {"in_sum2": [1.0]}, "no counts for blk.0.attn_q.weight"),
        ("imatrix", {"in_sum2": [1.0, 2.0, 3.0], "counts": [1.0, 1.0]}, "make no sense"),
        ("imatrix", {"in_sum2": [np.inf], "counts": [1.0]}, "make no sense"),
    ],
)
def test_files_that_are_no_importance_matrix(
    tmp_path: Path, kind: str, tensors: dict[str, list[float]], words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        read_imatrix(damaged(tmp_path / "m.gguf", kind, **tensors))


def test_a_matrix_of_another_model_does_not_fit(tmp_path: Path, model: Path, text: Path) -> None:
    matrix = compute(model, text, chunks=1)
    matrix.require_fits(shapes_of(read_header(model)), "matrix.gguf")
    for other in (Shape(width=256, layers=2), Shape(width=64, layers=3)):
        header = read_header(write_model(tmp_path / f"{other.width}-{other.layers}.gguf", other))
        with pytest.raises(ModelError, match="of another model"):
            matrix.require_fits(shapes_of(header), "matrix.gguf")


# -- the evaluation callback ----------------------------------------------------------------------------------------


def product(weight: str, kind: str = "MUL_MAT", matrices: int = 1) -> ggml.Tensor:
    """A product of a weight and inputs as llama.cpp hands it over. It keeps its sources alive."""
    first, second, result = ggml.Tensor(name=weight.encode()), ggml.Tensor(type=ggml.FLOAT32), ggml.Tensor()
    first.ne[2], first.ne[3] = matrices, 1
    result.src[0], result.src[1] = ctypes.pointer(first), ctypes.pointer(second)
    while ggml.operation(result) != kind:
        result.op += 1
    return result


def asked(tensor: ggml.Tensor) -> bool:
    activations = Activations()
    answer = activations.callback(ctypes.addressof(tensor), True, None)
    activations.raise_trouble()
    return bool(answer)


def test_the_layout_of_a_tensor_is_the_librarys() -> None:
    assert ggml.tensor_bytes() == ctypes.sizeof(ggml.Tensor)


@pytest.mark.parametrize(
    ("tensor", "wanted"),
    [
        (product("blk.3.attn_q.weight"), True),
        (product("CPU#blk.3.attn_q.weight#0"), True),  # a copy on another device
        (product("output.weight"), False),
        (product("cache_k_l0 (view)"), False),  # attention's own products
        (product("blk.3.attn_q.weight", "ADD"), False),
    ],
)
def test_which_products_are_wanted(tensor: ggml.Tensor, wanted: bool) -> None:
    assert asked(tensor) is wanted


def test_the_name_of_a_copied_weight() -> None:
    assert weight_name(product("CUDA0#blk.0.ffn_up.weight#0")) == "blk.0.ffn_up.weight"


@pytest.mark.parametrize(
    "tensor", [product("blk.0.ffn_up_exps.weight", "MUL_MAT_ID"), product("blk.0.x.weight", matrices=2)]
)
def test_a_mixture_of_experts_is_refused(tensor: ggml.Tensor) -> None:
    with pytest.raises(ModelError, match="mixture of experts"):
        asked(tensor)
