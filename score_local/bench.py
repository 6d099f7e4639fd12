"""How fast the engine is, and beside what: its own bare decode loop, and llama-cpp-python's single-sequence loop.

Every measurement runs in a process of its own, so that none inherits another's memory or threads, and what is compared
is measured in alternation.
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

import msgspec

from score_local import answers, prompts
from score_local.engine.backend import Row
from score_local.engine.chat import ChatTemplate
from score_local.engine.llama import LlamaBackend, open_engine, physical_cores, start_engine
from score_local.engine.protocol import Completion, Generate, Message, Reply, Sampling
from score_local.errors import EngineError, InputError
from score_local.openmp import VARIABLES
from score_local.problem import Problem

T = TypeVar("T")
DEPTH = 256  # prompt tokens before decoding is timed
STEPS = 32  # tokens decoded in each sequence while timed
REPEATS = 3
GREEDY = Sampling()  # as `batch` asks: a reply that runs in a loop is ended
TO_THE_END = Sampling(loop_window=0)  # as the plain loop writes it: the same work
ONE_BY_ONE = "one by one"
MARGIN = 8  # tokens by which the plain loop's prompt may be the longer one
# What libgomp does where nobody sets anything: the plain loop gets it, as its user would, and not this engine's choice.
LIBRARY_DEFAULTS = {"GOMP_SPINCOUNT": "300000"}


class Shape(NamedTuple):
    """How many sequences of how many tokens, on how many threads (None: the physical cores)."""

    sequences: int
    context: int
    threads: int | None


class Rates(msgspec.Struct, frozen=True):
    """Tokens/s at one number of sequences: prefill, the bare decode loop, and the engine; medians of REPEATS."""

    sequences: int
    prefill: float
    bare: float
    engine: float


class Solved(msgspec.Struct, frozen=True):
    """One way of solving the same problems: seconds in all, tokens generated, right answers, peak memory in bytes."""

    problems: int
    seconds: float
    generated: int
    correct: int
    peak_memory: int

    @property
    def per_hour(self) -> float:
        return 3600 * self.problems / self.seconds

    def __add__(self, other: Solved) -> Solved:
        return Solved(
            self.problems + other.problems,
            self.seconds + other.seconds,
            self.generated + other.generated,
            self.correct + other.correct,
            max(self.peak_memory, other.peak_memory),
        )


class Memory(msgspec.Struct, frozen=True):
    """Bytes: the process's peak, and what model file + KV cache + 300 MB allow."""

    peak: int
    allowed: int


def apart(function: Callable[..., T], *arguments: Any) -> T:
    """Calls a function of this module in a fresh process."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


@contextmanager
def openmp(settings: Mapping[str, str]) -> Iterator[None]:
    """OpenMP's settings for the processes started meanwhile; the user's own are put aside."""
    before = {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
    os.environ |= settings
    try:
        yield
    finally:
        for name in VARIABLES:
            os.environ.pop(name, None)
        os.environ |= before


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """A process that keeps one core busy meanwhile."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


# -- tokens a second ------------------------------------------------------------------------------------------------


def rates(model: Path, sequences: int, threads: int | None) -> Rates:
    """Prefill, bare decode and engine decode at `sequences`, alternating, each in a process of its own: a thread that
    once decoded leaves its OpenMP team behind, and where there are more of them than cores, none spins any more."""
    bare, through_engine = list[tuple[float, float]](), list[float]()
    for _ in range(REPEATS):
        bare.append(apart(bare_rates, model, sequences, threads))
        through_engine.append(apart(engine_rate, model, sequences, threads))
    prefill, decode = zip(*bare, strict=True)
    return Rates(sequences, median(prefill), median(decode), median(through_engine))


def bare_rates(model: Path, sequences: int, threads: int | None) -> tuple[float, float]:
    """(prefill, decode) in tokens/s, without the engine; call it `apart`."""
    backend = LlamaBackend(model, streams=sequences, context=DEPTH + 4 * STEPS, threads=threads)
    try:
        return prefill_rate(backend), decode_rate(backend, sequences, STEPS)
    finally:
        backend.close()


def prefill_rate(backend: LlamaBackend) -> float:
    """Tokens/s of reading DEPTH tokens into the first stream, in the engine's chunks; then copied to the others."""
    began = time.perf_counter()
    for start in range(0, DEPTH, backend.chunk):
        positions = range(start, min(start + backend.chunk, DEPTH))
        backend.decode([Row(0, p, 1000 + p, p == DEPTH - 1) for p in positions], None)
    seconds = time.perf_counter() - began
    for stream in range(1, backend.streams):
        backend.copy(0, stream)
    return DEPTH / seconds


def decode_rate(backend: LlamaBackend, sequences: int, steps: int) -> float:
    """Tokens/s of a loop that does nothing but decode one token of each stream, after what the streams hold."""
    depth = DEPTH if backend.context > DEPTH + steps else 0
    backend.decode([Row(s, depth, 1000, True) for s in range(sequences)], None)
    began = time.perf_counter()
    for position in range(depth + 1, depth + 1 + steps):
        backend.decode([Row(s, position, 1000, True) for s in range(sequences)], None)
    return sequences * steps / (time.perf_counter() - began)


class _Endless(LlamaBackend):
    """A model whose turns never end by themselves, so that all sequences stay live while they are timed."""

    def ends_turn(self, token: int) -> bool:
        return False


class _Clock:
    """A listener that notes when each token came."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.reply: queue.SimpleQueue[Reply] = queue.SimpleQueue()

    def token(self, text: str) -> None:
        self.times.append(time.perf_counter())

    def done(self, reply: Reply) -> None:
        self.reply.put(reply)


def engine_rate(model: Path, sequences: int, threads: int | None) -> float:
    """Tokens/s of the whole engine (sampling, text, streaming) while all sequences are live, at about DEPTH tokens."""
    engine = start_engine(_Endless(model, streams=sequences, context=DEPTH + 4 * STEPS, threads=threads))
    items = DEPTH // 4 - STEPS // 2  # of four tokens; with system turn and first tokens, all live at a depth of DEPTH
    words = " ".join(f"item {i}" for i in range(items))
    listeners = [_Clock() for _ in range(sequences)]
    try:
        for i, listener in enumerate(listeners):
            messages = (Message("user", f"Go on with this list, do not stop: {words}"),)
            engine.submit(
                Generate(messages, sampling=Sampling(temperature=1.0, seed=i, max_tokens=2 * STEPS)), listener
            )
        for listener in listeners:
            listener.reply.get()
    finally:
        engine.close()
    return _rate_while_all_live([listener.times for listener in listeners])


def _rate_while_all_live(times: Sequence[list[float]]) -> float:
    """Tokens/s from the moment the last sequence began to the moment the first ended."""
    begin, end = max(t[0] for t in times), min(t[-1] for t in times)
    return sum(begin < t <= end for stamps in times for t in stamps) / max(end - begin, 1e-9)


# -- the same problems, three ways ----------------------------------------------------------------------------------


def solve_batched(model: Path, problems: Sequence[Problem], sampling: Sampling, shape: Shape) -> Solved:
    """Solutions through the engine; call it `apart`. Raises EngineError where one fails: it would count as solved in
    no time."""
    engine = open_engine(model, streams=shape.sequences, context=shape.context, threads=shape.threads)
    listeners = [_Clock() for _ in problems]
    began = time.perf_counter()
    try:
        for problem, listener in zip(problems, listeners, strict=True):
            engine.submit(Generate(prompts.solve_messages(problem), sampling=sampling), listener)
        replies = [_completion(listener.reply.get()) for listener in listeners]
    finally:
        seconds = time.perf_counter() - began
        engine.close()
    generated = sum(reply.usage.generated for reply in replies)
    return Solved(
        len(problems), seconds, generated, _correct(problems, [reply.text for reply in replies]), peak_memory()
    )


def _completion(reply: Reply) -> Completion:
    if isinstance(reply, EngineError):
        raise reply
    assert isinstance(reply, Completion), "that is what was asked for"
    return reply


def solve_one_by_one(model: Path, problems: Sequence[Problem], context: int, threads: int | None) -> Solved:
    """The same greedy solutions through `llama_cpp.Llama`, one after the other; call it `apart`."""
    import llama_cpp

    threads = threads or physical_cores()
    llama = llama_cpp.Llama(str(model), n_ctx=context, n_threads=threads, n_threads_batch=threads, verbose=False)
    texts, generated = list[str](), 0
    began = time.perf_counter()
    for problem in problems:
        messages = [{"role": m.role, "content": m.content} for m in prompts.solve_messages(problem)]
        reply: Any = llama.create_chat_completion(messages, temperature=0.0, max_tokens=TO_THE_END.max_tokens)  # type: ignore[arg-type]
        texts.append(reply["choices"][0]["message"]["content"] or "")
        generated += reply["usage"]["completion_tokens"]
    seconds = time.perf_counter() - began
    llama.close()
    return Solved(len(problems), seconds, generated, _correct(problems, texts), peak_memory())


def compare(model: Path, problems: Sequence[Problem], shape: Shape) -> dict[str, Solved]:
    """The same problems by three ways of solving them: the engine, the engine where it ends no loop either, and the
    single-sequence loop, of which one half is measured before the others and one half after them.

    Problems that do not fit into a sequence are left out, by name. Raises InputError where none fits.
    """
    problems = _fitting(problems, apart(too_long, model, problems, shape.context))
    half = (len(problems) + 1) // 2
    with openmp(LIBRARY_DEFAULTS):
        first = apart(solve_one_by_one, model, problems[:half], shape.context, shape.threads)
    batched = {
        name: apart(solve_batched, model, problems, sampling, shape)
        for name, sampling in (("engine", GREEDY), ("to the end", TO_THE_END))
    }
    with openmp(LIBRARY_DEFAULTS):
        rest = apart(solve_one_by_one, model, problems[half:], shape.context, shape.threads)
    return {**batched, ONE_BY_ONE: first + rest}


def too_long(model: Path, problems: Sequence[Problem], context: int) -> list[str]:
    """The ids of the problems whose prompt leaves no room for a reply in `context` tokens; call it `apart`."""
    backend = LlamaBackend(model, streams=1, context=DEPTH)
    try:
        template = ChatTemplate(backend.chat_template(), backend.special_text(), backend.tokenize, backend.name)
        prompt = {problem.id: template.encode(prompts.solve_messages(problem)) for problem in problems}
        return [key for key, tokens in prompt.items() if len(tokens) + MARGIN >= context]
    finally:
        backend.close()


def _fitting(problems: Sequence[Problem], too_long: Sequence[str]) -> Sequence[Problem]:
    if not too_long:
        return problems
    told = ", ".join(too_long)
    fitting = [problem for problem in problems if problem.id not in too_long]
    if not fitting:
        raise InputError(f"the prompts of all problems are too long ({told})", "--context", "Raise it")
    print(f"score-local: left out, as the prompt is too long for --context: {told}", file=sys.stderr)
    return fitting


def memory(model: Path, shape: Shape) -> Memory:
    """Peak memory of an engine whose every sequence is filled to half; call it `apart`."""
    sequences, context, threads = shape
    backend = LlamaBackend(model, streams=sequences, context=context, threads=threads)
    try:
        filled = context // 2 // backend.chunk * backend.chunk
        for start in range(0, filled, backend.chunk):
            backend.decode([Row(0, start + i, 1000, i == 0) for i in range(backend.chunk)], None)
        for stream in range(1, sequences):
            backend.copy(0, stream)
        backend.decode([Row(stream, filled, 1000, True) for stream in range(sequences)], None)
        return Memory(peak_memory(), backend.memory_need())
    finally:
        backend.close()


def peak_memory() -> int:
    """The most memory this process has had resident, in bytes (0 where the system does not tell)."""
    if os.name == "nt":
        return 0
    status = Path("/proc/self/status")
    if status.exists():  # on Linux getrusage counts what the parent had when this process was forked from it
        peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        return int(peak[1]) * 1024 if peak else 0
    import resource

    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_rss if sys.platform == "darwin" else peak_rss * 1024


def _correct(problems: Sequence[Problem], texts: Sequence[str]) -> int:
    found = [answers.extract(text, p.kind, p.choices) for p, text in zip(problems, texts, strict=True)]
    return sum(answers.is_right(a, p.answer, p.kind) is True for a, p in zip(found, problems, strict=True))
