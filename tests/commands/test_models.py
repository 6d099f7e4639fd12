"""`score-local models ...` as a user runs it: data on stdout, talk on stderr, exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from score_local import cli
from score_local.catalog import known_models
from tests.fake_hub import FakeHub, serving
from tests.gguf_files import write_adapter, write_model


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models = tmp_path / "models"
    models.mkdir()
    (models / "catalog.toml").write_text('[models.tiny]\ntitle = "Tiny one"\nrepo = "org/tiny"\nfile = "tiny.gguf"\n')
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(models))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody's, unless a test serves a hub
    return models


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    from huggingface_hub import close_session

    content = write_model(tmp_path / "hub.gguf").read_bytes()
    with serving(FakeHub({"org/tiny/tiny.gguf": content})) as serving_hub:
        monkeypatch.setenv("HF_ENDPOINT", serving_hub.url)
        yield serving_hub
        close_session()


def test_list_is_plain_rows_where_stdout_is_no_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_model(folder / "tiny.gguf")
    assert cli.main(["models", "list"]) == 0
    out, err = capsys.readouterr()
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in rows] == [row.name for row in known_models()]
    assert rows[-1] == ["tiny", "", "", "unknown", str(path), "Tiny one"] and err == ""


def test_list_is_a_table_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "140")
    assert cli.main(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert "licence" in out and "not here" in out and "1,066 MiB" in out and "\t" not in out


def test_path_prints_only_the_path(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_model(folder / "tiny.gguf")
    assert cli.main(["models", "path", "tiny"]) == 0
    assert capsys.readouterr() == (f"{path}\n", "")


def test_path_of_what_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "path", "tiny"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "score-local models pull tiny" in err


def test_pull_prints_the_path_and_talks_on_stderr(
    hub: FakeHub, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", "pull", "tiny"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{folder / 'tiny.gguf'}\n" and "pulling Tiny one from org/tiny" in err


def test_pull_draws_a_bar_on_a_terminal(
    hub: FakeHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert cli.main(["models", "pull", "tiny"]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("tiny.gguf\n") and out.count("\n") == 1 and "kB" in err


def test_pull_of_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "pull", "tin"]) == 2
    assert "Did you mean tiny?" in capsys.readouterr().err


def test_check_prints_facts_and_ok(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_model(folder / "tiny.gguf")
    for name in ("tiny", str(path)):
        assert cli.main(["models", "check", name]) == 0
        lines = capsys.readouterr().out.splitlines()
        facts = dict(line.split(maxsplit=1) for line in lines[:-1])
        assert lines[-1] == "OK" and facts["architecture"] == "llama" and facts["quantisation"] == "Q8_0"


def test_check_of_a_model_without_chat_template(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "check", str(write_model(tmp_path / "base.gguf", template=None))]) == 2
    out, err = capsys.readouterr()
    assert "MISSING" in out and "OK" not in out and "it has no chat template" in err


def test_check_of_a_cut_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_model(tmp_path / "cut.gguf")
    path.write_bytes(path.read_bytes()[:-10])
    assert cli.main(["models", "check", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and "cut short" in err and err.count("\n") == 1


def test_check_of_an_adapter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "check", str(write_adapter(tmp_path / "lora.gguf"))]) == 0
    out = capsys.readouterr().out
    assert "adapter" in out and "chat template" not in out and out.endswith("OK\n")
