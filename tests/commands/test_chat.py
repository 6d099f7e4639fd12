"""`score-local chat`, as far as it goes without a terminal, and with one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui.terminal import READY, Terminal


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["chat"], "the app needs a terminal"),
        (["--ascii", "--threads", "2"], "the app needs a terminal"),
        (["--asci", "solve"], "score-local: error: unrecognized arguments: solve"),
        ([], "usage: score-local"),
        (["--help"], "usage: score-local"),
    ],
)
def test_without_a_terminal(arguments: list[str], told: str) -> None:
    command = [sys.executable, "-m", "score_local", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == (0 if arguments == ["--help"] else 2) and told in done.stdout + done.stderr


@pytest.mark.parametrize("flags", [[], ["--ascii"]])
def test_alone_it_opens_the_app(tmp_path: Path, flags: list[str]) -> None:
    homes = {
        "XDG_DATA_HOME": "data",
        "XDG_CONFIG_HOME": "config",
        "XDG_STATE_HOME": "state",
        "SCORE_LOCAL_MODELS": "models",
    }
    environment = {key: str(tmp_path / name) for key, name in homes.items()}
    terminal = Terminal("-m", "score_local", *flags, environment=environment)
    try:
        terminal.until(READY)
        terminal.write(b"\x11")
        terminal.ended()
    finally:
        terminal.close()
    assert (tmp_path / "data" / "score-local" / "history.db").exists()


def test_a_policy_file_that_is_wrong_is_told_before_the_screen_is_taken(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[verify]\nthreshold = 7\n")
    terminal = Terminal("-m", "score_local", "chat", "--policy", str(policy), "--history", str(tmp_path / "h.db"))
    try:
        terminal.until(b"verify.threshold")
        assert b"\x1b[?1049h" not in terminal.seen
    finally:
        terminal.close()
