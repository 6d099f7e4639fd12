"""Fetches what an adapter was trained on, as a program of its own: progress and, in its last line, what went wrong.

Its own, as a conversion is: the hub's library downloads in threads that only the end of a process stops. What came is
kept, and the next fetch goes on from there.
"""

from __future__ import annotations

import os
import sys

from score_local.catalog import HUB_ID, find_entry, load_catalog, pull, resolve_base
from score_local.errors import ModelError


def fetchable(base: str) -> bool:
    """Whether the hub may have it: a name of the catalogue with a repository, or a hub id; never an existing path."""
    if os.path.exists(os.path.expanduser(base)):
        return False
    entry = load_catalog().get(base)
    return bool(entry.repo) if entry else HUB_ID.fullmatch(base) is not None


def main(base: str) -> int:
    os.environ["TQDM_POSITION"] = "-1"  # or the hub's library tells its progress to terminals only
    try:
        if base in load_catalog():
            pull(find_entry(base), lambda done, total: _tell(base, done, total))
        else:
            resolve_base(base, fetch=True)
    except ModelError as error:
        print(str(error).replace("add --fetch", "Enter in a field"))
        return 1
    except KeyboardInterrupt:
        print("Stopped. What came is kept; the next fetch goes on from there")
        return 130
    return 0


def _tell(name: str, done: int, total: int) -> None:
    if total:
        print(f"{name}: {100 * done // total}%")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
