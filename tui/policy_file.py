"""What of a policy the settings panel shows, and how it gets into the policy file: comments and other keys stay.

Knows nothing of the panel's widgets; `load_policy` alone says what is valid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError

from score_local import catalog
from score_local.append_only import write_error
from score_local.commands import setup
from score_local.errors import PolicyError, UserError
from score_local.policy import Judge, Policy, Refine, VerifierName, load_policy
from score_local.runs import write_whole
from score_local.trace import Method

Value = str | float | int | bool | tuple[str, ...] | None
Kind = Literal["one", "some", "whole", "real", "text", "switch"]


class Setting(NamedTuple):
    """A key of the policy. `kind`: one or some of `options`, a whole or a real number, a text, on or off.

    An empty number or text takes the key out of the file. `hint` stands in an empty field.
    """

    key: str
    label: str
    kind: Kind
    options: tuple[str, ...] = ()
    hint: str = "the default"


ADDRESS = re.compile(r"https?://(?P<key>[^/@\s]+@)?(?:[\w.-]+|\[[\da-fA-F:]+\])(?::\d+)?(?:/\S*)?")
KEY_VARIABLE = Judge(model="").key_variable
SETTINGS = {
    "Method": (Setting("method", "what is done", "one", get_args(Method)),),
    "Verdict": (
        Setting("verify.verifiers", "verifiers", "some", get_args(VerifierName)),
        Setting("verify.threshold", "threshold on P(incorrect)", "real"),
        Setting("verify.samples", "samples for consistency", "whole"),
        Setting("verify.programs", "programs beside the greedy one", "whole"),
        Setting("verify.calibration", "calibration file", "text"),
    ),
    "Judge, for the verifier model": (
        Setting("judge.model", "model", "text", hint="a GGUF or a name, or the server's name"),
        Setting("judge.url", "server", "text", hint=f"http://HOST/v1; key: ${KEY_VARIABLE}"),
    ),
    "Refinement": (
        Setting("refine.when", "when it is written", "one", get_args(get_type_hints(Refine)["when"])),
        Setting("refine.rounds", "rounds", "whole"),
    ),
    "Sampling": (
        Setting("seed", "seed", "whole"),
        Setting("thinking", "let reasoning models think", "switch"),
        Setting("solve.temperature", "temperature (0: greedy)", "real"),
        Setting("solve.top_k", "top-k", "whole"),
        Setting("solve.top_p", "top-p", "real"),
        Setting("solve.min_p", "min-p", "real"),
        Setting("solve.max_tokens", "longest solution, tokens", "whole"),
        Setting("refine.sampling.max_tokens", "longest refinement, tokens", "whole"),
        Setting("verify.sampling.temperature", "temperature of samples", "real"),
        Setting("vote.samples", "solutions that vote", "whole"),
    ),
}


def value_of(policy: Policy, key: str) -> Value:
    """What a dotted key stands at; None where its section is not there."""
    found: Any = policy
    for name in key.split("."):
        found = None if found is None else getattr(found, name)
    return found  # type: ignore[no-any-return]


def parsed(setting: Setting, text: str) -> Value:
    """What was typed for a number or a text; None for nothing. Raises PolicyError for what is no number."""
    text = text.strip()
    if setting.kind == "text" or not text:
        return text or None
    try:
        return int(text) if setting.kind == "whole" else float(text)
    except ValueError as error:
        wanted = "a whole number" if setting.kind == "whole" else "a number"
        raise PolicyError(f"{text!r} is not {wanted}", setting.key, "Mend it, or empty it for the default") from error


def save_policy(path: Path, values: Mapping[str, Value], shipped: Path | None = None) -> Policy:
    """Writes what has changed into the file, which may not exist yet; the policy that it now holds.

    `shipped` is the policy file of the model, which holds where the person's says nothing.
    Raises PolicyError, and leaves the file as it was, where a value is refused; RunError where it cannot be written.
    """
    before = load_policy(path if path.exists() else None, shipped=shipped)
    document = _read(path)
    for key, value in _changes(before, values).items():
        _begin(document, key.partition(".")[0], before)
        _put(document, key.split("."), value)
    _drop_empty_judge(document)
    draft = path.with_name(path.name + ".draft")
    write_whole(draft, tomlkit.dumps(document).encode())
    try:
        policy = load_policy(draft, shipped=shipped)
        setup.check_judge(policy)
        _check_judge(policy, before)
        setup.trust_of(policy, {})
    except UserError as error:
        draft.unlink()
        where = str(path) if error.where == str(draft) else error.where
        raise PolicyError(error.what, where, error.next) from error
    try:
        draft.replace(path)
    except OSError as error:
        draft.unlink()
        raise write_error(path, error) from error
    return policy


def _changes(before: Policy, values: Mapping[str, Value]) -> dict[str, Value]:
    """A calibration goes with the verifiers that it was fitted for."""
    asked = {key: _as_ordered(value, value_of(before, key)) for key, value in values.items()}
    changed = {key: value for key, value in asked.items() if value != value_of(before, key)}
    if "verify.verifiers" in changed and before.verify.calibration:
        return {"verify.calibration": None, **changed}
    return changed


def _as_ordered(names: Value, before: Value) -> Value:
    """Names that were there keep their order, and new ones follow: the panel knows which are chosen, not in what order.
    Anything else is as it was given."""
    if not (isinstance(names, tuple) and isinstance(before, tuple)):
        return names
    kept = [name for name in before if name in names]
    return (*kept, *(name for name in names if name not in before))


def _drop_empty_judge(document: tomlkit.TOMLDocument) -> None:
    """A judge with neither model nor server is none, whatever else is said of it."""
    judge = document.get("judge")
    if isinstance(judge, dict) and not judge.keys() & {"model", "url"}:
        del document["judge"]


def _check_judge(policy: Policy, before: Policy) -> None:
    """Of a judge that is asked, or is another: whether it can be there. Raises UserError; no server is asked."""
    judge = policy.judge
    if judge is None or (judge == before.judge and "model" not in policy.verify.verifiers):
        return
    if judge.url is None:
        catalog.resolve(judge.model)
        return
    address = ADDRESS.fullmatch(judge.url)
    if address is None:
        raise PolicyError("is no server's address", "judge.url", "For example http://127.0.0.1:8080/v1")
    if address["key"]:
        raise PolicyError("a key does not belong into the address", "judge.url", f"Put it into ${judge.key_variable}")


def _read(path: Path) -> tomlkit.TOMLDocument:
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(path, error) from error
        return tomlkit.document()
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8"))
    except TOMLKitError as error:
        raise PolicyError(f"cannot be changed here: {error}", str(path), "Change it in an editor") from error


def _begin(document: tomlkit.TOMLDocument, section: str, policy: Policy) -> None:
    """A section of the person's hides all of the shipped one, so that it begins with what that says."""
    said, default = (msgspec.to_builtins(one)[section] for one in (policy, Policy()))
    if section not in document and isinstance(said, dict):
        document[section] = _differing(said, default or {})


def _differing(said: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """What is not as by default, in tables of tables."""
    parts = {
        key: _differing(value, default.get(key) or {}) if isinstance(value, dict) else value
        for key, value in said.items()
    }
    return {key: value for key, value in parts.items() if value not in (default.get(key), None, {})}


def _put(table: Any, keys: list[str], value: Value) -> None:
    for key in keys[:-1]:
        if key not in table:
            table[key] = tomlkit.table()
        table = table[key]
    if value is None:
        table.pop(keys[-1], None)
    else:
        table[keys[-1]] = list(value) if isinstance(value, tuple) else value
