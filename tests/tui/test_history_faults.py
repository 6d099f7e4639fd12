"""What becomes of the history when its file is damaged, locked or read-only, and when the app is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from score_local.errors import HistoryError
from tui import history_file
from tui.history import History
from tui.records import Turn, new_id

# An app that saves the two phases of a turn, says so, and is killed in the third.
APP = """
import sys, time
from pathlib import Path
from tui.history import History
from tui.records import Phase, Turn
history = History(Path(sys.argv[1]))
key = history.create().id
phases = (Phase(name="solve", text="the solution"), Phase(name="verify", text="the verdict"))
for count in range(3):
    history.save_turn(Turn(id="t", conversation=key, question="killed?", phases=phases[:count]))
print(key, flush=True)
time.sleep(60)
"""

# An app that is nobody (root may write everywhere) and says what it may do.
NOBODY = """
import os, sys
from pathlib import Path
from tui.history import History
os.setuid(65534)
history = History(Path(sys.argv[1]))
history.create("only in memory")
print(history.notice)
print([found.conversation.title for found in history.search()])
"""


# An app among others that all write at once.
WRITER = """
import sys
from pathlib import Path
from tui.history import History
from tui.records import Turn, new_id
history = History(Path(sys.argv[1]))
assert not history.notice, history.notice
for number in range(40):
    key = history.create().id
    history.save_turn(Turn(id=new_id(), conversation=key, question=f"question {number}"))
history.close()
"""


def start(app: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", app, str(path)], stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_killed_app_loses_the_running_phase_only(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    app = start(APP, path)
    assert app.stdout
    key = app.stdout.readline().strip()
    app.send_signal(signal.SIGKILL)
    app.communicate()
    history = History(path)
    (turn,) = history.turns(key)
    history.close()
    assert history.notice == ""
    assert [phase.text for phase in turn.phases] == ["the solution", "the verdict"] and turn.state == "running"


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to look like one" * 40, b"\0" * 5000, b"x" * 200]
)
def test_a_damaged_file_is_moved_aside_and_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "history.db"
    path.write_bytes(content)
    history = History(path)
    history.create("new")
    history.close()
    (aside,) = tmp_path.glob("history-damaged-*.db")
    assert aside.name in history.notice and aside.read_bytes() == content
    again = History(path)
    assert [found.conversation.title for found in again.search()] == ["new"] and again.notice == ""
    again.close()


def test_damage_found_later_is_told_and_the_next_save_works(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    history = History(path)
    key = history.create("old").id
    for _ in range(200):
        history.save_turn(Turn(id=new_id(), conversation=key, question="long " * 200))
    history._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    history.close()
    head = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(head + b"\xa5" * len(head))
    history = History(path)
    assert history.notice == ""
    with pytest.raises(HistoryError, match="now history-damaged"):
        history.turns(key)
    assert history.search() == []
    history.save_turn(Turn(id=new_id(), conversation=history.create().id, question="goes on"))
    assert [found.conversation.title for found in history.search()] == ["goes on"]
    history.close()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become nobody")
@pytest.mark.parametrize("folder_too", [True, False])
def test_a_read_only_history_is_shown_and_what_is_added_is_told_to_be_lost(folder_too: bool) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to nobody
        path = Path(name) / "history.db"
        history = History(path)
        history.create("old")
        history.close()
        path.chmod(0o444)
        Path(name).chmod(0o555 if folder_too else 0o777)
        said, _ = start(NOBODY, path).communicate(timeout=30)
        assert "is lost when the app ends" in said and "['only in memory', 'old']" in said
        again = History(path)
        assert [found.conversation.title for found in again.search()] == ["old"]
        again.close()


def test_a_locked_history_is_copied_where_it_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_file, "BUSY_SECONDS", 0.05)
    path = tmp_path / "history.db"
    first = History(path)
    first.create("old")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    history = History(path)
    history.create("new")
    assert "locked" in history.notice and len(history.search()) == 2
    history.close()
    with pytest.raises(HistoryError, match="locked"):
        first.create("not yet")
    other.execute("ROLLBACK")
    other.close()
    assert first.create("now").title == "now"
    first.close()


def test_a_newer_programs_history_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    history = History(path)
    history.create("new")
    history.close()
    assert "newer score-local" in history.notice
    database = sqlite3.connect(path)
    assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    database.close()


def test_a_turn_that_cannot_be_read_is_told_and_the_others_are_there(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    good, bad = history.create().id, history.create().id
    for key in (good, bad):
        history.save_turn(Turn(id=new_id(), conversation=key, question="question"))
    history._connection.execute("UPDATE turns SET body = '{\"id\": 7}' WHERE conversation = ?", (bad,))
    with pytest.raises(HistoryError, match="cannot be read"):
        history.turns(bad)
    assert len(history.turns(good)) == 1 and len(history.search("question")) == 2
    history.close()


def test_an_old_sqlite_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 1))
    with pytest.raises(HistoryError, match=r"3\.34\.0 is needed"):
        History(tmp_path / "history.db")


def test_a_full_disk_is_told_and_the_turn_can_be_saved_again(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    key = history.create().id
    turn = Turn(id=new_id(), conversation=key, question="long " * 100_000)
    (pages,) = history._connection.execute("PRAGMA page_count").fetchone()
    history._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(HistoryError, match="full"):
        history.save_turn(turn)
    history._connection.execute("PRAGMA max_page_count = 1000000")
    history.save_turn(turn)
    assert history.turns(key) == [turn]
    history.close()
