"""A file is there whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from score_local.errors import ModelError

SUFFIX, LOCK = ".part", ".lock"


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to. It becomes `target` when the block ends, and goes away where that raises; a
    killed process leaves a `.part`, which the next one overwrites.

    Raises ModelError where `target` exists, its folder cannot be written, or the disk is full.
    """
    refuse_existing(target)
    part = target.with_name(target.name + SUFFIX)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        yield part
        os.replace(part, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` for what has yet to become it. It goes away when the block ends, with all that is still
    in it; a killed process leaves one, `<target>.parts`, which the next one empties.

    Raises ModelError where it cannot be made, or another process works in it.
    """
    folder = target.with_name(target.name + SUFFIX + "s")
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        _empty(folder)
    except Timeout as error:
        raise ModelError("another process is making it", str(target), "Wait for it, or choose another --out") from error
    except OSError as error:
        raise _unwritable(target, error) from error
    try:
        yield folder
    finally:
        _empty(folder)
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _empty(folder: Path) -> None:
    """Removes all but the lock, as far as it can: not even that where somebody removed the folder."""
    for path in folder.glob("*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK:
            with suppress(OSError):
                path.unlink()


def move_files(folder: Path, out: Path) -> None:
    """Moves all files of a scratch folder into `out`, the models last: a model never lies there without its proof.
    Raises ModelError."""
    made = (path for path in folder.iterdir() if path.name != LOCK)
    for path in sorted(made, key=lambda path: path.suffix == ".gguf"):
        try:
            os.replace(path, out / path.name)
        except OSError as error:
            raise _unwritable(out / path.name, error) from error


def refuse_existing(target: Path) -> None:
    """Raises ModelError where `target` exists: nothing is overwritten."""
    if target.exists():
        raise ModelError("exists already", str(target), "Remove it, or give another place with --out")


def require_room(target: Path, size: int) -> None:
    """Raises ModelError where the disk of `target` has less than `size` bytes left."""
    free = shutil.disk_usage(target.parent).free
    if size > free:
        what = f"needs {size:,} bytes, and {free:,} are free"
        raise ModelError(what, str(target), "Make room, or give another place with --out")


def _unwritable(target: Path, error: OSError) -> ModelError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ModelError("the disk is full", str(target), "Make room, or give another place with --out")
    return ModelError(f"cannot be written: {error.strerror or error}", str(target), "Check the place")
