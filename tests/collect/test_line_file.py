"""Append-only files: whatever happens, whole lines stay."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from score_local.collect.line_file import LineFile, read_rows, write_rows
from score_local.collect.records import Pair, Reply
from score_local.errors import RunError


def reply(key: str, error: str = "") -> Reply:
    return Reply(id=key, error=error)


def test_what_is_appended_is_read_and_the_last_of_an_id_counts(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with LineFile(path, Reply) as lines:
        for row in (reply("a", "ü\n"), reply("b"), reply("a")):
            lines.append(row)
        assert lines.rows == {"a": reply("a"), "b": reply("b")}
    with LineFile(path, Reply) as lines:
        assert list(lines.rows.values()) == [reply("a"), reply("b")]
    write_rows(path, lines.rows.values())
    assert list(read_rows(path, Reply)) == ["a", "b"]


def test_half_a_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"id":"a"}\n{"id":"b","fin')
    assert list(read_rows(path, Reply)) == ["a"]
    with LineFile(path, Reply) as lines:
        lines.append(reply("c"))
    assert list(read_rows(path, Reply)) == ["a", "c"]


@pytest.mark.parametrize("damage", [b"garbage", b"{}", b'{"id":1}', b"\xff", b""])
def test_damage_is_named_with_its_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"id":"a"}\n' + damage + b'\n{"id":"b"}\n')
    with pytest.raises(RunError, match=r"x\.jsonl:2: damaged line"):
        read_rows(path, Reply)


def test_rows_of_another_kind_are_damage(tmp_path: Path) -> None:
    write_rows(tmp_path / "x.jsonl", [reply("a")])
    with pytest.raises(RunError, match=r"damaged line.*problem"):
        read_rows(tmp_path / "x.jsonl", Pair)


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot be written"):
        LineFile(tmp_path / "none" / "x.jsonl", Reply)
    with pytest.raises(RunError, match=r"directory"):
        read_rows(tmp_path, Reply)


WRITER = """
import sys
from pathlib import Path
from tests.collect.test_line_file import reply
from score_local.collect.line_file import LineFile
from score_local.collect.records import Reply
with LineFile(Path(sys.argv[1]), Reply) as lines:
    for i in range(10**6):
        lines.append(reply(str(i), "x" * 5000))
        print(i, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_kill_9_loses_at_most_the_line_being_written(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    for attempt in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout
        writer.stdout.readline()
        time.sleep(0.02 * attempt)
        writer.kill()
        told = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        assert read_rows(path, Reply).keys() >= set(told), "what was told as written is there"
