"""Votes over the answers of one problem. Pure: no engine, no policy.

Answers are grouped by equality of their kind; what could not be compared is another answer. What a program computed
counts for the answer that it rounds to. Of groups with the same weight the one that spoke first wins, and the greedy
solution speaks first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from score_local import answers
from score_local.problem import AnswerKind
from score_local.trace import Candidate, Trace


def chosen(trace: Trace) -> str | None:
    """What the candidates of a trace elect; the first attempt's answer where there are none."""
    if not trace.candidates:
        return trace.initial.answer if trace.initial else None
    return best(trace.candidates) if trace.method == "best-of-n" else winner(trace.candidates, trace.kind)


def winner(candidates: Sequence[Candidate], kind: AnswerKind) -> str | None:
    """The answer with the most weight; None where no candidate holds an answer."""
    return max(tally(candidates, kind), key=lambda entry: entry[1], default=(None, 0.0))[0]


def best(candidates: Sequence[Candidate]) -> str | None:
    """The answer of the one candidate with the most weight."""
    holding = [candidate for candidate in candidates if candidate.answer is not None]
    return max(holding, key=lambda candidate: candidate.weight).answer if holding else None


def tally(candidates: Sequence[Candidate], kind: AnswerKind) -> list[tuple[str, float]]:
    """Each answer that was given and the sum of its weights, in the order of their first appearance."""
    groups: dict[str, list[int]] = {}  # of the places of those that give it
    for place in _written_first(candidates):
        answer = str(candidates[place].answer)
        compare = answers.agrees if candidates[place].source == "program" else answers.equal
        same = (known for known in groups if compare(answer, known, kind) is True)
        groups.setdefault(answer if answer in groups else next(same, answer), []).append(place)
    ordered = sorted(groups.items(), key=lambda group: min(group[1]))
    return [(answer, sum(candidates[place].weight for place in places)) for answer, places in ordered]


def _written_first(candidates: Sequence[Candidate]) -> list[int]:
    """The places of those that hold an answer. Programs come last, as an answer that one rounds to may be written after
    it has spoken."""
    holding = [place for place, candidate in enumerate(candidates) if candidate.answer is not None]
    return sorted(holding, key=lambda place: candidates[place].source == "program")


def settled(candidates: Sequence[Candidate], kind: AnswerKind, to_come: float) -> bool:
    """Whether votes of the weight `to_come` can no longer change the winner."""
    first, second = _two_heaviest(candidates, kind)
    return first - second > to_come


def confidence(candidates: Sequence[Candidate], kind: AnswerKind) -> float:
    """How likely the leader would stay it for ever: P(its share > the runner-up's) under a uniform Beta prior, votes
    rounded to whole ones (Adaptive-Consistency, Aggarwal et al. 2023, arXiv 2305.11860)."""
    first, second = (round(weight) for weight in _two_heaviest(candidates, kind))
    n = first + second + 1
    return float(sum(math.comb(n, k) for k in range(first + 1)) / 2**n)


def _two_heaviest(candidates: Sequence[Candidate], kind: AnswerKind) -> tuple[float, float]:
    first, second, *_ = sorted((weight for _, weight in [*tally(candidates, kind), ("", 0.0), ("", 0.0)]), reverse=True)
    return first, second
