"""What an evaluation found: every number of SCORE's evaluation for each policy, on the same problems, and all that it
takes to make it again. From traces alone; how a report is shown is not known here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from score_local import votes
from score_local.engine.protocol import Usage
from score_local.errors import RunError
from score_local.evaluate import metrics
from score_local.evaluate.doubt import Doubt, doubt_of
from score_local.evaluate.equal_tokens import EqualTokens, equal_tokens
from score_local.evaluate.gate import GatePoint
from score_local.evaluate.summary import Summary, summarize
from score_local.policy import Policy
from score_local.problem import Problem
from score_local.runs import FileHash, Manifest
from score_local.trace import Attempt, Round, Trace
from score_local.verifiers.calibration import Quality

REPORT = "report.json"
Refinements = dict[tuple[bytes, str], Attempt]
RIGHT, WRONG, UNKNOWN, FAILED = "+", "-", "?", "!"


class Setup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was run, on what, by what: enough to run it again. The data set's SHA-256 is over its problems as they were
    read; `fitted` of them were kept apart for calibrations, and `seen` because a calibration that a policy brings along
    was fitted on them."""

    dataset: FileHash
    problems: int
    fitted: int
    seen: int = 0
    model: FileHash
    context: int
    prompts: str
    command: str
    machine: str
    software: dict[str, str]
    date: str


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A calibration that was fitted: on how many first solutions, what the safety rule said of it, what its
    probabilities are worth on the problems of the report, and what each threshold does to those, votes included."""

    n: int
    threshold: float
    refine: bool
    verdict: str
    quality: Quality
    gate: tuple[GatePoint, ...]


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A policy. `marks` has a character a problem, in the report's order: + right, - wrong, ? no answer, ! failed.

    `same_tokens` is self-consistency at its tokens; None for the rungs of that ladder themselves. The oracle of the
    summary opens the right gates: the first solution, or what stands behind its gate, is right. That is the refinement,
    whichever policy had it written, or what is elected there; so a shut gate does not lower the ceiling.
    """

    name: str
    policy: Policy
    adapters: dict[str, FileHash]
    summary: Summary
    same_tokens: EqualTokens | None
    doubt: Doubt | None
    marks: str


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`problems` maps the id of each to a hash of its question and gold answer: reports are paired by both."""

    version: Literal[1] = 1
    setup: Setup
    fits: dict[str, Fit]
    results: tuple[Result, ...]
    problems: dict[str, str]


class PolicyRun(NamedTuple):
    """What a policy did: its traces in the order of the problems and, where its calibration was fitted, those of the
    same policy with every gate open."""

    manifest: Manifest
    traces: Sequence[Trace]
    opened: Sequence[Trace] = ()


def report_of(
    setup: Setup, fits: Mapping[str, Fit], problems: Sequence[Problem], runs: Mapping[str, PolicyRun]
) -> Report:
    """`runs` are by the policies' names. Policies that generate least come first."""
    names = sorted(runs, key=lambda name: (_spent(runs[name].traces).generated, name))
    rungs = {name: runs[name].traces for name in names if _on_ladder(runs[name].manifest.policy)}
    refined = _refinements(runs.values())
    return Report(
        setup=setup,
        fits=dict(fits),
        results=tuple(_result(name, runs[name], rungs, refined) for name in names),
        problems={problem.id: _fingerprint(problem) for problem in problems},
    )


def read_report(folder: Path) -> Report:
    """Raises RunError where there is none, or it cannot be read."""
    path = folder / REPORT
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except FileNotFoundError as error:
        raise RunError(
            "there is no report here", str(folder), "Make one: score-local eval DATASET --out DIR"
        ) from error
    except (OSError, msgspec.DecodeError) as error:
        next_ = "Write it again: score-local eval ... --resume"
        raise RunError(f"cannot be read: {error}", str(path), next_) from error


def summary_of(policy: Policy, traces: Sequence[Trace]) -> Summary:
    """Its seconds are those that its requests spent in a sequence, beside others: policies run together."""
    return summarize(traces, threshold=policy.verify.gate, wall_seconds=_spent(traces).seconds)


def _result(name: str, run: PolicyRun, rungs: Mapping[str, Sequence[Trace]], refined: Refinements) -> Result:
    policy, behind = run.manifest.policy, _behind_gates(run, refined)
    summary = summary_of(policy, run.traces)
    known = [_as_oracle_sees(trace, attempt) for trace, attempt in zip(run.traces, behind, strict=True)]
    oracle = summary_of(policy, known).oracle
    gain, possible = summary.final.count - summary.initial.count, oracle.ceiling.count - summary.initial.count
    oracle = msgspec.structs.replace(oracle, recovered=metrics.ratio(gain, possible))
    return Result(
        name=name,
        policy=policy,
        adapters=run.manifest.adapters,
        summary=msgspec.structs.replace(summary, oracle=oracle),
        same_tokens=None if name in rungs else equal_tokens(run.traces, rungs),
        doubt=doubt_of(run.traces, behind),
        marks="".join(map(_mark, run.traces)),
    )


def _behind_gates(run: PolicyRun, refined: Refinements) -> list[Attempt | None]:
    """What an open gate puts in the place of each first solution: its refinement, whichever policy had it written, or
    the answer that is elected there; None where it is not known. What stood behind the policy's own gate comes first:
    where its asking ended early, refiner and vote knew less than with every verifier asked."""
    if not _votes_behind_gate(run):
        refiner = _refiner(run.manifest, run.manifest.policy.verify.verifiers)
        return [_refinement(trace) or refined.get((refiner, trace.id)) for trace in run.traces]
    opened = {trace.id: trace for trace in run.opened}
    found = [trace if trace.candidates else opened.get(trace.id, trace) for trace in run.traces]
    return [Attempt("", votes.chosen(trace)) if trace.candidates else None for trace in found]


def _votes_behind_gate(run: PolicyRun) -> bool:
    """Also where the safety rule shut its gate and made another method of it: what it was fitted from votes."""
    methods = {run.manifest.policy.method, *(trace.method for trace in run.opened)}
    return not methods.isdisjoint(("refine-then-vote", "budget"))


def _refinements(runs: Iterable[PolicyRun]) -> Refinements:
    """The refinement of each first solution, by who wrote it and the problem."""
    return {
        (_refiner(run.manifest, [signal.verifier for signal in trace.rounds[0].signals]), trace.id): refinement
        for run in runs
        for trace in (*run.traces, *run.opened)
        if (refinement := _refinement(trace))
    }


def _refinement(trace: Trace) -> Attempt | None:
    return trace.rounds[0].refinement if trace.rounds else None


def _refiner(manifest: Manifest, asked: Sequence[str]) -> bytes:
    """The same for policies whose first solutions and refinements are the same, these verifiers having been `asked`:
    the programs that a hint is taken from are those that were written for the verdict."""
    policy, verify = manifest.policy, manifest.policy.verify
    adapters = {role: manifest.adapters[role].sha256 for role in ("solver", "refiner") if role in manifest.adapters}
    hinted = policy.refine.hint == "program" and "program" in asked
    programs = (verify.programs, verify.sampling) if hinted else None
    return msgspec.json.encode((policy.seed, policy.thinking, policy.solve, policy.refine.sampling, programs, adapters))


def _as_oracle_sees(trace: Trace, behind: Attempt | None) -> Trace:
    """The first solution and what stands behind its gate, whether that was opened or not."""
    if trace.initial is None:
        return trace
    rounds = (Round(None, (), refinement=behind),)
    return msgspec.structs.replace(
        trace, rounds=rounds, answer=trace.initial_answer, final_correct=trace.initial_correct
    )


def _on_ladder(policy: Policy) -> bool:
    """Self-consistency, and one greedy solution, which is where it begins; with the model as it is."""
    alone = policy.method == "refine" and policy.refine.when == "never" and not policy.verify.verifiers
    return (alone or policy.method == "majority") and not policy.adapters


def _mark(trace: Trace) -> str:
    if trace.status == "failed":
        return FAILED
    if trace.answer is None:
        return UNKNOWN
    return RIGHT if trace.final_correct else WRONG


def _spent(traces: Sequence[Trace]) -> Usage:
    return sum((trace.usage for trace in traces), Usage())


def _fingerprint(problem: Problem) -> str:
    content = msgspec.json.encode((problem.question, problem.answer, problem.choices, problem.kind))
    return hashlib.sha256(content).hexdigest()[:16]
