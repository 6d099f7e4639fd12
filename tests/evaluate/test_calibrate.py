"""Calibration on made-up runs: what is learned, what is refused, and that run time believes what was reported."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from score_local import cli
from score_local.errors import PolicyError, RunError
from score_local.evaluate.calibrate import Choices, calibrate
from score_local.evaluate.calibration_file import differences, read_calibration, write_calibration
from score_local.evaluate.calibration_report import Report
from score_local.evaluate.calibration_rows import rows_of, to_fit_on, to_report_on
from score_local.evaluate.cascade import stage_probabilities, stops
from score_local.policy import Policy
from score_local.runs import manifest_of
from score_local.trace import Attempt, Signal, Trace
from score_local.verifiers.calibration import Calibration
from score_local.verifiers.combine import calibrated, cheap_first, check_verifiers, undecided
from tests.evaluate.calibrations import ORIGIN, traces


@pytest.fixture(scope="module")
def run() -> list[Trace]:
    return traces(600)


@pytest.fixture(scope="module")
def fitted(run: list[Trace]) -> tuple[Calibration, Report]:
    return calibrate(run, ORIGIN, "run")


def test_all_signals_together_are_better_than_any_alone(fitted: tuple[Calibration, Report]) -> None:
    calibration, report = fitted
    together = calibration.quality.auroc
    assert together and together.value > 0.95
    for signal in report.signals:
        assert signal.alone.auroc and signal.alone.auroc.value < together.value
    assert calibration.quality.calibration_error and calibration.quality.calibration_error.value < 0.06


def test_signals_are_asked_in_the_order_of_their_cost(fitted: tuple[Calibration, Report]) -> None:
    calibration, _ = fitted
    assert calibration.signals == ("cheap", "dear")
    assert cheap_first(calibration, ["dear", "oracle", "cheap"]) == ("oracle", "cheap", "dear")


def test_the_report_is_on_problems_that_nothing_was_fitted_on(run: list[Trace]) -> None:
    fit = {t.id for t in run if to_fit_on(t.id, "half")}
    report = {t.id for t in run if to_report_on(t.id, "half")}
    assert not fit & report and len(fit) + len(report) == len(run) and 250 < len(fit) < 350
    calibration, _ = calibrate(run, ORIGIN, "run")
    swapped = [t if t.id in fit else msgspec.structs.replace(t, rounds=run[0].rounds) for t in run]
    again, _ = calibrate(swapped, ORIGIN, "run")
    assert again.stages == calibration.stages and again.quality != calibration.quality


def test_run_time_believes_what_was_reported(run: list[Trace], fitted: tuple[Calibration, Report]) -> None:
    calibration, _ = fitted
    rows = rows_of(run, "run")
    ps = stage_probabilities(calibration.stages, rows)
    for row, p, end in zip(rows, ps.T, stops(rows, calibration.stages, ps), strict=True):
        asked: list[Signal] = []
        while len(asked) < len(calibration.signals) and undecided(calibration, row.attempt, asked):
            asked.append(row.signal(calibration.signals[len(asked)]))
        assert len(asked) == end
        assert calibrated(calibration, row.attempt, asked) == pytest.approx(p[end])


def test_a_strong_cheap_signal_saves_the_dear_one() -> None:
    run = traces(600, cheap=5.0, dear=5.0)
    calibration, report = calibrate(run, ORIGIN, "run")
    ended = [stage.ended for stage in report.stages]
    assert ended[-1] < 0.1 * sum(ended), "the dear signal is asked for the few that are undecided"
    full = report.decided.final.share
    assert full is not None and report.decided_by_cascade.final.share == pytest.approx(full, abs=0.02)
    assert calibration.stages[-1].low == calibration.stages[-1].high == calibration.threshold


def test_a_silent_signal_has_a_weight_of_its_own_and_one_not_asked_has_none(
    fitted: tuple[Calibration, Report],
) -> None:
    calibration, _ = fitted
    attempt = Attempt("", "1", mean_logprob=-0.25)
    cheap = Signal("cheap", 0.5)
    alone = calibrated(calibration, attempt, [cheap])
    silent = calibrated(calibration, attempt, [cheap, Signal("dear", None)])
    sure = calibrated(calibration, attempt, [cheap, Signal("dear", 0.99)])
    assert 0.3 < alone < 0.7 and 0.3 < silent < 0.8 and sure > 0.9


def test_the_oracle_decides_alone_and_ends_the_asking(fitted: tuple[Calibration, Report]) -> None:
    calibration, _ = fitted
    attempt = Attempt("", "1")
    assert calibrated(calibration, attempt, [Signal("oracle", 0.0), Signal("cheap", 0.99)]) == 0.0
    assert not undecided(calibration, attempt, [Signal("oracle", 0.0)])
    assert not undecided(calibration, Attempt("", None), []), "an attempt without an answer is refined whatever is said"


def test_the_safety_rule_turns_refinement_off() -> None:
    harmful, _ = calibrate(traces(600, cheap=0.0, dear=0.0, fixes=0.0, breaks=0.9), ORIGIN, "run")
    assert not harmful.refine and "refinement is off" in harmful.verdict
    useful, _ = calibrate(traces(600), ORIGIN, "run")
    assert useful.refine and 0.5 <= useful.threshold < 1.0


def test_the_safety_rule_decides_on_what_is_fitted_and_tells_what_is_reported() -> None:
    """Two halves of two runs: in one the gate repairs, in the other it breaks whatever it opens."""
    useful, harmful = traces(600), traces(600, cheap=0.0, dear=0.0, fixes=0.0, breaks=0.9)
    own = calibrate(useful, ORIGIN, "run")[0]
    mixed = [a if to_fit_on(a.id, "half") else b for a, b in zip(useful, harmful, strict=True)]
    calibration, report = calibrate(mixed, ORIGIN, "run")
    assert calibration.refine and (calibration.threshold, calibration.stages) == (own.threshold, own.stages)
    on, told = calibration.verdict.split("; ")
    assert on == own.verdict.split("; ")[0]
    assert told.startswith("on the other half, at p >=") and told.endswith("which is harm")
    assert report.decided.broken.count > report.decided.fixed.count == 0, "the harm is in the report"
    swapped, _ = calibrate(mixed, ORIGIN, "run", Choices(fit_on="other-half"))
    assert not swapped.refine and "which is harm" not in swapped.verdict


@pytest.mark.parametrize("seed", [0, 3])
def test_no_problem_is_reported_at_a_threshold_that_was_chosen_on_it(seed: int) -> None:
    """Fitted on all: the gate of the report is the one of the safety rule, and not the best that there is for all."""
    run = traces(120, cheap=0.3, dear=0.5, fixes=0.5, breaks=0.4, seed=seed)
    calibration, report = calibrate(run, ORIGIN, "run", Choices(fit_on="all"))
    fixed, broken = report.decided_by_cascade.fixed.count, report.decided_by_cascade.broken.count
    assert f"out of fold the gate broke {broken} right answers and fixed {fixed} wrong ones" in calibration.verdict
    assert "on the same problems" not in calibration.verdict
    chosen = next(point for point in report.gate if point.threshold == calibration.threshold)
    assert chosen.gain > fixed - broken and chosen.right > report.decided.final.count


# (what is wrong with the run, the words that say so)
REFUSALS = [
    (traces(24), "needs at least 10 right and 10 incorrect"),
    ([t for t in traces(300) if t.initial_correct], "add problems with incorrect solutions"),
    ([msgspec.structs.replace(t, gold=None) for t in traces(20)], "has a gold answer and a solution"),
    (
        [
            msgspec.structs.replace(t, rounds=(msgspec.structs.replace(t.rounds[0], refinement=None),))
            for t in traces(9)
        ],
        "--refine always",
    ),
]


@pytest.mark.parametrize(("run", "told"), REFUSALS)
def test_too_little_to_learn_from_is_refused_with_what_is_needed(run: list[Trace], told: str) -> None:
    with pytest.raises(RunError, match=told):
        calibrate(run, ORIGIN, "runs/dev")


def test_a_signal_that_never_spoke_is_refused(run: list[Trace]) -> None:
    with pytest.raises(PolicyError, match="'program' said nothing"):
        calibrate(run, ORIGIN, "run", Choices(signals=("program",)))


def test_a_run_in_which_the_asking_ended_early_is_refused(run: list[Trace]) -> None:
    first = run[0]
    only_cheap = msgspec.structs.replace(first.rounds[0], signals=first.rounds[0].signals[1:])
    with pytest.raises(RunError, match=r"'dear' was not asked in 1 of"):
        calibrate([msgspec.structs.replace(first, rounds=(only_cheap,)), *run[1:]], ORIGIN, "run")


def test_the_file_holds_all_of_it(fitted: tuple[Calibration, Report], tmp_path: Path) -> None:
    write_calibration(tmp_path / "c.toml", fitted[0])
    assert read_calibration(tmp_path / "c.toml") == fitted[0]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("threshold = 0", "threshold = 9", "threshold"),
        ("clip = 0.01", "clip = 0.9", "clip is 0.9"),
        ('name = "logprob"', 'name = "mood"', "unknown term 'mood'"),
        ("[fitted]", "[fitted", "not a TOML file"),
        ("refine = true", "refine = true\nrefinery = 1", "refinery"),
    ],
)
def test_a_damaged_file_is_refused(
    old: str, new: str, told: str, fitted: tuple[Calibration, Report], tmp_path: Path
) -> None:
    path = tmp_path / "c.toml"
    write_calibration(path, fitted[0])
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(PolicyError, match=told):
        read_calibration(path)


def test_what_changed_since_is_told(fitted: tuple[Calibration, Report]) -> None:
    other = msgspec.structs.replace(ORIGIN, prompts="2" * 64, adapters={"solver": "3" * 64})
    assert differences(fitted[0], ORIGIN) == [] and differences(fitted[0], other) == ["prompts", "adapters"]


NEWER = msgspec.structs.replace(ORIGIN, programs=4, tokens=512, thinking=False, judge="j.gguf")


@pytest.mark.parametrize(
    ("changed", "signals", "told"),
    [
        ({"programs": 0}, ("program",), ["number of programs"]),
        ({"programs": 0, "samples": 9}, ("self",), []),  # of verifiers that the calibration does not hear
        ({"samples": 9}, ("consistency",), ["number of samples"]),
        ({"judge": None}, ("model",), ["judge"]),
        ({"tokens": 64, "thinking": True}, ("self",), ["longest solution", "thinking"]),
        ({"adapters": {"solver": "3" * 64}}, ("self",), ["adapters"]),
        ({"adapters": {"verifier": "3" * 64}}, ("self",), ["adapters"]),
        ({"adapters": {"verifier": "3" * 64}}, ("program",), []),
        ({"adapters": {"programmer": "3" * 64}}, ("self", "program"), ["adapters"]),
        ({"adapters": {"programmer": "3" * 64}}, ("self",), []),
        ({"adapters": {"refiner": "3" * 64}}, ("self", "program"), []),  # comes after the verdict
    ],
)
def test_what_matters_to_its_verifiers_is_compared(
    changed: dict[str, Any], signals: tuple[str, ...], told: list[str]
) -> None:
    now, calibration = msgspec.structs.replace(NEWER, **changed), cast(Any, SimpleNamespace(signals=signals))
    calibration.origin = NEWER
    assert differences(calibration, now) == told and differences(calibration, NEWER) == []
    calibration.origin = ORIGIN
    assert differences(calibration, NEWER) == [], "what an older calibration does not tell is not compared"


def test_the_origin_is_kept(fitted: tuple[Calibration, Report], tmp_path: Path) -> None:
    written = msgspec.structs.replace(fitted[0], origin=NEWER)
    write_calibration(tmp_path / "c.toml", written)
    assert read_calibration(tmp_path / "c.toml") == written


@pytest.mark.parametrize("asked", [("dear",), ("cheap", "arithmetic"), ("arithmetic",)])
def test_verifiers_that_were_not_calibrated_are_refused(
    asked: tuple[str, ...], fitted: tuple[Calibration, Report]
) -> None:
    check_verifiers(fitted[0], ("oracle", "cheap"), "c.toml")
    with pytest.raises(PolicyError, match="it was fitted for cheap, dear"):
        check_verifiers(fitted[0], asked, "c.toml")


def test_the_same_run_gives_the_same_calibration_in_any_order(run: list[Trace]) -> None:
    assert calibrate(run[::-1], ORIGIN, "run")[0] == calibrate(run, ORIGIN, "run")[0]


def test_probabilities_are_of_the_right_shape(run: list[Trace], fitted: tuple[Calibration, Report]) -> None:
    ps = stage_probabilities(fitted[0].stages, rows_of(run, "run"))
    assert ps.shape == (3, len(run)) and np.all((ps > 0) & (ps < 1))


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("none/calibration.toml", "none/calibration.toml: its folder does not exist"),
        ("folder.toml", "folder.toml: is a folder"),
        ("run/calibration.json", "--out: 'calibration.json' does not end in .toml"),
    ],
)
def test_an_impossible_place_is_refused(
    out: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(traces(600))
    Path("folder.toml").mkdir()
    before = {file.name: file.read_bytes() for file in Path("run").iterdir()}
    assert cli.main(["calibrate", "run", "--out", out]) == 2
    assert told in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in Path("run").iterdir()} == before


def test_a_run_of_the_fitted_half_alone_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run([trace for trace in traces(600) if to_fit_on(trace.id, "half")])
    assert cli.main(["calibrate", "run"]) == 2
    assert "nothing is left to report on. Give --fit-on all" in capsys.readouterr().err
    assert not list(Path().glob("calibration*"))


def test_a_calibration_may_lie_in_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(traces(600))
    assert cli.main(["calibrate", "run", "--out", "run/calibration.toml"]) == 0
    assert read_calibration(Path("run/calibration.toml")).refine and Path("run/calibration-report.json").is_file()


@pytest.mark.parametrize("own", ["dev", "run/manifest", "run/summary"])
def test_a_file_that_has_its_name_is_not_written_over(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(traces(600))
    file = Path(f"{own}.json")
    if not file.exists():
        file.write_text("[]")
    before = file.read_bytes()
    assert cli.main(["calibrate", "run", "--out", f"{own}.toml"]) == 0
    assert file.read_bytes() == before


def write_run(rows: list[Trace]) -> None:
    model = Path("model.gguf")
    model.write_bytes(b"GGUF")
    Path("run").mkdir()
    Path("run/manifest.json").write_bytes(msgspec.json.encode(manifest_of(model, {}, Policy(), 2048)))
    Path("run/traces.jsonl").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    Path("run/summary.json").write_text("{}")
