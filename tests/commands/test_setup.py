"""What a calibration makes of a policy: its threshold, and a shut gate where the safety rule forbids an open one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from score_local import prompts
from score_local.commands.setup import adapters_of, trusting
from score_local.errors import ModelError
from score_local.evaluate.calibrate import calibrate
from score_local.loop import opens
from score_local.policy import Policy, Refine, Verify
from score_local.trace import Attempt, Method, Signal
from score_local.verifiers.calibration import Calibration, Trust
from score_local.verifiers.combine import calibrated
from tests.evaluate.calibrations import ORIGIN, traces
from tests.gguf_files import write_adapter, write_model


@pytest.fixture(scope="module")
def harmful() -> Calibration:
    return calibrate(traces(600, cheap=0.0, dear=0.0, fixes=0.0, breaks=0.9), ORIGIN, "run")[0]


def policy(method: Method, when: str) -> Policy:
    return Policy(method=method, refine=Refine(when=when))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "when"),
    [
        ("refine", "gated"),
        ("refine", "never"),
        *((method, when) for method in ("refine-then-vote", "budget") for when in ("gated", "always", "never")),
    ],
)
def test_where_the_gate_does_harm_it_is_shut_and_the_reason_told(
    method: Method, when: str, harmful: Calibration, capsys: pytest.CaptureFixture[str]
) -> None:
    made = trusting(policy(method, when), Trust(harmful))
    assert (made.method, made.refine.when) == ("refine", "never")
    assert made.verify.threshold == harmful.threshold
    assert capsys.readouterr().err == f"score-local: {harmful.verdict}\n"


def test_refinements_for_a_later_threshold_are_still_written(
    harmful: Calibration, capsys: pytest.CaptureFixture[str]
) -> None:
    made = trusting(policy("refine", "always"), Trust(harmful))
    assert (made.method, made.refine.when) == ("refine", "always")
    told = f'{harmful.verdict}; they are written all the same, as refine.when is "always", and replace no answer'
    assert capsys.readouterr().err == f"score-local: {told}\n"


@pytest.mark.parametrize("threshold", [None, 0.2])
def test_such_refinements_replace_no_answer(threshold: float | None, harmful: Calibration) -> None:
    """However sure the calibrated verifiers are, and whatever threshold was asked for."""
    asked = Policy(verify=Verify(threshold=threshold), refine=Refine(when="always"))
    gate = trusting(asked, Trust(harmful)).verify.gate
    surest = [Signal(name, 1.0) for name in harmful.signals]
    assert not opens(gate, calibrated(harmful, Attempt("", "1"), surest), "1")


@pytest.mark.parametrize("method", ["majority", "weighted-vote", "best-of-n"])
def test_a_method_without_a_gate_is_left_alone(
    method: Method, harmful: Calibration, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trusting(policy(method, "never"), Trust(harmful)).method == method
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("when", ["gated", "always", "never"])
def test_a_gate_that_does_no_harm_stays(when: str, harmful: Calibration, capsys: pytest.CaptureFixture[str]) -> None:
    asked = policy("refine-then-vote", when)
    made = trusting(asked, Trust(msgspec.structs.replace(harmful, refine=True)))
    assert (made.method, made.refine) == (asked.method, asked.refine) and capsys.readouterr().err == ""


def adapter(folder: Path, card: str, invocation: list[int] | None = None) -> str:
    folder.mkdir()
    (folder / "adapter.toml").write_text(card)
    write_adapter(folder / "lora.gguf", invocation=invocation)
    return str(folder)


def test_an_adapter_is_given_for_the_role_that_it_was_trained_for(tmp_path: Path) -> None:
    model, verifier = write_model(tmp_path / "base.gguf"), adapter(tmp_path / "made", 'role = "verifier"\n')
    assert adapters_of(Policy(adapters={"verifier": verifier}), model)["verifier"].card.role == "verifier"
    for given in (verifier, f"{verifier}/lora.gguf"):
        with pytest.raises(ModelError, match="trained as the verifier, and is given as the refiner"):
            adapters_of(Policy(adapters={"refiner": given}), model)


OWN = f'prompts = "{prompts.fingerprint()}"\n'
# (card, invocation, what is told)
OTHER_PROMPTS = [
    ("", [1, 5], ""),
    (OWN, [1, 5], ""),
    ('prompts = "of before"\n', None, "trained with other prompts: it may do worse with these. Train it again"),
    (
        'prompts = "of before"\n',
        [1, 5],
        "other prompts: what starts it may not stand in these, and then it does nothing",
    ),
    ('prompts = "of before"\n[calibration]\nbias = 0.1\n', None, "other prompts: its calibration may be off"),
]


@pytest.mark.parametrize(("card", "invocation", "told"), OTHER_PROMPTS)
def test_an_adapter_that_was_trained_with_other_prompts_is_told(
    card: str, invocation: list[int] | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = adapter(tmp_path / "made", card, invocation)
    adapters_of(Policy(adapters={"verifier": given}), write_model(tmp_path / "base.gguf"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == bool(told) and told in "".join(lines)
