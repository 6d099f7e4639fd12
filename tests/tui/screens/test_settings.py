"""The settings panel, by its keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Select, SelectionList, Switch

from score_local import catalog_entries
from score_local.policy import Policy, load_policy
from tests.tui.host import STILL_OPEN, drive, services, until
from tests.tui.snapshots import assert_looks_as_before, screen_text
from tui.screens.settings import SettingsScreen

# Given, so that a change of the defaults changes no picture.
POLICY = load_policy(
    None,
    {
        "verify.verifiers": ["self", "arithmetic", "consistency"],
        "verify.programs": 0,
        "verify.samples": 4,
        "verify.sampling.temperature": 0.7,
        "solve.max_tokens": 512,
        "refine.sampling.max_tokens": 768,
        "vote.samples": 8,
    },
)


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SettingsScreen:
    monkeypatch.chdir(tmp_path)
    made = services(tmp_path, policy=POLICY)
    made.policy_path = Path("policy.toml")
    return SettingsScreen(made)


@pytest.mark.parametrize("size", [(80, 24), (140, 45)])
def test_it_looks_as_before(screen: SettingsScreen, size: tuple[int, int]) -> None:
    async def act(pilot: Pilot[None]) -> None:
        assert_looks_as_before(pilot.app, f"settings-{size[0]}")

    drive(screen, act, size)


def test_what_is_changed_is_saved_and_given_back(screen: SettingsScreen) -> None:
    async def act(pilot: Pilot[None]) -> None:
        screen.query_one("#verify-threshold").focus()
        await pilot.press(*"0.75")
        screen.query_one("#verify-verifiers").focus()
        await pilot.press("space", "down", "down", "down", "space")
        screen.query_one("#thinking").focus()
        await pilot.press("space")
        screen.query_one("#method").focus()
        await pilot.press("enter", "down", "enter")
        await pilot.press("ctrl+s")

    policy = drive(screen, act)
    assert isinstance(policy, Policy) and policy == load_policy(Path("policy.toml"))
    assert (policy.verify.threshold, policy.thinking, policy.method) == (0.75, True, "majority")
    assert set(policy.verify.verifiers) == {"consistency", "arithmetic", "program"}


@pytest.mark.parametrize("seed", ["", "7"], ids=["unchanged", "the seed"])
def test_what_ships_with_the_model_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: str) -> None:
    """Its verifiers stand in another order than the panel's."""
    monkeypatch.setenv("SCORE_LOCAL_MODELS", str(tmp_path))
    entry = catalog_entries.find_entry("qwen2.5-coder-0.5b")
    entry.path.write_bytes(b"GGUF")
    made = services(tmp_path)
    made.model, made.policy = entry.path, made.policy_for(entry.path)
    assert made.policy.verify.calibration, "it ships with one"
    panel = SettingsScreen(made)

    async def act(pilot: Pilot[None]) -> None:
        if seed:
            panel.query_one("#seed", Input).value = seed
        await pilot.press("ctrl+s")

    policy = drive(panel, act)
    assert policy.verify == made.policy.verify
    assert made.policy_path.read_text() == (f"seed = {seed}\n" if seed else "")


@pytest.mark.parametrize(
    ("field", "typed", "what"),
    [("#verify-threshold", "2", "verify.threshold"), ("#seed", "many", "not a whole number"), ("#seed", "-1", "seed")],
)
def test_a_mistake_is_told_and_can_be_mended(screen: SettingsScreen, field: str, typed: str, what: str) -> None:
    async def act(pilot: Pilot[None]) -> None:
        screen.query_one(field, Input).focus().value = ""
        await pilot.press(*typed, "ctrl+s")
        await until(pilot, lambda: what in screen_text(pilot.app))
        screen.query_one(field, Input).value = "1"
        await pilot.press("ctrl+s")

    assert isinstance(drive(screen, act), Policy)


def test_a_judge_is_named_and_its_key_is_nowhere(screen: SettingsScreen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORE_LOCAL_API_KEY", "sesame")

    async def act(pilot: Pilot[None]) -> None:
        screen.query_one("#judge-url", Input).focus()
        await pilot.pause()
        assert "key: $SCORE_LOCAL_API_KEY" in screen_text(pilot.app)
        screen.query_one("#judge-model", Input).value = "qwen"
        screen.query_one("#judge-url", Input).value = "localhost"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "is no server's address (judge.url)" in screen_text(pilot.app))
        assert "sesame" not in screen_text(pilot.app)
        screen.query_one("#judge-url", Input).value = "http://localhost:8080/v1"
        await pilot.press("ctrl+s")

    policy = drive(screen, act)
    assert policy.judge and (policy.judge.model, policy.judge.url) == ("qwen", "http://localhost:8080/v1")
    assert "sesame" not in Path("policy.toml").read_text()


def test_escape_writes_nothing(screen: SettingsScreen) -> None:
    async def act(pilot: Pilot[None]) -> None:
        screen.query_one("#seed", Input).value = "9"
        await pilot.press("escape")

    assert drive(screen, act) is None
    assert not Path("policy.toml").exists()


def test_the_panel_shows_the_policy(tmp_path: Path) -> None:
    policy = load_policy(None, {"verify.verifiers": ["program"], "refine.when": "always", "thinking": True})
    shown = SettingsScreen(services(tmp_path, policy=policy))

    async def act(pilot: Pilot[None]) -> None:
        assert shown.query_one("#verify-verifiers", SelectionList).selected == ["program"]
        assert shown.query_one("#refine-when", Select).value == "always"
        assert shown.query_one("#thinking", Switch).value is True

    assert drive(shown, act) is STILL_OPEN
