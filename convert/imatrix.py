"""The importance matrix: how strongly each input of each weight is used on a text, so that quantising spares those.

In llama.cpp's file format (a GGUF; tools/imatrix): for each weight the sums of its squared inputs, and over how many
tokens. `llama-quantize` reads the files written here, and `read_imatrix` those of `llama-imatrix`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np
from gguf import GGUFType, GGUFWriter, Keys
from numpy.typing import NDArray

from convert.partial import whole_file
from convert.quantize_types import TYPES
from convert.sources import InGGUF
from score_local.errors import ModelError
from score_local.gguf_file import GGUFHeader, read_header

SUMS, COUNTS = ".in_sum2", ".counts"
COMPUTE = "Compute one: score-convert imatrix"
COMPUTE_AND_GIVE = "Compute one (score-convert imatrix) and give it with --imatrix"
NOT_QUANTISED = ("_norm.weight", "ffn_gate_inp.weight")


class Entry(msgspec.Struct, frozen=True):
    """A weight's sums of squared inputs, shape (matrices, width), and tokens summed, shape (matrices,). A weight is one
    matrix, or a stack of them (a mixture of experts)."""

    sums: NDArray[np.float32]
    counts: NDArray[np.float32]

    def mean(self) -> NDArray[np.float32]:
        """Mean squared inputs, shape (matrices * width,); 1 for a matrix that nothing went into, as llama.cpp does."""
        unused = self.counts[:, None] == 0
        return np.where(unused, 1, self.sums / np.where(unused, 1, self.counts[:, None])).astype(np.float32).ravel()


class ImportanceMatrix(msgspec.Struct, frozen=True):
    """Entries by weight, computed over `chunks` sequences of `chunk_size` tokens of the texts `datasets`."""

    entries: Mapping[str, Entry]
    chunks: int
    chunk_size: int
    datasets: tuple[str, ...]

    def means(self) -> dict[str, NDArray[np.float32]]:
        """What quantising weighs the weights' columns with."""
        return {name: entry.mean() for name, entry in self.entries.items()}

    def require_fits(self, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
        """Raises ModelError where a model's weights are not those of the matrix, or have other widths. `shapes` are of
        its tensors, the width first, as in a GGUF."""
        for name in layer_weights(shapes):
            width, _, *matrices = shapes[name]
            inputs, found = width * math.prod(matrices), self.entries.get(name)
            if found is None or found.sums.size != inputs:
                here = f"{found.sums.size} values" if found else "nothing"
                what = f"it is of another model: {here} for {name}, which has {inputs} inputs"
                raise ModelError(what, where, COMPUTE)


def layer_weights(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """The weights of the layers that llama.cpp quantises."""
    for name, shape in shapes.items():
        is_matrix = len(shape) > 1 and name.endswith(".weight")
        if is_matrix and name.startswith("blk.") and not name.endswith(NOT_QUANTISED):
            yield name


def shapes_of(model: GGUFHeader) -> dict[str, tuple[int, ...]]:
    """Of a model's tensors."""
    return {name: tensor.shape for name, tensor in model.tensors.items()}


def compute_imatrix(
    model: Path,
    text: Path,
    target: Path,
    *,
    chunk: int = 512,
    chunks: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ImportanceMatrix:
    """Writes the importance matrix of a GGUF on a text, read in sequences of `chunk` tokens (fewer where the model was
    trained on fewer), the first `chunks` of them or all. `progress` hears (sequences done, in all).

    Raises ModelError, MemoryLimit, or EngineError where llama.cpp fails on the way; then nothing is at `target`.
    """
    from convert.activations import WatchedBackend  # loads llama.cpp, and reading a matrix needs none of it

    header = read_header(model)
    chunk = min(chunk, header.context_length or chunk)
    with whole_file(target) as part:
        with WatchedBackend(model, context=chunk, threads=threads) as backend:
            sequences = list(backend.sequences(_read_text(text)))[:chunks]
            if not sequences:
                raise ModelError(f"it is shorter than {chunk} tokens", str(text), "Give a longer text")
            for done, tokens in enumerate(sequences, 1):
                backend.read(tokens)
                _require_complete(backend.activations.sums, header)
                progress(done, len(sequences))
            entries = {name: _entry(*backend.activations.of(name)) for name in sorted(backend.activations.sums)}
        matrix = ImportanceMatrix(entries, len(sequences), chunk, (text.name,))
        write_imatrix(matrix, part, header.architecture)
    return matrix


def _entry(sums: NDArray[np.float64], count: int) -> Entry:
    return Entry(sums[None].astype(np.float32), np.array([count], dtype=np.float32))


def _require_complete(sums: Mapping[str, object], model: GGUFHeader) -> None:
    unused = [name for name in layer_weights(shapes_of(model)) if name not in sums]
    if unused:
        what = f"{len(unused)} weights are never used, the first is {unused[0]}"
        raise ModelError(what, str(model.path), "Compute the importance matrix with llama.cpp's llama-imatrix")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot be read: {error}", str(path), "Give a text file in UTF-8") from error


# -- the file -------------------------------------------------------------------------------------------------------


def write_imatrix(matrix: ImportanceMatrix, path: Path, architecture: str) -> None:
    writer = GGUFWriter(str(path), architecture)
    try:
        writer.add_type(GGUFType.IMATRIX)
        writer.add_array(Keys.IMatrix.DATASETS, list(matrix.datasets))
        writer.add_uint32(Keys.IMatrix.CHUNK_COUNT, matrix.chunks)
        writer.add_uint32(Keys.IMatrix.CHUNK_SIZE, matrix.chunk_size)
        for name, entry in matrix.entries.items():
            writer.add_tensor(name + SUMS, entry.sums)
            writer.add_tensor(name + COUNTS, entry.counts[:, None])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def read_imatrix(path: Path) -> ImportanceMatrix:
    """Raises ModelError where it is none, is damaged, or is in llama.cpp's old format."""
    header = read_header(path)
    if header.metadata.get("general.type") != GGUFType.IMATRIX:
        raise ModelError("not an importance matrix", str(path), COMPUTE)
    names = [name.removesuffix(SUMS) for name in header.tensors if name.endswith(SUMS)]
    return ImportanceMatrix(
        entries={name: _read_entry(header, name) for name in names},
        chunks=int(header.metadata.get(Keys.IMatrix.CHUNK_COUNT, 0)),
        chunk_size=int(header.metadata.get(Keys.IMatrix.CHUNK_SIZE, 0)),
        datasets=tuple(header.metadata.get(Keys.IMatrix.DATASETS, ())),
    )


def required_matrix(
    types: Iterable[str], imatrix: Path | None, where: str, remedy: str = COMPUTE_AND_GIVE
) -> ImportanceMatrix | None:
    """The importance matrix that is given. Raises ModelError where it cannot be read, and where none is given and one
    of the types needs it."""
    if imatrix:
        return read_imatrix(imatrix)
    for type in types:
        if TYPES[type].needs_imatrix:
            raise ModelError(f"{type} needs an importance matrix", where, remedy)
    return None


def _read_entry(header: GGUFHeader, name: str) -> Entry:
    if name + COUNTS not in header.tensors:
        raise ModelError(f"damaged: it has no counts for {name}", str(header.path), COMPUTE)
    sums, counts = (_read_tensor(header, name + suffix) for suffix in (SUMS, COUNTS))
    if sums.size % counts.size or not np.isfinite(sums).all():
        raise ModelError(f"damaged: the values of {name} make no sense", str(header.path), COMPUTE)
    return Entry(sums.reshape(counts.size, -1), counts.ravel())


def _read_tensor(header: GGUFHeader, name: str) -> NDArray[np.float32]:
    source = InGGUF(header, name, header.tensors[name])
    return source.read(0, source.shape[0])
