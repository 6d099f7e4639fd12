"""The policies of an evaluation: shipped ones, one's own over them, and what a calibration is fitted from."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from score_local.errors import PolicyError
from score_local.evaluate.policy_sets import policies_of, shipped
from score_local.policy import Policy


def load(tmp_path: Path, text: str, **overrides: object) -> Policy:
    (tmp_path / "mine.toml").write_text(text)
    ((name, policy),) = policies_of([str(tmp_path / "mine.toml")], overrides)
    assert name == "mine"
    return policy


def test_every_shipped_policy_can_be_used() -> None:
    found = policies_of(["*"])
    assert [one.name for one in found] == shipped() and len(found) >= 15
    assert {one.policy.method for one in found} == {
        "refine", "majority", "weighted-vote", "best-of-n", "refine-then-vote", "budget"
    }  # fmt: skip
    by_name = {one.name: one.policy for one in found}
    assert [by_name[f"majority-{k}"].vote.samples for k in range(1, 9)] == list(range(1, 9))
    assert by_name["refine-self"].verify.gate == 0.5 and by_name["refine-always"].verify.gate == 0.0


def test_names_patterns_and_files(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("seed = 7\n")
    found = policies_of(["majority-[12]", "solve", "majority-2", str(tmp_path / "own.toml")])
    assert [one.name for one in found] == ["majority-1", "majority-2", "solve", "own"]
    assert found[-1].policy.seed == 7
    assert {one.policy.seed for one in policies_of(["*"], {"seed": 3})} == {3}


def test_a_policy_is_laid_over_its_base_key_by_key(tmp_path: Path) -> None:
    policy = load(tmp_path, 'base = "refine-calibrated"\n[verify]\nsamples = 9\n[vote]\nsamples = 3\n')
    base = next(one.policy for one in policies_of(["refine-calibrated"]))
    assert policy.verify.samples == 9 and policy.vote.samples == 3
    assert policy.verify.verifiers == base.verify.verifiers and policy.verify.calibration == "fit"


def test_the_order_of_keys_does_not_matter(tmp_path: Path) -> None:
    policy = load(tmp_path, '[verify]\ncalibration = "fit"\nverifiers = ["self"]\n')
    assert policy.verify.calibration == "fit" and policy.verify.verifiers == ("self",)


def test_files_are_found_from_where_the_policy_lies(tmp_path: Path) -> None:
    text = '[adapters]\nrefiner = "a/refiner.gguf"\nverifier = "/v.gguf"\n[verify]\ncalibration = "c.toml"\n'
    policy = load(tmp_path, text)
    assert policy.adapters == {"refiner": str(tmp_path / "a/refiner.gguf"), "verifier": "/v.gguf"}
    assert policy.verify.calibration == str(tmp_path / "c.toml")


SOURCES = [
    ('base = "refine-calibrated"\n[verify]\nthreshold = 0.7\n[refine]\nrounds = 3\n', "refine"),
    ('base = "weighted-vote"\n', "refine"),
    ('base = "best-of-n"\n[vote]\nsamples = 3\n', "refine"),
    ('base = "refine-then-vote"\n', "refine-then-vote"),
    ('base = "budget"\n', "budget"),
]


@pytest.mark.parametrize(("text", "method"), SOURCES)
def test_a_calibration_is_fitted_where_all_speak_and_every_gate_is_open(text: str, method: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    (mine,) = policies_of([str(tmp_path / "mine.toml")])
    source = mine.source
    assert mine.fitted and source.verify.calibration is None and source.verify.threshold is None
    assert (source.method, source.refine.when, source.refine.rounds) == (method, "always", 1)
    assert source.verify.verifiers == mine.policy.verify.verifiers


VOTES = [
    ('base = "calibrated-vote"\n', 0.0),
    ('base = "budget"\n[refine]\nwhen = "never"\n[vote]\nrefinement = 2.0\n', 0.0),
    ('base = "refine-then-vote"\n[vote]\nrefinement = 2.0\n', 2.0),
]


@pytest.mark.parametrize(("text", "weight"), VOTES)
def test_a_vote_that_never_refines_is_fitted_on_a_vote_without_refinements(
    text: str, weight: float, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(text)
    (mine,) = policies_of([str(tmp_path / "mine.toml")])
    assert mine.source.vote == msgspec.structs.replace(mine.policy.vote, refinement=weight)


def test_policies_that_need_the_same_probability_share_their_source() -> None:
    found = {one.name: one.source for one in policies_of(["refine-calibrated", "weighted-vote", "best-of-n"])}
    assert found["weighted-vote"] == found["best-of-n"] == found["refine-calibrated"]


REFUSED = [
    ("seed = ", "not a TOML file"),
    ('base = "mine"', "there is no base 'mine'"),
    ("base = 3", "there is no base 3"),
    ('[verify]\nverifiers = ["nobody"]', "Invalid enum value 'nobody'"),
    ("[vote]\nsample = 3", "unknown field `sample`"),
    ("vote = 3", "Expected `object`"),
]


@pytest.mark.parametrize(("text", "told"), REFUSED)
def test_what_cannot_be_used_is_told_with_the_file(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=f"mine.toml: .*{told}"):
        load(tmp_path, text)
