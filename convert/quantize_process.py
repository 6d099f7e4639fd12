"""Runs `llama_model_quantize` in a process of its own, and tells what it does.

Its own, because llama.cpp cannot be stopped while it quantises, ends the whole process where one of its assertions
fails, and reports only through its log, whose one callback all users of the library in a process share.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from score_local.engine.llama import physical_cores

import llama_cpp  # isort: skip  (after engine.llama, which sets what the library reads as it loads)

TENSOR = re.compile(r"\[ *(\d+)/ *(\d+)\] ")
FALLBACK = re.compile(
    r"warning: (?P<tensor>\S+) +- ncols +(?P<width>\d+) not divisible by +\d+ \(required for type +(?P<asked>\S+)\)"
    r".*-> falling back to +(?P<given>\S+)"
)
SIZE = re.compile(r"quant size += +([\d.]+) MiB")
FAILED = re.compile(r"failed to quantize: (.*)")
TEXT_BYTES = 127  # what llama.cpp takes for the value of a key


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to quantise, and how. `imatrix` holds a float32 array for each weight; `metadata` is put into the file;
    `output` and `embedding` are tensor types by number, None for those of the file type."""

    source: str
    ftype: int
    threads: int | None = None
    requantise: bool = False
    imatrix: Mapping[str, NDArray[np.float32]] = {}
    metadata: Mapping[str, int | str] = {}
    output: int | None = None
    embedding: int | None = None


class Sized(msgspec.Struct, frozen=True):
    """The plan is made: bytes of all tensors to come."""

    bytes: int


class Began(msgspec.Struct, frozen=True):
    """Tensor `number` of `total`, counted from 1, is being quantised."""

    number: int
    total: int


class Fallback(msgspec.Struct, frozen=True):
    """A tensor whose width is no multiple of the block of the type it was to get, so that it gets another."""

    tensor: str
    width: int
    asked: str
    given: str


class Ended(msgspec.Struct, frozen=True):
    """llama.cpp is through; `error` is "" where all went well."""

    error: str


Event = Union[Sized, Began, Fallback, Ended]


class LogReader:
    """Makes events of llama.cpp's log. It comes in pieces: a line may take several, and ends with the last."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell, self._line, self.error = tell, "", ""

    def feed(self, text: str) -> None:
        if found := TENSOR.match(text):
            self._tell(Began(int(found[1]), int(found[2])))
        self._line += text
        if text.endswith("\n"):
            self._read(self._line)
            self._line = ""

    def _read(self, line: str) -> None:
        if found := FALLBACK.search(line):
            asked, given = found["asked"].lower(), found["given"].lower()
            self._tell(Fallback(found["tensor"], int(found["width"]), asked, given))
        elif found := SIZE.search(line):
            self._tell(Sized(int(float(found[1]) * 2**20)))
        elif found := FAILED.search(line):
            self.error = found[1].strip()


@contextmanager
def quantising(job: Job, target: Path) -> Iterator[Connection]:
    """A process that works on `job`, as the connection on which its events arrive; the process ends with the block.

    The connection raises EOFError where the process is gone.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=work, args=(job, target, sender), daemon=True)
    child.start()
    sender.close()
    try:
        yield receiver
    finally:
        child.kill()
        child.join()
        receiver.close()


def work(job: Job, target: Path, events: Connection) -> None:
    """Plans, then quantises. The last event is Ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to both processes, and the other ends this one
    run(job, target, events.send)


def run(job: Job, target: Path, tell: Callable[[Event], None]) -> None:
    """The work itself. Meanwhile llama.cpp's log of this process comes here, and nowhere else."""
    llama_cpp.llama_backend_init()
    params = _parameters(job)
    params.dry_run = True
    error = _quantise(job, target, params, lambda event: None if isinstance(event, Began) else tell(event))
    if not error:
        params.dry_run = False  # and the plan was told
        error = _quantise(job, target, params, lambda event: tell(event) if isinstance(event, Began) else None)
    tell(Ended(error))


def _quantise(job: Job, target: Path, params: Any, tell: Callable[[Event], None]) -> str:
    """What went wrong in llama.cpp's words, "" where nothing did."""
    reader = LogReader(tell)
    with _log_to(reader):
        code = llama_cpp.llama_model_quantize(os.fsencode(job.source), os.fsencode(target), ctypes.byref(params))
    return (reader.error or f"code {code}") if code else ""


@contextmanager
def _log_to(reader: LogReader) -> Iterator[None]:
    before, data = llama_cpp.llama_log_callback(), ctypes.c_void_p()
    llama_cpp.llama_log_get(ctypes.byref(before), ctypes.byref(data))
    callback = llama_cpp.llama_log_callback(lambda level, text, _: reader.feed(text.decode("utf-8", "replace")))
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    try:
        yield
    finally:
        llama_cpp.llama_log_set(before, data)


def _parameters(job: Job) -> Any:
    params = llama_cpp.llama_model_quantize_default_params()
    params.nthread = job.threads or physical_cores()
    params.ftype = job.ftype
    params.allow_requantize = job.requantise
    if job.output is not None:
        params.output_tensor_type = job.output
    if job.embedding is not None:
        params.token_embedding_type = job.embedding
    if job.imatrix:
        params.imatrix = _imatrix(job.imatrix)
    if job.metadata:
        params.kv_overrides = _metadata(job.metadata)
    return params


def _imatrix(matrix: Mapping[str, NDArray[np.float32]]) -> Any:
    """The array that llama.cpp reads up to an entry without a name; it points into `matrix`."""
    entries = (llama_cpp.llama_model_imatrix_data * (len(matrix) + 1))()
    for entry, (name, values) in zip(entries, matrix.items(), strict=False):
        entry.name = name.encode()
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = values.size
    return entries


def _metadata(values: Mapping[str, int | str]) -> Any:
    """The array that llama.cpp reads up to an empty key."""
    overrides = (llama_cpp.llama_model_kv_override * (len(values) + 1))()
    for override, (key, value) in zip(overrides, values.items(), strict=False):
        override.key = key.encode()
        if isinstance(value, int):
            override.tag, override.value.val_i64 = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_INT, value
        else:
            override.tag = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR
            override.value.val_str = value.encode()[:TEXT_BYTES].decode("utf-8", "ignore").encode()
    return overrides
