"""What solve and batch share: from flags to a policy, a model, adapters and an engine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from score_local import catalog
from score_local.adapter_files import AdapterInfo, check_role
from score_local.engine.judge import GuardedEngine
from score_local.engine.protocol import Engine
from score_local.errors import ModelError, PolicyError
from score_local.evaluate.calibration_file import differences, origin_of, read_calibration
from score_local.helpers import Helpers
from score_local.policy import Judge, Policy, load_policy
from score_local.roles import Role
from score_local.runs import Manifest, manifest_of
from score_local.sandbox.pool import Sandbox
from score_local.verifiers import prompts_of
from score_local.verifiers.calibration import Calibration, Temperature, Trust
from score_local.verifiers.combine import check_verifiers

if TYPE_CHECKING:
    from score_local.engine.batched import BatchedEngine

FLAGS = {
    "method": "method",
    "threshold": "verify.threshold",
    "refine": "refine.when",
    "rounds": "refine.rounds",
    "samples": "verify.samples",
    "max_tokens": "solve.max_tokens",
    "seed": "seed",
}
GATED = ("refine", "refine-then-vote", "budget")  # the methods with a gate: what lies behind it may do harm


def policy_of(options: argparse.Namespace, model: Path | None = None) -> Policy:
    """What ships with the model, the user's policy file over it, and the flags over both. Raises PolicyError."""
    overrides: dict[str, Any] = {
        key: getattr(options, flag) for flag, key in FLAGS.items() if getattr(options, flag) is not None
    }
    if options.verifiers is not None:
        overrides["verify.verifiers"] = [name.strip() for name in options.verifiers.split(",") if name.strip()]
    for spec in options.adapter:
        role, equals, path = spec.partition("=")
        if not equals or not path:
            raise PolicyError(f"{spec!r} is not ROLE=PATH", "--adapter", "For example: --adapter refiner=refiner.gguf")
        overrides[f"adapters.{role}"] = path
    shipped = catalog.shipped_policy(model) if model else None
    return load_policy(Path(options.policy) if options.policy else None, overrides, shipped)


def model_of(options: argparse.Namespace) -> Path:
    """The model file. On a terminal, offers to pull what is not here; otherwise never touches the network."""
    asking = sys.stdin.isatty() and sys.stderr.isatty()
    name = options.model or catalog.DEFAULT_MODEL
    return catalog.resolve(name, confirm_pull=_confirm if asking else None, progress=_tell_progress)


class Setting(NamedTuple):
    """All that a run is made of, checked, before anything heavy is loaded. `adapters` are GGUF files by role."""

    policy: Policy
    model: Path
    adapters: dict[str, Path]
    trust: Trust
    manifest: Manifest


def setting_of(options: argparse.Namespace) -> Setting:
    """From the flags. Raises PolicyError or ModelError."""
    policy_of(options)  # what is wrong with it is told before a model is looked for
    model = model_of(options)
    return setting_for(policy_of(options, model), model, options.context)


def setting_for(policy: Policy, model: Path, context: int, sha256: str | None = None) -> Setting:
    """What a calibration or a trained verifier knows fills in what the policy leaves open. `sha256`: the model's, where
    it is known already.

    Raises PolicyError or ModelError.
    """
    found = adapters_of(policy, model)
    trust = trust_of(policy, found)
    policy = trusting(policy, trust)
    adapters = {str(role): adapter.file for role, adapter in found.items()}
    manifest = manifest_of(model, adapters, policy, context, sha256)
    if trust.combined:
        _tell_differences(trust.combined, manifest)
    return Setting(policy, model, adapters, trust, manifest)


def adapters_of(policy: Policy, model: Path) -> dict[Role, AdapterInfo]:
    """The adapters by role, each checked against its role and the model. Raises ModelError."""
    if not policy.adapters:
        return {}
    header = catalog.read_header(model)
    found = {role: catalog.read_adapter(Path(path)) for role, path in policy.adapters.items()}
    for role, adapter in found.items():
        check_role(adapter, role)
        catalog.check_adapter_fits(adapter, header, accept_other_base=policy.other_base)
        _tell_other_prompts(adapter, role)
    return found


def _tell_other_prompts(adapter: AdapterInfo, role: Role) -> None:
    if adapter.card.prompts in (None, prompts_of(role)):
        return
    lost = "what starts it may not stand in these, and then it does nothing" if adapter.kind == "alora" else ""
    off = "its calibration may be off" if adapter.card.calibration else ""
    worse = "; ".join(filter(None, (lost, off))) or "it may do worse with these"
    told = f"the {role} {adapter.file.parent.name} was trained with other prompts: {worse}. Train it again"
    print(f"score-local: {told}", file=sys.stderr)


def trust_of(policy: Policy, adapters: Mapping[Role, AdapterInfo]) -> Trust:
    """What was learned about the policy's verifiers. Raises PolicyError or ModelError."""
    verifier, scale = adapters.get("verifier"), Temperature()
    if verifier:
        try:
            scale = msgspec.convert(verifier.card.calibration, type=Temperature)
        except msgspec.ValidationError as error:
            raise ModelError(f"calibration: {error}", str(verifier.file.parent), "Mend adapter.toml") from error
    path = policy.verify.calibration
    if path is None:
        return Trust(verifier=scale)
    combined = read_calibration(Path(path))
    check_verifiers(combined, policy.verify.verifiers, path)
    return Trust(combined, scale)


def trusting(policy: Policy, trust: Trust) -> Policy:
    """The policy with the threshold of what was learned, and with its gate shut where the safety rule forbids it."""
    verify = policy.verify
    alone = trust.verifier.threshold if verify.verifiers == ("self",) else None
    learned = trust.combined.threshold if trust.combined else alone
    if verify.threshold is None and learned is not None:
        verify = msgspec.structs.replace(verify, threshold=learned)
    policy = msgspec.structs.replace(policy, verify=verify)
    if trust.combined is None or trust.combined.refine or policy.method not in GATED:
        return policy
    # Refinements for a threshold that is chosen later: such a run is how another calibration is fitted.
    wanted = policy.method == "refine" and policy.refine.when == "always"
    note = '; they are written all the same, as refine.when is "always", and replace no answer' if wanted else ""
    print(f"score-local: {trust.combined.verdict}{note}", file=sys.stderr)
    return _written_alone(policy) if wanted else _shut(policy)


def _written_alone(policy: Policy) -> Policy:
    """The policy whose refinements replace no answer: no calibrated probability reaches 1."""
    return msgspec.structs.replace(policy, verify=msgspec.structs.replace(policy.verify, threshold=1.0))


def _shut(policy: Policy) -> Policy:
    """The policy whose first solutions stand: behind its gate nothing is refined, and nothing is voted on."""
    refine = msgspec.structs.replace(policy.refine, when="never")
    return msgspec.structs.replace(policy, method="refine", refine=refine)


def _tell_differences(calibration: Calibration, manifest: Manifest) -> None:
    changed = differences(calibration, origin_of(manifest))
    if changed:
        what = f"the calibration was fitted with another {', '.join(changed)}: its probabilities may be off"
        print(f"score-local: {what}. Calibrate again for these", file=sys.stderr)


def check_judge(policy: Policy) -> None:
    """Raises PolicyError where the policy asks a judge and names none."""
    if "model" in policy.verify.verifiers and policy.judge is None:
        raise PolicyError("the verifier 'model' needs a judge", "verify.verifiers", "Add [judge] with model = ...")


def helpers_of(policy: Policy) -> Helpers:
    """The sandbox and the judge, where the policy asks them. Close them. Raises ModelError or MemoryLimit."""
    check_judge(policy)
    asked = policy.verify.verifiers
    judge = judge_of(policy.judge) if policy.judge and "model" in asked else None
    return Helpers(judge, Sandbox() if "program" in asked else None)


def judge_of(judge: Judge) -> Engine:
    """A second GGUF beside the first, or a server. Raises ModelError or MemoryLimit."""
    if judge.url is not None:
        from score_local.engine import openai

        server = openai.open_engine(judge.url, judge.model, capacity=judge.parallel, key_variable=judge.key_variable)
        return GuardedEngine(server, limit=judge.seconds)
    from score_local.engine.llama import open_engine

    return GuardedEngine(open_engine(catalog.resolve(judge.model), streams=judge.parallel), limit=judge.seconds)


def width_of(policy: Policy) -> int:
    """The most requests that one problem can have side by side."""
    samples = policy.verify.samples if "consistency" in policy.verify.verifiers else 1
    programs = policy.verify.programs + 1 if "program" in policy.verify.verifiers else 1
    votes = {"refine": 1, "budget": 1, "majority": policy.vote.wave, "refine-then-vote": policy.vote.wave}
    return max(samples, programs, votes.get(policy.method, policy.vote.samples))


def engine_of(options: argparse.Namespace, setting: Setting, parallel: int) -> BatchedEngine:
    """Loads the model; `parallel` sequences at most. Raises ModelError or MemoryLimit."""
    return open_model(options, setting.model, setting.adapters, parallel)


def open_model(options: argparse.Namespace, model: Path, adapters: Mapping[str, Path], parallel: int) -> BatchedEngine:
    """The same for a model that stands alone."""
    from score_local.engine.llama import open_engine

    return open_engine(model, streams=parallel, context=options.context, threads=options.threads, adapters=adapters)


def _tell_progress(done: int, total: int) -> None:
    share = f" of {total / 2**20:,.0f}" if total else ""
    print(f"\r{done / 2**20:,.0f}{share} MB", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _confirm(entry: catalog.Entry) -> bool:
    size = f" ({entry.bytes / 2**20:,.0f} MB)" if entry.bytes else ""
    print(
        f"{entry.title} is not on this machine. Pull it from {entry.repo}{size}? [y/N] ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    return sys.stdin.readline().strip().lower() in ("y", "yes")
