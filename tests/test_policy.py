"""Policy files: defaults, flags over files, and refusals that name the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from score_local.errors import PolicyError
from score_local.policy import Policy, Verify, load_policy


def test_no_file_is_all_defaults() -> None:
    assert load_policy(None) == Policy()


def test_flags_override_the_file(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text('seed = 3\n[verify]\nthreshold = 0.7\nverifiers = ["arithmetic"]\n[refine]\nwhen = "always"\n')
    policy = load_policy(file, {"verify.threshold": 0.9, "adapters.refiner": "r.gguf"})
    assert (policy.seed, policy.verify.threshold, policy.verify.verifiers) == (3, 0.9, ("arithmetic",))
    assert (
        policy.refine.when == "always" and policy.adapter("refiner") == "refiner" and policy.adapter("solver") is None
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[verify]\ntreshold = 0.7", r"unknown field `treshold`.*verify.*Known keys: .*verify\.threshold"),
        ("[verify]\nthreshold = 1.5", r"<= 1\.0.*verify\.threshold"),
        ('[verify]\nverifiers = ["gpt4"]', r"gpt4"),
        ("[refine]\nrounds = 0", r">= 1.*refine\.rounds"),
        ("[solve]\nmax_tokens = true", r"solve\.max_tokens"),
        ('[adapters]\njudge = "x"', r"judge"),
        ("seed = -1", r">= 0.*seed"),
        ('[judge]\nmodle = "m"', r"unknown field `modle`.*judge.*Known keys: .*judge\.model, judge\.url"),
        ("[judge]\nseconds = 9", r"missing required field `model`.*judge.*Mend it"),
        ('[judge]\nmodel = "m"\nseconds = inf', r"<= 86400\.0.*judge\.seconds"),
        ('[judge]\nmodel = "m"\nseconds = nan', r"> 0\.0.*judge\.seconds"),
        ("[solve]\ntemperature = inf", r"<= 100\.0.*solve\.temperature"),
        ("[verify.sampling]\ntemperature = nan", r">= 0\.0.*verify\.sampling\.temperature"),
        ("[vote]\nprogram = inf", r"<= 1000000\.0.*vote\.program"),
        ("seed = ", r"not a TOML file.*Mend that line"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(PolicyError, match=told) as caught:
        load_policy(file)
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)
    assert ("Known keys" in str(caught.value)) == ("unknown field" in str(caught.value))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"refine.rounds": 9}, r"^flag refine\.rounds: Expected `int` <= 8.*\. Mend it$"),
        ({"seed": -1}, r"^flag seed: Expected `int` >= 0.*\. Mend it$"),
        ({"method": "guess", "seed": 1}, r"^flag method: .*'guess'.*\. Mend it$"),
        ({"verify.verifiers": ["self", "gpt4"]}, r"^flag verify\.verifiers: .*'gpt4'.*\. Mend it$"),
        ({"adapters.judge": "x.gguf"}, r"^flag adapters: .*'judge'.*\. Mend it$"),
    ],
)
def test_a_wrong_flag_is_not_laid_to_the_file(tmp_path: Path, overrides: dict[str, Any], told: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text("seed = 3\n[refine]\nrounds = 2\n")
    with pytest.raises(PolicyError, match=told):
        load_policy(file, overrides)


def test_what_is_wrong_in_the_file_is_not_laid_to_a_flag(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("seed = -3\n")
    with pytest.raises(PolicyError, match=r"p\.toml: .*seed"):
        load_policy(file, {"refine.rounds": 2})


def test_a_flag_of_a_section_that_is_none_does_not_hide_the_mistake(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text('refine = "always"')
    with pytest.raises(PolicyError, match=r"Expected `object`.*refine"):
        load_policy(file, {"refine.when": "never"})


def test_a_home_that_nobody_has_is_a_name_of_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(
        '[adapters]\nsolver = "~nobody-of-that-name/solver"\n[verify]\ncalibration = "~nobody-of-that-name/c.toml"'
    )
    policy = load_policy(file)
    assert policy.adapters["solver"] == str(tmp_path / "~nobody-of-that-name/solver")
    assert policy.verify.calibration == str(tmp_path / "~nobody-of-that-name/c.toml")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"none\.toml: No such file.*--policy"):
        load_policy(tmp_path / "none.toml")


def test_what_ships_with_a_model_holds_where_the_file_says_nothing(tmp_path: Path) -> None:
    shipped, own = tmp_path / "models" / "policy.toml", tmp_path / "own.toml"
    shipped.parent.mkdir()
    shipped.write_text(
        '[adapters]\nverifier = "verifier"\n[verify]\nverifiers = ["self"]\ncalibration = "c.toml"\n[vote]\nwave = 2\n'
    )
    alone = load_policy(None, {"verify.threshold": 0.9}, shipped)
    assert alone.adapters == {"verifier": str(shipped.parent / "verifier")}
    assert alone.verify.calibration == str(shipped.parent / "c.toml") and alone.verify.threshold == 0.9
    own.write_text("[verify]\nthreshold = 0.8\n[adapters]\n")
    over = load_policy(own, {}, shipped)
    assert over.verify == Verify(threshold=0.8) and over.adapters == {} and over.vote.wave == 2


def test_other_verifiers_than_those_that_were_calibrated_drop_the_calibration(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text('[verify]\nverifiers = ["self"]\ncalibration = "c.toml"\n')
    assert load_policy(file, {"verify.verifiers": ["arithmetic"]}).verify.calibration is None


def test_files_are_found_from_where_the_policy_lies(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(f'[adapters]\nsolver = "s.gguf"\nrefiner = "{tmp_path / "r.gguf"}"\n')
    policy = load_policy(file, {"adapters.verifier": "v.gguf"})
    assert policy.adapters == {
        "solver": str(tmp_path / "s.gguf"),
        "refiner": str(tmp_path / "r.gguf"),
        "verifier": "v.gguf",
    }
