"""Settings into a policy file: only what changed, comments kept, nothing written that cannot be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.commands import setup
from score_local.errors import PolicyError, RunError
from score_local.policy import Policy, load_policy
from score_local.verifiers.calibration import NOTHING_KNOWN
from tui.policy_file import SETTINGS, Setting, Value, parsed, save_policy, value_of

MINE = """# mine
seed = 7  # lucky

[verify]
threshold = 0.25  # careful
verifiers = ["self"]

[judge]
model = "smollm2-135m"
"""


def settings() -> list[Setting]:
    return [setting for group in SETTINGS.values() for setting in group]


def test_every_setting_is_a_key_of_the_policy() -> None:
    for setting in settings():
        value_of(Policy(), setting.key)


def test_a_new_file_holds_only_what_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "policy.toml"
    values = {setting.key: value_of(Policy(), setting.key) for setting in settings()}
    policy = save_policy(path, {**values, "verify.threshold": 0.7, "method": "majority"})
    assert policy == load_policy(path) and (policy.verify.threshold, policy.method) == (0.7, "majority")
    assert path.read_text() == 'method = "majority"\n\n[verify]\nthreshold = 0.7\n'


def test_what_the_person_wrote_stays(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(MINE)
    save_policy(path, {"seed": 8, "verify.verifiers": ("self", "program"), "verify.threshold": None})
    text = path.read_text()
    assert "# mine\nseed = 8  # lucky" in text and '[judge]\nmodel = "smollm2-135m"' in text
    assert "threshold" not in text and load_policy(path).verify.verifiers == ("self", "program")


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        (("self", "arithmetic", "program"), None),
        (("arithmetic", "program", "self"), None),
        (("self", "consistency", "program"), ("program", "self", "consistency")),
        (("arithmetic",), ("arithmetic",)),
    ],
)
def test_which_verifiers_are_chosen_counts_and_not_in_what_order(
    tmp_path: Path, asked: tuple[str, ...], written: tuple[str, ...] | None
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(before := '[verify]\nverifiers = ["program", "arithmetic", "self"]\n')
    policy = save_policy(path, {"verify.verifiers": asked})
    assert policy.verify.verifiers == (written or ("program", "arithmetic", "self"))
    assert (path.read_text() == before) is (written is None)


def test_what_ships_with_the_model_goes_on_to_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "trust_of", lambda policy, adapters: NOTHING_KNOWN)  # as if c.toml were there
    (tmp_path / "shipped").mkdir()
    shipped, path = tmp_path / "shipped" / "policy.toml", tmp_path / "policy.toml"
    shipped.write_text(
        '[verify]\nverifiers = ["program"]\nprograms = 3\nsampling = {temperature = 0.9}\n'
        'calibration = "c.toml"\n[refine]\nrounds = 2\n'
    )
    values = {setting.key: value_of(load_policy(None, shipped=shipped), setting.key) for setting in settings()}
    save_policy(path, values, shipped)
    assert path.read_text() == "", "nothing was changed"
    policy = save_policy(path, {**values, "verify.threshold": 0.25}, shipped)
    assert policy.verify.threshold == 0.25 and policy.refine.rounds == 2
    assert (policy.verify.verifiers, policy.verify.programs) == (("program",), 3)
    assert policy.verify.sampling.temperature == 0.9 and policy.verify.calibration == str(shipped.parent / "c.toml")
    assert "refine" not in path.read_text(), "what was not touched goes on to be the model's"
    others = save_policy(path, {"verify.verifiers": ("self",)}, shipped).verify
    assert (others.calibration, others.programs) == (None, 3), "a calibration is for the verifiers it was fitted for"


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"verify.threshold": 1.5}, "verify.threshold"),
        ({"refine.rounds": 0}, "refine.rounds"),
        ({"verify.verifiers": ("nobody",)}, "nobody"),
        ({"solve.temperature": -1.0}, "solve.temperature"),
        ({"verify.calibration": "none.toml"}, r"none\.toml: No such file"),
    ],
)
def test_what_cannot_be_used_is_not_written(tmp_path: Path, values: dict[str, Value], what: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(MINE)
    with pytest.raises(PolicyError, match=what) as error:
        save_policy(path, values)
    assert str(tmp_path) in error.value.where
    assert path.read_text() == MINE and [file.name for file in tmp_path.iterdir()] == ["policy.toml"]


def test_a_judge_that_is_not_named_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="needs a judge"):
        save_policy(tmp_path / "policy.toml", {"verify.verifiers": ("model",)})
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_is_told_and_left(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("seed = = 7")
    with pytest.raises(PolicyError, match="not a TOML file"):
        save_policy(path, {"seed": 8})
    assert path.read_text() == "seed = = 7"


def test_where_nothing_can_be_written_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "policy.toml.draft").mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        save_policy(tmp_path / "policy.toml", {"seed": 8})


def test_where_its_folder_cannot_be_made_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file")
    with pytest.raises(RunError, match="cannot be written"):
        save_policy(tmp_path / "config" / "score-local" / "policy.toml", {"seed": 8})


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("real", " 0.5 ", 0.5),
        ("real", "1", 1.0),
        ("real", "", None),
        ("whole", "12", 12),
        ("whole", " ", None),
        ("text", " a b ", "a b"),
        ("text", "", None),
    ],
)
def test_what_is_typed_is_read(kind: str, text: str, value: Value) -> None:
    assert parsed(Setting("key", "label", kind), text) == value  # type: ignore[arg-type]


@given(st.text())
def test_whatever_is_typed_is_a_number_or_told(text: str) -> None:
    for kind in ("whole", "real"):
        try:
            assert isinstance(parsed(Setting("key", "label", kind), text), (int, float, type(None)))  # type: ignore[arg-type]
        except PolicyError as error:
            assert "is not" in error.what


JUDGE = {"judge.model": "qwen", "judge.url": "http://127.0.0.1:8080/v1", "verify.verifiers": ("self", "model")}


def test_a_judge_comes_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    policy = save_policy(path, JUDGE)
    assert policy.judge and (policy.judge.model, policy.judge.url) == ("qwen", "http://127.0.0.1:8080/v1")
    policy = save_policy(path, {"judge.model": None, "judge.url": None, "verify.verifiers": ("self",)})
    assert policy.judge is None and "judge" not in path.read_text()


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"judge.url": "127.0.0.1:8080"}, "is no server's address"),
        ({"judge.url": "http://"}, "is no server's address"),
        ({"judge.url": "http://host:many/v1"}, "is no server's address"),
        ({"judge.url": "https://me:secret@host/v1"}, "a key does not belong into the address"),
        ({"judge.url": None, "judge.model": "no-such-model"}, "no-such-model"),
        ({"judge.model": None}, "model"),
        ({"judge.url": None, "judge.model": None}, "needs a judge"),
    ],
)
def test_a_judge_that_cannot_be_is_refused(tmp_path: Path, values: dict[str, Value], what: str) -> None:
    path = tmp_path / "policy.toml"
    with pytest.raises(PolicyError) as caught:
        save_policy(path, {**JUDGE, **values})
    assert what in str(caught.value) and "secret" not in str(caught.value) and not path.exists()
