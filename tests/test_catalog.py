"""The catalogue, what a name resolves to, and pulling from a hub that misbehaves in every way we know."""

from __future__ import annotations

import errno
import hashlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import pytest

from score_local import catalog
from score_local.catalog import Entry
from score_local.errors import ModelError
from score_local.policy import Policy, load_policy
from tests.fake_hub import COMMIT, FakeHub, serving
from tests.gguf_files import write_model

ENTRY = Entry(name="tiny", title="Tiny", repo="org/tiny", file="tiny.gguf")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder, and a hub that no test can reach unless it serves one itself."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_model(tmp_path_factory.mktemp("hub") / "tiny.gguf", vocabulary=50_000).read_bytes()


@pytest.fixture
def hub(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    from huggingface_hub import close_session, constants

    with serving(FakeHub({"org/tiny/tiny.gguf": content})) as serving_hub:
        monkeypatch.setenv("HF_ENDPOINT", serving_hub.url)
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # between two tries
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)  # 10 MB otherwise
        yield serving_hub
        close_session()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def own_catalog(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "catalog.toml").write_text(text, encoding="utf-8")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# The catalogue


def test_the_catalogue_that_ships() -> None:
    entries = catalog.load_catalog()
    assert {catalog.DEFAULT_MODEL, "qwen2.5-coder-0.5b"} <= set(entries)
    for name, entry in entries.items():
        assert entry.name == name and entry.repo.count("/") == 1 and entry.file.endswith(".gguf"), name
        assert entry.licence != "unknown" and entry.notes and entry.sha256 and entry.bytes and entry.memory, name
        assert entry.bytes < entry.memory, name


def test_the_policies_that_ship_can_be_used() -> None:
    entries = [entry for entry in catalog.load_catalog().values() if entry.policy]
    assert entries
    for entry in entries:
        assert load_policy(Path(str(resources.files("models") / entry.policy))) != Policy(), entry.name


def test_a_models_policy_is_found_by_where_the_model_lies(folder: Path, tmp_path: Path) -> None:
    entry = next(entry for entry in catalog.load_catalog().values() if entry.policy)
    entry.path.parent.mkdir(parents=True, exist_ok=True)
    entry.path.write_bytes(b"GGUF")
    found = catalog.shipped_policy(entry.path)
    assert found is not None and found.is_file()
    assert catalog.shipped_policy(tmp_path / "another.gguf") is None


@pytest.mark.parametrize("spelling", ["absolute", "with dots", "a link", "folder absolute"])
def test_a_models_policy_is_found_however_its_path_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(folder) if spelling == "folder absolute" else "models")
    entry = next(entry for entry in catalog.load_catalog().values() if entry.policy)
    entry.path.write_bytes(b"GGUF")
    (tmp_path / "link.gguf").symlink_to(folder / entry.file)
    asked = {
        "absolute": folder / entry.file,
        "with dots": folder / ".." / "models" / entry.file,
        "a link": Path("link.gguf"),
        "folder absolute": Path("models") / entry.file,
    }[spelling]
    assert asked != entry.path and catalog.shipped_policy(asked) == catalog.shipped_policy(entry.path) is not None


def test_the_users_entries_are_added_and_replace_whole_entries(folder: Path) -> None:
    own_catalog(
        folder,
        f'[models."mine"]\ntitle = "Mine"\nfile = "mine.gguf"\n'
        f'[models."{catalog.DEFAULT_MODEL}"]\ntitle = "Other"\nfile = "o.gguf"\n',
    )
    entries = catalog.load_catalog()
    assert entries["mine"].path == folder / "mine.gguf"
    assert entries[catalog.DEFAULT_MODEL] == Entry(name=catalog.DEFAULT_MODEL, title="Other", file="o.gguf")
    assert "qwen2.5-coder-0.5b" in entries


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[models.", "not a catalogue"),
        ("model = 1", "not a catalogue.*unknown field `model`"),
        ('[models.x]\nfile = "x.gguf"', "model 'x': .*missing required field `title`"),
        ('[models.x]\ntitle = "X"\nfile = "x.gguf"\nsize = 3', "model 'x': .*unknown field `size`"),
        ('[models.x]\ntitle = "X"\nfile = "x.gguf"\nsha256 = "abc"', "model 'x': .*sha256"),
        ('[models.x]\ntitle = "X"\nfile = "x.gguf"\nbytes = 0', "model 'x': .*bytes"),
        ('[models.x]\ntitle = "X"\nfile = "x.gguf"\npackage = "a b"', "model 'x': .*package"),
    ],
)
def test_a_broken_catalogue_is_one_line_that_names_it(folder: Path, text: str, what: str) -> None:
    own_catalog(folder, text)
    with pytest.raises(ModelError, match=what) as caught:
        catalog.load_catalog()
    assert str(folder / "catalog.toml") in str(caught.value) and "\n" not in str(caught.value)


def test_a_catalogue_that_is_no_text(folder: Path) -> None:
    folder.mkdir()
    (folder / "catalog.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match=r"catalog\.toml: cannot be read"):
        catalog.load_catalog()


def test_the_models_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORE_LOCAL_MODELS", "~/gguf")
    assert catalog.models_dir() == Path.home() / "gguf"
    monkeypatch.setenv("SCORE_LOCAL_MODELS", "~nobody-here/gguf")
    assert catalog.models_dir() == Path("~nobody-here/gguf")
    monkeypatch.delenv("SCORE_LOCAL_MODELS")
    assert catalog.models_dir().name == "models" and "score-local" in str(catalog.models_dir())


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, score_local.catalog; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"huggingface_hub", "gguf", "numpy", "llama_cpp", "httpx", "httpx2", "rich", "platformdirs"} & set(
        loaded
    )


# Resolving


def test_a_path_is_itself(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf")
    assert catalog.resolve(str(path)) == path


@pytest.mark.parametrize(
    "text", ["no/such/model.gguf", "model.gguf", "~/no-such-model", "~nobody-here/model", f"{'long' * 99}.gguf"]
)
def test_a_path_that_is_not_there(text: str, no_network: None) -> None:
    with pytest.raises(ModelError, match=r"no such model file.*Give a GGUF, or a name"):
        catalog.resolve(text, confirm_pull=lambda entry: True)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder, not a GGUF file"):
        catalog.resolve(str(tmp_path))


def test_a_folder_does_not_hide_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "qwen3-0.6b").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"Qwen3 0\.6B, Q8_0 is not on this machine"):
        catalog.resolve("qwen3-0.6b")


@pytest.mark.parametrize(("name", "near"), [("qwen2.5-coder", "qwen2.5-coder-0.5b"), ("SmolLM2", "smollm2-1.7b")])
def test_an_unknown_name_suggests_near_ones(name: str, near: str) -> None:
    with pytest.raises(ModelError, match=rf"no model has that name\. Did you mean .*{near}.*score-local models list"):
        catalog.resolve(name)


def test_an_unknown_name_like_no_other() -> None:
    with pytest.raises(ModelError, match=r"^zzz: no model has that name\. See: score-local models list$"):
        catalog.resolve("zzz")


def test_a_file_in_the_models_folder(folder: Path) -> None:
    own_catalog(folder, '[models.mine]\ntitle = "Mine"\nfile = "mine.gguf"\n')
    path = write_model(folder / "mine.gguf")
    assert catalog.resolve("mine") == path
    assert next(row for row in catalog.known_models() if row.name == "mine").where == str(path)


def test_a_file_of_the_wrong_size_is_not_taken_for_the_model(folder: Path) -> None:
    own_catalog(folder, '[models.mine]\ntitle = "Mine"\nfile = "mine.gguf"\nbytes = 77\n')
    (folder / "mine.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"mine\.gguf: has 4 bytes, and mine has 77\. Fetch it again"):
        catalog.resolve("mine")


def test_a_model_that_an_installed_package_carries(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    (tmp_path / "carrier").mkdir()
    (tmp_path / "carrier" / "__init__.py").write_text("raise AssertionError('imported')")
    path = write_model(tmp_path / "carrier" / "m.gguf")
    monkeypatch.syspath_prepend(tmp_path)
    own_catalog(folder, '[models.mine]\ntitle = "Mine"\nfile = "m.gguf"\nrepo = "a/b"\npackage = "carrier:m.gguf"\n')
    assert catalog.resolve("mine") == path
    assert catalog.pull(catalog.find_entry("mine")) == path


def test_the_network_is_left_alone_without_a_yes(folder: Path, no_network: None) -> None:
    with pytest.raises(ModelError, match=r"is not on this machine\. Fetch it: score-local models pull qwen3-0\.6b"):
        catalog.resolve("qwen3-0.6b")
    with pytest.raises(ModelError, match="is not on this machine"):
        catalog.resolve("qwen3-0.6b", confirm_pull=lambda entry: False)
    assert all(row.name for row in catalog.known_models())


def test_without_any_model_the_way_to_the_embedded_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"models pull smollm2-135m, or install it with score-local: `make run`"):
        catalog.resolve(catalog.DEFAULT_MODEL)


def test_an_entry_without_a_repository_cannot_be_pulled(folder: Path, no_network: None) -> None:
    own_catalog(folder, '[models.mine]\ntitle = "Mine"\nfile = "mine.gguf"\n')
    with pytest.raises(ModelError, match=r"Mine is not on this machine\. Its file is to be .*mine\.gguf"):
        catalog.resolve("mine", confirm_pull=lambda entry: True)
    with pytest.raises(ModelError, match="has no hub repository"):
        catalog.pull(catalog.find_entry("mine"))


# Pulling


def test_pull(hub: FakeHub, folder: Path, content: bytes) -> None:
    told: list[tuple[int, int]] = []
    path = catalog.pull(ENTRY, lambda done, total: told.append((done, total)))
    assert path == folder / "tiny.gguf" and path.read_bytes() == content
    assert told[-1] == (len(content), len(content))
    assert [p for p in folder.iterdir() if p.suffix in (".part", ".rejected")] == []
    assert hub.requests == [
        ("HEAD", "/org/tiny/resolve/main/tiny.gguf", None),
        ("GET", f"/org/tiny/resolve/{COMMIT}/tiny.gguf", None),
    ]


def test_resolve_pulls_after_a_yes(hub: FakeHub, folder: Path, content: bytes) -> None:
    own_catalog(folder, '[models.tiny]\ntitle = "Tiny"\nfile = "tiny.gguf"\nrepo = "org/tiny"\n')
    asked: list[Entry] = []
    path = catalog.resolve("tiny", confirm_pull=lambda entry: not asked.append(entry))  # type: ignore[func-returns-value]
    assert path.read_bytes() == content and [entry.name for entry in asked] == ["tiny"]


def test_a_second_pull_asks_nobody(hub: FakeHub, content: bytes) -> None:
    entry = Entry(name="tiny", title="Tiny", repo="org/tiny", file="tiny.gguf", sha256=sha256(content))
    catalog.pull(entry)
    asked = len(hub.requests)
    catalog.pull(entry)
    assert len(hub.requests) == asked


def test_a_damaged_file_is_set_aside_and_fetched_again(hub: FakeHub, folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(content[:-100])
    assert catalog.pull(ENTRY).read_bytes() == content
    assert (folder / "tiny.gguf.rejected").read_bytes() == content[:-100]


def test_a_wrong_sha256_never_gets_the_final_name(hub: FakeHub, folder: Path, content: bytes) -> None:
    entry = Entry(name="tiny", title="Tiny", repo="org/tiny", file="tiny.gguf", sha256="0" * 64)
    with pytest.raises(ModelError, match=r"tiny\.gguf\.rejected: what http://127.* its SHA-256 is .*Try again"):
        catalog.pull(entry)
    assert not (folder / "tiny.gguf").exists()
    assert (folder / "tiny.gguf.rejected").read_bytes() == content


def test_the_hubs_own_sha256_counts_where_the_catalogue_has_none(hub: FakeHub, folder: Path) -> None:
    hub.digest = "1" * 64
    with pytest.raises(ModelError, match="its SHA-256 is"):
        catalog.pull(ENTRY)
    assert not (folder / "tiny.gguf").exists()


def test_a_page_instead_of_a_model_is_rejected(hub: FakeHub, folder: Path) -> None:
    hub.files["org/tiny/tiny.gguf"] = b"<html>sign in first</html>"
    with pytest.raises(ModelError, match="not a GGUF file"):
        catalog.pull(ENTRY)
    assert not (folder / "tiny.gguf").exists()


def test_a_cut_connection_is_continued_within_a_pull(hub: FakeHub, content: bytes) -> None:
    hub.cuts, hub.cut_at = 2, 100_000
    assert catalog.pull(ENTRY).read_bytes() == content
    assert [wanted for _, _, wanted in hub.requests] == [None, None, "bytes=100000-", "bytes=200000-"]


def test_what_a_killed_pull_left_is_continued(hub: FakeHub, folder: Path, content: bytes) -> None:
    class Killed(BaseException): ...

    def kill(done: int, total: int) -> None:
        raise Killed

    hub.cuts, hub.cut_at = 1, 300_000
    with pytest.raises(Killed):
        catalog.pull(ENTRY, lambda done, total: None if done < 300_000 else kill(done, total))
    part = next(folder.glob("*.part"))
    part.write_bytes(content[:123_456])  # what reached the disk
    told: list[int] = []
    assert catalog.pull(ENTRY, lambda done, total: told.append(done)).read_bytes() == content
    assert hub.requests[-1][2] == "bytes=123456-" and told[0] > 123_456 and told[-1] == len(content)


def test_a_hub_that_ignores_ranges_sends_it_all_again(hub: FakeHub, folder: Path, content: bytes) -> None:
    hub.ignore_ranges = True
    folder.mkdir()
    (folder / f"tiny.gguf.{sha256(content)[:16]}.part").write_bytes(b"x" * 1000)
    assert catalog.pull(ENTRY).read_bytes() == content


def test_a_part_that_is_too_long_is_begun_again(hub: FakeHub, folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / f"tiny.gguf.{sha256(content)[:16]}.part").write_bytes(content + b"x")
    assert catalog.pull(ENTRY).read_bytes() == content


def test_a_connection_that_never_lasts_keeps_what_came(hub: FakeHub, folder: Path, content: bytes) -> None:
    hub.cuts, hub.cut_at = 100, 0
    with pytest.raises(ModelError, match=r"the hub cannot be reached: .*What came is kept\. Check the network"):
        catalog.pull(ENTRY)
    assert not (folder / "tiny.gguf").exists() and list(folder.glob("*.part"))


@pytest.mark.parametrize(
    ("status", "code", "what"),
    [
        (200, "", r"other\.gguf.*the repository has no such file"),
        (404, "RevisionNotFound", "main.*the repository has no such revision"),
        (404, "RepoNotFound", "no such repository, or a private one"),
        (401, "RepoNotFound", "no such repository, or a private one.*set HF_TOKEN"),
        (403, "GatedRepo", r"the hub asks for an agreement first\. Accept it there, then set HF_TOKEN"),
        (500, "", "the hub answered 500.*Try again later"),
    ],
)
def test_what_the_hub_refuses(hub: FakeHub, status: int, code: str, what: str) -> None:
    hub.status, hub.error = status, code
    with pytest.raises(ModelError, match=what) as caught:
        catalog.pull(Entry(name="tiny", title="Tiny", repo="org/tiny", file="other.gguf"))
    assert hub.url in str(caught.value) and "\n" not in str(caught.value)


def test_the_hub_is_down(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(ModelError, match=r"org/tiny \(.*\): the hub cannot be reached: .*refused"):
            catalog.pull(ENTRY)


def test_offline_mode_of_the_hub_library(tmp_path: Path) -> None:
    code = "from score_local import catalog; catalog.pull(catalog.find_entry('qwen3-0.6b'))"
    environment = {"HF_HUB_OFFLINE": "1", "SCORE_LOCAL_MODELS": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert "ModelError" in done.stderr and "HF_HUB_OFFLINE is set. Unset it" in done.stderr


def test_a_repository_name_that_cannot_be(hub: FakeHub) -> None:
    with pytest.raises(ModelError, match="not a hub repository"):
        catalog.pull(Entry(name="tiny", title="Tiny", repo="a/b/c d", file="tiny.gguf"))


def test_the_token_is_sent(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    catalog.pull(ENTRY)
    assert hub.tokens == ["Bearer hf_test", "Bearer hf_test"]


def test_no_room_is_noticed_before_the_download(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(ModelError, match=rf"too full: {len(content):,} bytes are missing and 1,000 are free"):
        catalog.pull(ENTRY)
    assert [method for method, _, _ in hub.requests] == ["HEAD"]


def test_a_disk_that_fills_up(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ModelError, match=r"the disk is full\. Make room, or set SCORE_LOCAL_MODELS"):
        catalog.pull(ENTRY)


def test_a_models_folder_that_is_a_file(folder: Path, no_network: None) -> None:
    folder.write_text("")
    with pytest.raises(ModelError, match="cannot be written: "):
        catalog.pull(ENTRY)


def test_two_pulls_at_once(folder: Path, no_network: None) -> None:
    from filelock import FileLock

    folder.mkdir()
    with FileLock(folder / ".tiny.gguf.lock"), pytest.raises(ModelError, match="another process is pulling it"):
        catalog.pull(ENTRY)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_base_model_is_fetched_only_when_told(hub: FakeHub, cache: Path) -> None:
    hub.files = {f"org/base/{name}": name.encode() for name in ("config.json", "model.safetensors", "video.mp4")}
    with pytest.raises(ModelError, match=r"org/base: is not on this machine\. Fetch it from the hub: add --fetch"):
        catalog.resolve_base("org/base")
    assert hub.requests == []
    folder = catalog.resolve_base("org/base", fetch=True)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    asked = len(hub.requests)
    assert catalog.resolve_base("org/base") == folder and len(hub.requests) == asked


def test_a_base_model_that_the_hub_lacks(hub: FakeHub, cache: Path) -> None:
    with pytest.raises(ModelError, match="no such repository, or a private one"):
        catalog.resolve_base("org/nothing", fetch=True)


def test_a_base_model_may_be_a_folder_a_file_or_a_name(tmp_path: Path, folder: Path, content: bytes) -> None:
    assert catalog.resolve_base(str(tmp_path)) == tmp_path
    folder.mkdir(exist_ok=True)
    (folder / "catalog.toml").write_text('[models.mine]\ntitle = "Mine"\nfile = "mine.gguf"\n')
    (folder / "mine.gguf").write_bytes(content)
    assert catalog.resolve_base("mine") == folder / "mine.gguf"
    with pytest.raises(ModelError, match="no such base model"):
        catalog.resolve_base("no/such/folder")
