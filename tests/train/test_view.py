from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("peft")

from score_local.train.curves import CURVES, write_curves
from score_local.train.recipe import Optimiser
from score_local.train.training import Evaluated, Event, Started, Stepped, learning_rate, samples_of_step
from score_local.train.view import LiveView, PlainView, described

START = Started(step=0, device="cpu", precision="bfloat16", kind="alora", factors=1_000, batch=32, micro_batch=8)
EVENTS: list[Event] = [
    START,
    Evaluated(0, 0.5, 0.9, 20, best=False, seconds=1.0),
    Stepped(1, 1.5, 1e-4, 3.0, 300, 2.0, 2**30),
    Stepped(2, 0.5, 5e-5, 3.0, 300, 2.0, 2**30),
    Evaluated(2, 0.75, 0.6, 20, best=True, seconds=1.0),
]


def test_lines_tell_loss_speed_memory_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainView("auroc") as view:
        for event in EVENTS:
            view.tell(event, 62)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == (
        "step 2/62, loss 1.000, rate 5.0e-05, tokens/s 150, MB 1,024, minutes left 3, auroc 0.750, dev loss 0.600, "
        "best 0.750 at step 2"
    )


def test_where_four_bits_are_not_to_be_had_it_is_said() -> None:
    assert described(START).startswith(
        "on the CPU, where 4 bits gain nothing: plain activated LoRA over a bfloat16 base"
    )


def test_a_panel_is_drawn_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with LiveView("auroc") as view:
        for event in EVENTS:
            view.tell(event, 62)
    out, err = capsys.readouterr()
    assert out == "" and "minutes left" in err and "0.750 at step 2" in err


def test_the_curves_are_a_picture(tmp_path: Path) -> None:
    write_curves(tmp_path, EVENTS, "auroc")
    assert (tmp_path / CURVES).read_bytes().startswith(b"\x89PNG")


def test_the_rate_rises_then_falls_to_nothing_and_is_never_none() -> None:
    rates = [learning_rate(Optimiser(learning_rate=1.0, warmup=0.2), step, 20) for step in range(20)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True) and 0 < rates[-1] < 0.02


def test_an_epoch_sees_every_sample_once_each_in_an_order_of_its_own() -> None:
    samples = list(range(10))
    epochs = [[s for step in range(3 * e, 3 * e + 3) for s in samples_of_step(samples, step, 4, 0)] for e in range(3)]  # type: ignore[arg-type, misc]
    assert [sorted(epoch) for epoch in epochs] == [samples] * 3  # type: ignore[type-var, comparison-overlap]
    assert len({tuple(epoch) for epoch in epochs}) == 3
