"""The built wheel holds what the checkout holds: prompts, samples, catalogue; and it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PROBE = """
import json, score_local, models
from importlib import resources
from score_local import catalog, prompts
from score_local.collect import conversations
from score_local.evaluate.policy_sets import policies_of
from score_local.problem_files import read_problems
sample = resources.files("score_local.samples") / "problems.jsonl"
print(json.dumps({
    "where": [score_local.__file__, models.__file__],
    "prompts": prompts.fingerprint(),
    "asks": conversations.fingerprint(),
    "models": sorted(catalog.load_catalog()),
    "problems": len(read_problems(str(sample)).problems),
    "policies": len(policies_of(["*"])),
    "shipped": sum(p.name.endswith(".toml") for p in (resources.files("models") / "policies").iterdir()),
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel, built from this checkout, is unpacked into."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    subprocess.run([*pip, str(folder / "site"), str(wheel)], check=True, capture_output=True)
    return folder / "site"


def run(installed: Path, *arguments: str) -> str:
    """Runs Python with the unpacked wheel before everything else, away from the checkout."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=installed.parent, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_wheel_carries_its_data(installed: Path) -> None:
    from score_local import catalog, prompts
    from score_local.collect import conversations

    found = json.loads(run(installed, "-c", PROBE))
    assert all(Path(where).is_relative_to(installed) for where in found["where"])
    assert found["prompts"] == prompts.fingerprint() and found["problems"] == 40
    assert found["asks"] == conversations.fingerprint()
    assert found["policies"] == len(list((ROOT / "score_local/evaluate/policies").glob("*.toml"))) > 15
    assert found["models"] == sorted(catalog.load_catalog())
    assert found["shipped"] == len(list((ROOT / "models/policies").glob("*.toml"))) > 0


def test_the_wheel_leaves_the_tests_out(installed: Path) -> None:
    assert not (installed / "tests").exists()


def test_the_wheel_runs(installed: Path) -> None:
    assert "score-local batch" in run(installed, "-m", "score_local", "--help")
    assert "smollm2-135m" in run(installed, "-m", "score_local", "models", "list")


def test_the_wheel_carries_the_app(installed: Path) -> None:
    kinds = (".py", ".tcss", ".md", ".txt")
    here, carried = (
        {path.relative_to(root) for path in (root / "tui").rglob("*") if path.suffix in kinds}
        for root in (ROOT, installed)
    )
    assert Path("tui/app.tcss") in here and here == carried
