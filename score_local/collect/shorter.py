"""Shorter questions out of worked ones: what the first steps come to is stated, and only the last ones are asked.

GSM8K has next to no question of one step, and a programmer of a small model that learns from it alone writes two
calculations for everything. Of "A carton holds 12 eggs. Ana buys 5 cartons. She breaks 4 eggs. How many are whole?"
this makes "Ana buys 60 eggs. She breaks 4 eggs. How many are whole?", by the rationale's own words: a sentence whose
numbers only the stated steps take makes room for what they come to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from score_local.collect.rationales import Worked, steps_of

_CALCULATION = re.compile(r"[\s\d.,$%+\-*/x×÷()]*=\s*(?P<sign>\$?)\s*<<[^<>]*=(?P<value>[\d.,]+)>>\s*\$?(?P=value)")
_SENTENCE = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")
_TITLES = ("Mr.", "Mrs.", "Ms.", "Dr.", "St.")  # where no sentence ends
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SUM = re.compile(r"[=<>*/×÷+]|\d\s*x\s*\d")
_WORDS = 4  # of the shortest sentence


def shorter(worked: Worked, calculations: int) -> Iterator[Worked]:
    """The question with its first steps stated, as often as that can be said, where it has up to `calculations` + 1
    steps, a calculation each. They keep its id: nothing may be trained on one and measured with another."""
    steps = steps_of(worked)
    if len(steps) > calculations + 1 or any(step.count("<<") != 1 for step in steps):
        return
    for stated in range(1, len(steps)):
        question = _with_stated(worked.problem.question, steps[:stated], steps[stated:])
        if question:
            yield Worked(msgspec.structs.replace(worked.problem, question=question), "\n".join(steps[stated:]))


def _with_stated(question: str, first: Sequence[str], last: Sequence[str]) -> str | None:
    """None where a step is no sentence, or no question stands at the end."""
    facts = [fact for step in first if (fact := _statement(step))]
    *told, asked = _SENTENCE.split(question.strip())
    if len(facts) < len(first) or not asked.endswith("?") or any(sentence.endswith(_TITLES) for sentence in told):
        return None
    later = _taken(last)
    needed = [not _spent(sentence, _taken(first), later) for sentence in told]
    place = needed.index(False) if False in needed else len(told)
    before, behind = ([told[i] for i in part if needed[i]] for part in (range(place), range(place, len(told))))
    return " ".join([*before, *facts, *behind, asked])


def _spent(sentence: str, first: set[str], later: set[str]) -> bool:
    """Whether the sentence gives numbers, and only the first steps take them."""
    numbers = set(_NUMBER.findall(sentence))
    return bool(numbers) and numbers <= first - later


def _statement(step: str) -> str | None:
    """The step with its value in place of the calculation; None where that is no sentence."""
    said = " ".join(_CALCULATION.sub(lambda found: f" {found['sign']}{found['value']}", step).split())
    said = said if said.endswith("!") else said.rstrip(".,;: ") + "."
    whole = len(said.split()) >= _WORDS and said[0].isupper() and not _SUM.search(said)
    return said if whole else None


def _taken(steps: Sequence[str]) -> set[str]:
    """The numbers that the calculations of some steps take."""
    return {number for step in steps for terms in re.findall(r"<<(.*?)=", step) for number in _NUMBER.findall(terms)}
