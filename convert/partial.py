"""A file is there whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from score_local.errors import ModelError

SUFFIX = ".part"


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
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ModelError("the disk is full", str(target), "Make room, or give another place with --out") from error
        raise ModelError(f"cannot be written: {error.strerror or error}", str(target), "Check the place") from error
    finally:
        part.unlink(missing_ok=True)


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
