"""The stages of a collection, in their order. Four ask the model: they give a loop for each reply that is missing.
The others compute their file from those before it, the same each time.

    sample -> label -> pair -> critique -> rules -> prompt (asks, then judges) -> program -> export

`program` hangs on nothing before it, and nothing but export on it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal, TypeVar, get_args

import msgspec

from score_local import answers, prompts
from score_local.collect import conversations, first_step, rules
from score_local.collect.critiques import feedback_of
from score_local.collect.records import (
    Corrected,
    Correction,
    Critique,
    Judged,
    Label,
    Labelled,
    Pair,
    PairTexts,
    Program,
    Reply,
    Sample,
)
from score_local.collect.settings import Settings
from score_local.collect.solutions import steps_of
from score_local.engine.protocol import Generate, Message, Usage
from score_local.engine.steps import Steps, ask_all, generate
from score_local.errors import EngineError
from score_local.problem import Problem
from score_local.prompts import Conversation
from score_local.sandbox.protocol import Ran, RunProgram
from score_local.verifiers import program
from score_local.verifiers.draws import seed_of

StageName = Literal["sample", "label", "pair", "critique", "rules", "prompt", "program", "export"]
STAGES: tuple[StageName, ...] = get_args(StageName)
R = TypeVar("R", bound=Reply)
Loops = Iterable[tuple[str, Steps[R]]]


def has_gold(problem: Problem) -> bool:
    """Whether samples can be labelled: there is a gold answer, and it can be read and compared."""
    return answers.equal(problem.answer, problem.answer, problem.kind) is True


# -- sample -------------------------------------------------------------------------------------------------------


def sample_loops(
    problems: Iterable[Problem], settings: Settings, done: Mapping[str, Sample], adapter: str | None = None
) -> Loops[Sample]:
    """A loop for each sample that is missing or failed; the samples of a problem come one after another, so that they
    share its prompt. `adapter` is the engine's name of the one that solves."""
    for problem in filter(has_gold, problems):
        for index in range(settings.samples):
            if is_missing(done.get(key := sample_id(problem, index))):
                yield key, _sample(problem, index, settings, adapter)


def sample_id(problem: Problem, index: int) -> str:
    return f"{problem.id}/{index}"


def is_missing(reply: Reply | None) -> bool:
    return reply is None or reply.error != ""


def _sample(problem: Problem, index: int, settings: Settings, adapter: str | None) -> Steps[Sample]:
    key, seed = sample_id(problem, index), seed_of(settings.seed, problem.id, index)
    sampling = settings.sampling.sampling(seed)
    asked = Generate(prompts.solve_messages(problem), adapter=adapter, phase="sample", sampling=sampling)
    return (yield from _drawn(Sample(id=key, problem=problem.id, index=index, seed=seed), asked))


def _drawn(sample: Sample, asked: Generate) -> Steps[Sample]:
    """The sample with the reply to what is asked, or with why there is none."""
    try:
        reply = yield from generate(asked)
    except EngineError as error:
        return msgspec.structs.replace(sample, error=str(error))
    return msgspec.structs.replace(sample, text=reply.text, finish=reply.finish, usage=reply.usage)


# -- label --------------------------------------------------------------------------------------------------------


def labels_of(problems: Iterable[Problem], samples: Mapping[str, Sample]) -> list[Labelled]:
    """A label for each sample, by problem and index, in whatever order the samples ended."""
    by_problem: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples.values():
        by_problem[sample.problem].append(sample)
    return [
        label(problem, sample)
        for problem in problems
        for sample in sorted(by_problem[problem.id], key=lambda sample: sample.index)
    ]


def label(problem: Problem, sample: Sample) -> Labelled:
    """Failure and doubt never count as correct: what cannot be read or compared is unknown."""
    answer = answers.extract(sample.text, problem.kind, problem.choices)
    return Labelled(
        id=sample.id,
        problem=problem.id,
        label="failed" if sample.error else _label(problem, answer),
        answer=answer,
        arithmetic_step=rules.arithmetic_step(sample.text),
    )


def _label(problem: Problem, answer: str | None) -> Label:
    right = answers.is_right(answer, problem.answer, problem.kind)
    return "unknown" if right is None else "correct" if right else "incorrect"


# -- pair ---------------------------------------------------------------------------------------------------------


def pairs_of(labels: Iterable[Labelled], samples: Mapping[str, Sample], settings: Settings) -> list[Pair]:
    """At most `settings.pairs` a problem, of the problems whose samples are all there. Every wrong solution gets a
    right one before any gets a second, and those with different answers come first."""
    by_problem: dict[str, list[Labelled]] = defaultdict(list)
    for labelled in labels:
        by_problem[labelled.problem].append(labelled)
    whole = (group for group in by_problem.values() if len(group) >= settings.samples)
    return [pair for group in whole for pair in islice(_pairs(group, samples), settings.pairs)]


def _pairs(group: Sequence[Labelled], samples: Mapping[str, Sample]) -> Iterator[Pair]:
    whole = [row for row in group if samples[row.id].finish == "stop" and steps_of(samples[row.id].text)]
    wrong = _various(_distinct([row for row in whole if row.label == "incorrect"], samples))
    correct = _distinct([row for row in whole if row.label == "correct"], samples)
    correct.sort(key=lambda row: row.arithmetic_step is not None)  # a hint whose arithmetic holds is the better one
    for turn in range(len(correct)):
        for place, row in enumerate(wrong):
            hint = correct[(place + turn) % len(correct)]
            key = f"{row.id}+{samples[hint.id].index}"
            yield Pair(id=key, problem=row.problem, wrong=row.id, correct=hint.id)


def _distinct(rows: Iterable[Labelled], samples: Mapping[str, Sample]) -> list[Labelled]:
    """Of samples with the same text, the first."""
    first: dict[str, Labelled] = {}
    for row in rows:
        first.setdefault(samples[row.id].text.strip(), row)
    return list(first.values())


def _various(rows: Sequence[Labelled]) -> list[Labelled]:
    """The first with each answer, then the second with each, and so on."""
    seen: Counter[str | None] = Counter()
    ranked: list[tuple[int, Labelled]] = []
    for row in rows:
        ranked.append((seen[row.answer], row))
        seen[row.answer] += 1
    return [row for _, row in sorted(ranked, key=lambda entry: entry[0])]


def texts_of(
    pairs: Iterable[Pair],
    problems: Mapping[str, Problem],
    samples: Mapping[str, Sample],
    labels: Mapping[str, Labelled],
) -> dict[str, PairTexts]:
    right = _sound(labels.values(), samples)
    return {
        pair.id: PairTexts(
            problem=problems[pair.problem],
            wrong=samples[pair.wrong],
            correct=samples[pair.correct],
            wrong_answer=labels[pair.wrong].answer or "",
            right=tuple(right[pair.problem]),
        )
        for pair in pairs
    }


def _sound(labels: Iterable[Labelled], samples: Mapping[str, Sample]) -> dict[str, list[Sample]]:
    """By problem, the right samples whose equations hold."""
    found: dict[str, list[Sample]] = defaultdict(list)
    for row in labels:
        if row.label == "correct" and row.arithmetic_step is None:
            found[row.problem].append(samples[row.id])
    return found


# -- critique and rules -------------------------------------------------------------------------------------------


def critique_loops(texts: Mapping[str, PairTexts], settings: Settings, done: Mapping[str, Critique]) -> Loops[Critique]:
    """A loop for each pair whose critique is missing or failed."""
    critique = first_step.critique if settings.feedback_on == "first" else critique_every_step
    return ((key, critique(key, pair, settings)) for key, pair in texts.items() if is_missing(done.get(key)))


def critique_every_step(key: str, pair: PairTexts, settings: Settings) -> Steps[Critique]:
    """Hands the wrong solution over one step at a time. Asked for all steps at once, as SCORE asks larger models, a
    0.5B model copied the hint's steps in place of the solution's, 12 times of 12."""
    problem, feedback, usage, finish = pair.problem, list[str](), Usage(), "stop"
    task = conversations.critique_task(
        problem, steps_of(pair.wrong.text), pair.wrong_answer, steps_of(pair.correct.text)
    )
    conversation = conversations.critique_opening(problem.kind)
    for turn in conversations.critique_turns(task):
        conversation = (*conversation, turn)
        request = Generate(conversation, phase="refine", sampling=settings.critique.sampling(settings.seed))
        try:
            reply = yield from generate(request)
        except EngineError as error:
            return Critique(id=key, error=str(error), usage=usage)
        conversation = prompts.answered(conversation, reply)
        feedback.append(feedback_of(reply.text))
        usage += reply.usage
        if reply.finish != "stop":
            finish = reply.finish
            break
    return Critique(id=key, feedback=tuple(feedback), finish=finish, usage=usage)


def judge_critiques(texts: Mapping[str, PairTexts], critiques: Mapping[str, Critique]) -> list[Judged]:
    """The rule filter, over the critiques that there are."""
    return [
        rules.judge_critique(rules.Critiqued(pair.problem, pair.wrong.text, pair.correct.text, critiques[key]))
        for key, pair in texts.items()
        if key in critiques
    ]


def wrong_steps(texts: Mapping[str, PairTexts], judged: Iterable[Judged]) -> dict[str, int]:
    """The first wrong step of a sample, by the first of its critiques that broke no rule."""
    found: dict[str, int] = {}
    for row in judged:
        if row.critique_step is not None and row.id in texts:
            found.setdefault(texts[row.id].wrong.id, row.critique_step)
    return found


# -- prompt -------------------------------------------------------------------------------------------------------


def correction_loops(
    texts: Mapping[str, PairTexts], judged: Iterable[Judged], settings: Settings, done: Mapping[str, Correction]
) -> Loops[Correction]:
    """A loop for each critique that broke no rule and whose correction is missing or failed."""
    correct = first_step.correct if settings.feedback_on == "first" else correct_after_critique
    for row in judged:
        if row.reason == "" and row.id in texts and is_missing(done.get(row.id)):
            yield row.id, correct(row, texts[row.id], settings)


def correct_after_critique(row: Judged, pair: PairTexts, settings: Settings) -> Steps[Correction]:
    asked = conversations.correct_messages(solved(pair.problem, pair.wrong), row.critique)
    request = Generate(asked, phase="refine", sampling=settings.correction.sampling(settings.seed))
    try:
        reply = yield from generate(request)
    except EngineError as error:
        return Correction(id=row.id, error=str(error))
    return Correction(id=row.id, text=reply.text, finish=reply.finish, usage=reply.usage)


def solved(problem: Problem, sample: Sample) -> Conversation:
    """The solve conversation that ends with a sample."""
    return (*prompts.solve_messages(problem), Message("assistant", sample.text))


def judge_corrections(
    texts: Mapping[str, PairTexts], judged: Iterable[Judged], corrections: Mapping[str, Correction]
) -> list[Corrected]:
    """The prompt filter, over the corrections that there are."""
    return [
        rules.judge_correction(rules.Attempted(texts[row.id].problem, corrections[row.id]))
        for row in judged
        if row.reason == "" and row.id in texts and row.id in corrections
    ]


# -- program ------------------------------------------------------------------------------------------------------


def program_loops(problems: Iterable[Problem], settings: Settings, done: Mapping[str, Program]) -> Loops[Program]:
    """A loop for each program that is missing or failed, of the problems whose answer can be computed."""
    for problem in problems:
        if has_gold(problem) and program.computable(problem):
            for index in range(settings.programs):
                if is_missing(done.get(key := sample_id(problem, index))):
                    yield key, _program(problem, index, settings)


def _program(problem: Problem, index: int, settings: Settings) -> Steps[Program]:
    """All are drawn: at run time most are."""
    key, seed = sample_id(problem, index), seed_of(settings.seed, problem.id, index)
    asked = program.program_request(problem, settings.sampling.sampling(seed), None, "sample")
    drawn = yield from _drawn(Sample(id=key, problem=problem.id, index=index, seed=seed), asked)
    if drawn.error:
        return Program(**msgspec.structs.asdict(drawn))
    (ran,) = yield from ask_all([RunProgram(program.source_of(drawn.text))])
    assert isinstance(ran, Ran), "that is what was asked for"
    return Program(**msgspec.structs.asdict(drawn), outcome=ran.outcome, value=ran.value)


def program_label(problem: Problem, row: Program) -> Label:
    """As a sample's: a program that ran to no answer is unknown."""
    return "failed" if row.error else _label(problem, program.stated_answer(row.value, problem))
