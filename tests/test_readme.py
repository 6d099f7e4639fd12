"""What the README says of policy files is so."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec

from score_local.policy import DEFAULT_THRESHOLD, Policy

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

README = Path(__file__).parent.parent / "README.md"


def policy_text() -> str:
    found = re.search(r"```toml\n(method = .*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


def test_the_policy_shown_is_the_defaults() -> None:
    shown, default = msgspec.convert(tomllib.loads(policy_text()), Policy), Policy()
    verify = msgspec.structs.replace(default.verify, threshold=DEFAULT_THRESHOLD)
    assert shown == msgspec.structs.replace(default, verify=verify)


def test_what_is_commented_out_may_be_said() -> None:
    text = re.sub(r"^# (?=\[|\w+ = )", "", policy_text(), flags=re.MULTILINE)
    policy = msgspec.convert(tomllib.loads(text), Policy)
    assert policy.judge and policy.judge.url and policy.verify.calibration and policy.adapters
