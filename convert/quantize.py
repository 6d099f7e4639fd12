"""Quantises a GGUF through llama.cpp: every file type it makes, with an importance matrix or without.

Which type a tensor gets is llama.cpp's decision. It looks at the tensor's part in the model and at its width; this
module says which tensors did not get what the file type meant for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from convert.imatrix import ImportanceMatrix, required_matrix, shapes_of
from convert.partial import require_room, whole_file
from convert.quantize_process import Began, Ended, Fallback, Job, Sized, quantising
from convert.quantize_types import (
    OVERRIDES,
    TENSOR_TYPES,
    TYPES,
    UNQUANTISED,
    QuantType,
    block_length,
    tensor_type_name,
)
from score_local.errors import ModelError
from score_local.gguf_file import GGUFHeader, read_header

__all__ = ["TYPES", "Fallback", "QuantType", "Quantised", "quantize"]

EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"
NO_NUMBERS = "it holds weights that are no numbers (NaN or infinite), or larger than that type can hold"
CONVERT_AGAIN = "Choose bf16 or f32, or convert the model again: score-convert merge"
REMEDIES = (
    ("iostream error", "the disk is full, or it cannot be written", "Make room, or give another place with --out"),
    ("imatrix", "it needs an importance matrix for every weight", "Compute one: score-convert imatrix"),
    ("invalid data", NO_NUMBERS, CONVERT_AGAIN),
    ("no tensor type fallback", "its widths do not fill the blocks of that type", "Choose another type"),
    ("validation failed", NO_NUMBERS, CONVERT_AGAIN),
)
"""What to say where these words are in llama.cpp's message: what is wrong, and what to do."""


class Quantised(msgspec.Struct, frozen=True):
    """A file that was made. `types` holds each tensor's type; `fallbacks` those that could not get what was meant."""

    path: Path
    types: Mapping[str, str]
    fallbacks: tuple[Fallback, ...]
    bytes: int

    @property
    def summary(self) -> str:
        """The fallbacks in one line, "" where there are none."""
        if not self.fallbacks:
            return ""
        changes = Counter(f"{fallback.asked} to {fallback.given}" for fallback in self.fallbacks)
        widths = sorted({fallback.width for fallback in self.fallbacks})
        return (
            f"{len(self.fallbacks)} of {len(self.types)} tensors fell back to other types"
            f" ({', '.join(f'{change}: {count}' for change, count in changes.most_common())}):"
            f" their width {', '.join(map(str, widths))} does not fill the blocks that were meant"
        )


def quantize(
    source: Path,
    target: Path,
    type: str,
    *,
    imatrix: Path | None = None,
    threads: int | None = None,
    requantise: bool = False,
    output_type: str | None = None,
    embedding_type: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Quantised:
    """Writes `source`, an F32, F16 or BF16 GGUF, to `target` as a file type of TYPES.

    `output_type` and `embedding_type` (of OVERRIDES) replace what the file type says for those two; where they are one
    tensor, `embedding_type` rules. `requantise` allows a source that is quantised already. `progress` hears (tensors
    done, in all).

    Raises ModelError, and leaves nothing at `target`: an unknown type, a source that is no model or is quantised, an
    importance matrix that is missing or of another model, no room, or what llama.cpp finds.
    """
    header = _open_source(source, requantise)
    if type not in TYPES:
        raise ModelError(f"no such type: {type}", str(target), f"Choose one of {', '.join(TYPES)}")
    job = Job(
        source=str(source),
        ftype=TYPES[type].ftype,
        threads=threads,
        requantise=requantise,
        output=_override(header, OUTPUT, output_type),
        embedding=_override(header, EMBEDDING, embedding_type),
    )
    job = _with_imatrix(job, header, imatrix, type)
    with whole_file(target) as part:
        fallbacks = _run(job, part, progress)
        made = read_header(part)
    types = {name: tensor_type_name(tensor.type) for name, tensor in made.tensors.items()}
    return Quantised(target, types, fallbacks, made.bytes)


def _open_source(source: Path, requantise: bool) -> GGUFHeader:
    header = read_header(source)
    kind = header.metadata.get("general.type", "model")
    if kind != "model":
        raise ModelError(f"not a model: it is of type {kind}", str(source), "Give a model's GGUF")
    quantised = {tensor_type_name(tensor.type) for tensor in header.tensors.values()} - {*UNQUANTISED}
    if quantised and not requantise:
        what = f"it is quantised already ({', '.join(sorted(quantised))}), and quantising it again loses twice"
        raise ModelError(what, str(source), "Give the F16 file that it was made of, or allow it with --requantise")
    return header


def _override(header: GGUFHeader, tensor: str, type: str | None) -> int | None:
    if type is None:
        return None
    if type not in OVERRIDES:
        raise ModelError(f"{tensor} cannot be made {type}", str(header.path), f"Choose one of {', '.join(OVERRIDES)}")
    number = TENSOR_TYPES[type]
    # llama.cpp falls back where it chose the type itself; for one that it was given, it ends the process.
    if tensor in header.tensors and header.tensors[tensor].shape[0] % block_length(number):
        what = f"{tensor} cannot be made {type}: its width is no multiple of {block_length(number)}"
        raise ModelError(what, str(header.path), "Choose q8_0 or f16")
    return number


def _with_imatrix(job: Job, header: GGUFHeader, imatrix: Path | None, type: str) -> Job:
    matrix = required_matrix([type], imatrix, str(header.path))
    if matrix is None or imatrix is None:
        return job
    matrix.require_fits(shapes_of(header), str(imatrix))
    return msgspec.structs.replace(job, imatrix=matrix.means(), metadata=_told_of(matrix, imatrix))


def _told_of(matrix: ImportanceMatrix, path: Path) -> dict[str, int | str]:
    """The keys under which llama.cpp's own tool records a matrix. Names only: where they lay is nobody's business."""
    dataset = {"quantize.imatrix.dataset": matrix.datasets[0]} if matrix.datasets else {}
    return {
        "quantize.imatrix.file": path.name,
        **dataset,
        "quantize.imatrix.entries_count": len(matrix.entries),
        "quantize.imatrix.chunks_count": matrix.chunks,
    }


def _run(job: Job, part: Path, progress: Callable[[int, int], None]) -> tuple[Fallback, ...]:
    fallbacks, total = list[Fallback](), 0
    with quantising(job, part) as events:
        while not isinstance(event := _next(events, job), Ended):
            if isinstance(event, Sized):
                require_room(part, event.bytes)
            elif isinstance(event, Fallback):
                fallbacks.append(event)
            else:
                total = event.total
                progress(event.number - 1, total)
    if event.error:
        raise _refusal(event.error, job)
    progress(total, total)
    return tuple(fallbacks)


def _next(events: Connection, job: Job) -> Sized | Began | Fallback | Ended:
    try:
        event: Sized | Began | Fallback | Ended = events.recv()
    except EOFError as error:
        what = "llama.cpp's process ended in the middle of quantising it"
        raise ModelError(what, job.source, "Is there enough memory? Try again with fewer programs running") from error
    return event


def _refusal(message: str, job: Job) -> ModelError:
    for words, what, remedy in REMEDIES:
        if words in message:
            return ModelError(what, job.source, remedy)
    return ModelError(f"llama.cpp cannot quantise it: {message}", job.source, CONVERT_AGAIN)
