"""Becomes a nursery: `python -m score_local.sandbox.launch`, started by `pool.py`.

The process is replaced by a Python without site-packages (-S) and without the user's variables (-I), in an empty
environment. Where SymPy lies is found out before, as it is not found afterwards.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from score_local.sandbox.nursery import main;"
    " del sys.path[0]; main(tuple(sys.argv[2:]))"
)


def main() -> None:
    folders = sorted({folder for name in ("sympy", "mpmath") for folder in _folders_of(name)})
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", _START, str(ROOT), *folders], {})


def _folders_of(package: str) -> list[str]:
    found = importlib.util.find_spec(package)
    return [str(Path(place).parent) for place in found.submodule_search_locations or ()] if found else []


if __name__ == "__main__":
    main()
