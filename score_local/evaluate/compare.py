"""Two reports side by side: paired where they hold the same problems, and what else is different between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from score_local.evaluate import metrics
from score_local.evaluate.metrics import Difference, Interval
from score_local.evaluate.report import RIGHT, Report, Result
from score_local.evaluate.words import NONE, markdown_table, number, p_value, percent
from score_local.policy import Policy


class Change(msgspec.Struct, frozen=True):
    """A policy in two reports: accuracies over all problems of each, tokens a problem, and B minus A.

    `paired` is over the `n` problems that both hold, with McNemar's p; where there are none `unpaired` is in points
    (Newcombe 1998, Statistics in Medicine 17, 873-890, method 10). A policy that a report does not have is None there.
    """

    name: str
    accuracy: tuple[float | None, float | None]
    generated: tuple[float | None, float | None]
    n: int
    paired: Difference | None
    unpaired: Interval | None


def compare(a: Report, b: Report) -> list[Change]:
    """Every policy of either, in the order of A, then of B."""
    shared, first, second = _shared(a, b), _sides(a), _sides(b)
    return [_change(name, first.get(name), second.get(name), shared) for name in dict.fromkeys([*first, *second])]


def text(a: Report, b: Report, names: tuple[str, str]) -> str:
    """As Markdown; `names` are what A and B are called."""
    counts = f"- problems: {len(a.problems)} in A, {len(b.problems)} in B, {len(_shared(a, b))} in both"
    others = (f"- another {what}" for what in _differences(a, b))
    lines = [f"# A: {names[0]}, B: {names[1]}", "", counts, *others, "", *markdown_table(_rows(compare(a, b)))]
    return "\n".join(lines) + "\n"


def _shared(a: Report, b: Report) -> list[str]:
    """The problems that both hold, the same in both."""
    return [key for key, content in a.problems.items() if b.problems.get(key) == content]


class _Side(NamedTuple):
    """A policy in one report; `right` by problem."""

    result: Result
    right: dict[str, bool]


def _sides(report: Report) -> dict[str, _Side]:
    def right(result: Result) -> dict[str, bool]:
        return {key: mark == RIGHT for key, mark in zip(report.problems, result.marks, strict=True)}

    return {result.name: _Side(result, right(result)) for result in report.results}


def _change(name: str, before: _Side | None, after: _Side | None, shared: Sequence[str]) -> Change:
    paired = unpaired = None
    if before and after:
        paired = metrics.paired_difference(*([side.right[key] for key in shared] for side in (before, after)))
        unpaired = None if shared else _independent(list(before.right.values()), list(after.right.values()))
    return Change(
        name=name,
        accuracy=(_accuracy(before), _accuracy(after)),
        generated=(_generated(before), _generated(after)),
        n=len(shared) if before and after else 0,
        paired=paired,
        unpaired=unpaired,
    )


def _independent(before: Sequence[bool], after: Sequence[bool]) -> Interval | None:
    """Of the difference of two independent proportions, in points: two Wilson intervals, squared and added."""
    first, second = metrics.wilson(sum(before), len(before)), metrics.wilson(sum(after), len(after))
    if first is None or second is None:
        return None
    p, q = sum(before) / len(before), sum(after) / len(after)
    low = q - p - math.hypot(q - second.low, first.high - p)
    high = q - p + math.hypot(second.high - q, p - first.low)
    return Interval(100 * low, 100 * high)


def _accuracy(side: _Side | None) -> float | None:
    return side.result.summary.final.share if side else None


def _generated(side: _Side | None) -> float | None:
    return side.result.summary.cost.generated_per_problem if side else None


def _differences(a: Report, b: Report) -> Iterator[str]:
    """What was not the same, as words."""
    first, second = a.setup, b.setup
    if first.dataset.sha256 != second.dataset.sha256:
        yield f"dataset: {first.dataset.name}, {second.dataset.name}"
    if first.model.sha256 != second.model.sha256:
        yield f"model: {first.model.name}, {second.model.name}"
    for what in ("context", "machine"):
        if getattr(first, what) != getattr(second, what):
            yield f"{what}: {getattr(first, what)}, {getattr(second, what)}"
    if first.prompts != second.prompts:
        yield "set of prompts"
    before, after = ({result.name: _asked_for(result) for result in report.results} for report in (a, b))
    changed = [name for name in before if name in after and before[name] != after[name]]
    if changed:
        yield f"policy under the name {', '.join(changed)}"


def _asked_for(result: Result) -> tuple[Policy, dict[str, str]]:
    """The policy without the places of files, and its adapters by their content: a fitted calibration lies in the
    folder of its evaluation."""
    policy = result.policy
    verify = msgspec.structs.replace(policy.verify, calibration=None)
    hashes = {role: adapter.sha256 for role, adapter in result.adapters.items()}
    return msgspec.structs.replace(policy, verify=verify, adapters={}), hashes


def _rows(changes: Sequence[Change]) -> Iterator[Sequence[str]]:
    yield "policy", "A", "B", "B - A", "95%", "p", "n", "generated, A", "generated, B"
    for change in changes:
        tokens = (number(value, 1) for value in change.generated)
        yield change.name, *map(percent, change.accuracy), *_moved(change), _pairing(change), *tokens


def _pairing(change: Change) -> str:
    return str(change.n) if change.paired else "not paired" if change.unpaired else NONE


def _moved(change: Change) -> tuple[str, str, str]:
    if change.paired:
        moved = change.paired
        return f"{moved.points:+.1f}", f"{moved.low:+.1f} to {moved.high:+.1f}", p_value(moved.p)
    before, after = change.accuracy
    if change.unpaired is None or before is None or after is None:
        return NONE, NONE, NONE
    return f"{100 * (after - before):+.1f}", f"{change.unpaired.low:+.1f} to {change.unpaired.high:+.1f}", NONE
