"""Run folders: a manifest, one trace a line, a summary. Whatever moment the process is killed at, only the problems in
flight are lost.

    manifest.json   what the run is made of: resuming refuses another model, adapter, prompt or policy
    traces.jsonl    one line a problem, appended and flushed as each ends; of several lines with one id the last counts
    summary.json    written at the end, and again whenever traces were added
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

import score_local
from score_local.append_only import AppendOnly, whole_lines, write_error
from score_local.errors import RunError
from score_local.gguf_check import file_sha256
from score_local.policy import Policy
from score_local.problem import Problem
from score_local.trace import TRACE_VERSION, Trace
from score_local.verifiers import prompts_fingerprint

MANIFEST, TRACES, SUMMARY, LOCK = "manifest.json", "traces.jsonl", "summary.json", ".lock"


class FileHash(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which file it was."""

    name: str
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a run is made of. `software` is told, not compared: a new version may continue an old run. `calibration` is
    None without one, and in runs that began before it was told."""

    trace_version: int = TRACE_VERSION
    model: FileHash
    adapters: dict[str, FileHash] = {}
    calibration: FileHash | None = None
    prompts: str
    policy: Policy
    context: int
    software: dict[str, str] = {}


def manifest_of(
    model: Path, adapters: Mapping[str, Path], policy: Policy, context: int, sha256: str | None = None
) -> Manifest:
    """Hashes the files (about half a second a gigabyte; the model's may be known already) and collects the rest."""
    calibration = policy.verify.calibration
    return Manifest(
        model=FileHash(writable(model.name), sha256 or file_sha256(model)),
        adapters={role: _hashed(path) for role, path in sorted(adapters.items())},
        calibration=_hashed(Path(calibration)) if calibration else None,
        prompts=prompts_fingerprint(),
        policy=policy,
        context=context,
        software={"score-local": score_local.__version__},
    )


def _hashed(path: Path) -> FileHash:
    return FileHash(writable(path.name), file_sha256(path))


def writable(text: str) -> str:
    """Text of the outside, such as a file's name, as it can be written: bytes that are no UTF-8 become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


class Run:
    """A run folder that this process writes. Use `start_run`; close it, or use it as a context manager."""

    def __init__(self, folder: Path, manifest: Manifest, lock: FileLock) -> None:
        self.folder, self.manifest = folder, manifest
        self._lock = lock
        self._last = {trace.id: trace for trace in read_traces(folder)}
        self._traces = AppendOnly(folder / TRACES)

    def append(self, trace: Trace) -> None:
        """Hands one line to the operating system. Raises RunError; the file then still ends with a whole line."""
        self._traces.append(msgspec.json.encode(trace))
        self._last[trace.id] = trace

    def todo(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems that have no trace, or failed. Raises RunError where one that is done has changed since."""
        problems = list(problems)
        done = {id_: trace for id_, trace in self._last.items() if trace.status != "failed"}
        changed = [p.id for p in problems if p.id in done and _differs(done[p.id], p)]
        if changed:
            raise RunError(
                f"{len(changed)} problems differ from those this run has solved, the first is {changed[0]!r}",
                str(self.folder),
                "Give the changed problems new ids, or start another run folder",
            )
        return [p for p in problems if p.id not in done]

    def traces_of(self, problems: Iterable[Problem]) -> list[Trace]:
        """How each of the problems that was attempted ended last."""
        return traces_of(problems, self._last)

    def write_summary(self, summary: msgspec.Struct | Mapping[str, Any]) -> None:
        write_whole(self.folder / SUMMARY, _pretty(summary))

    def close(self) -> None:
        self._traces.close()
        self._lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def traces_of(problems: Iterable[Problem], traces: Mapping[str, Trace]) -> list[Trace]:
    """The traces, by id, that are of these problems: none of one that has changed since."""
    found = ((traces.get(problem.id), problem) for problem in problems)
    return [trace for trace, problem in found if trace and not _differs(trace, problem)]


def _differs(trace: Trace, problem: Problem) -> bool:
    """Whether a trace is of another question, choices or gold answer."""
    told = (trace.question, trace.kind, trace.gold)
    choices = trace.choices or problem.choices  # traces of before do not tell them
    return told != (problem.question, problem.kind, problem.answer) or choices != problem.choices


def start_run(folder: Path, manifest: Manifest, *, resume: bool, accept_changes: bool = False) -> Run:
    """Begins a run, or with `resume` continues the one in `folder` (or begins it, where there is none yet).

    Raises RunError where the folder holds a run and `resume` is off, where its manifest differs (unless
    `accept_changes`), where another process writes it, or where it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            "another process is writing this run", str(folder), "Wait for it, or choose another --run"
        ) from error
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        if (folder / MANIFEST).exists():
            _check_resumable(folder, manifest, resume, accept_changes)
        if not (folder / MANIFEST).exists() or accept_changes:
            write_whole(folder / MANIFEST, _pretty(manifest))
        return Run(folder, manifest, lock)
    except BaseException:
        lock.release()
        raise


def write_run(folder: Path, manifest: Manifest, traces: Iterable[Trace], summary: msgspec.Struct) -> None:
    """Writes a whole run that was made elsewhere, over one that may be there. Raises RunError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    write_whole(folder / MANIFEST, _pretty(manifest))
    write_whole(folder / TRACES, b"".join(msgspec.json.encode(trace) + b"\n" for trace in traces))
    write_whole(folder / SUMMARY, _pretty(summary))


def read_manifest(folder: Path) -> Manifest:
    """Raises RunError where there is no run, or its manifest cannot be read."""
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise RunError("there is no run here", str(folder), "Begin one: score-local batch FILE --run DIR") from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunError(f"cannot be read: {error}", str(path), "Restore it, or start another run folder") from error


def read_traces(folder: Path) -> list[Trace]:
    """The traces of a run, one an id (the last line counts), in the order the problems were first traced.

    A last line without its line break is what a killed process left, and is passed over. Raises RunError for damage
    elsewhere.
    """
    traces = [_decode(line, number, folder) for number, line in enumerate(whole_lines(folder / TRACES), 1)]
    return list({trace.id: trace for trace in traces}.values())


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it is either the old one or the new one, never half. Raises RunError."""
    draft = path.with_name(path.name + ".part")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise write_error(path, error) from error


def changes(before: msgspec.Struct, now: msgspec.Struct) -> list[str]:
    """The fields of a manifest that differ and matter: newer software goes on with what older software began."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(now)
    return sorted(key for key in new if key != "software" and old[key] != new[key])


def _check_resumable(folder: Path, manifest: Manifest, resume: bool, accept_changes: bool) -> None:
    if not resume:
        raise RunError("holds a run already", str(folder), "Continue it with --resume, or choose another --run")
    before = read_manifest(folder)
    by_path = before.calibration is None and before.policy.verify.calibration is not None  # its content was not told
    changed = changes(_by_content(before, by_path), _by_content(manifest, by_path))
    if changed and not accept_changes:
        raise RunError(
            f"this run was made with another {', '.join(changed)}",
            str(folder),
            "Use what it was made with, start another --run, or mix on purpose with --accept-changes",
        )


def _by_content(manifest: Manifest, calibration_by_path: bool) -> Manifest:
    """The manifest without what its adapters and its calibration are called: they may lie elsewhere now."""
    adapters = {role: FileHash("", file.sha256) for role, file in manifest.adapters.items()}
    policy, calibration = msgspec.structs.replace(manifest.policy, adapters={}), None
    if not calibration_by_path:
        verify = msgspec.structs.replace(policy.verify, calibration=None)
        policy = msgspec.structs.replace(policy, verify=verify)
        calibration = manifest.calibration and FileHash("", manifest.calibration.sha256)
    return msgspec.structs.replace(manifest, adapters=adapters, policy=policy, calibration=calibration)


def _decode(line: bytes, number: int, folder: Path) -> Trace:
    try:
        return msgspec.json.decode(line, type=Trace)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunError(
            f"damaged trace: {error}", f"{folder / TRACES}:{number}", "Delete that line and --resume"
        ) from error


def _pretty(content: msgspec.Struct | Mapping[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
