"""How good an adapter is at its role, on dev examples: what decides which checkpoint is kept.

    verifier   AUROC of P(incorrect), read from the two verdict words as `verifiers/self_.py` reads it
    refiner    share of wrong solutions whose correction is right
    solver     share of questions whose solution is right
    programmer share of questions whose program computes the right answer

An answer is right where it equals that of the example's target, which was right when it was collected.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple, Protocol, get_args

from torch import Tensor
from torch.nn import functional

from score_local import answers, prompts
from score_local.evaluate.metrics import auroc
from score_local.problem import AnswerKind, Problem
from score_local.roles import Role
from score_local.sandbox.pool import Sandbox
from score_local.train.batches import batch_of, micro_batches, target_tokens, wanted_states
from score_local.train.decoding import greedy
from score_local.train.network import Network
from score_local.train.prefixes import Prefixes
from score_local.train.samples import Encoder, Sample
from score_local.verifiers import program


class Quality(NamedTuple):
    """`metric` is the task's, higher is better; `loss`, in nats, breaks ties; of `n` examples."""

    metric: float
    loss: float
    n: int

    def better_than(self, other: Quality | None) -> bool:
        return other is None or (self.metric, -self.loss) > (other.metric, -other.loss)


class Task(Protocol):
    """What a role is measured by; `name` is the metric's."""

    name: str

    def quality(self, network: Network, prefixes: Prefixes, samples: Sequence[Sample]) -> Quality:
        """Measures the network as it is now."""


def task_of(role: Role, encoder: Encoder, rows: int, max_tokens: int) -> Task:
    if role == "verifier":
        return VerifierTask(encoder, rows)
    return (ProgrammerTask if role == "programmer" else WritingTask)(encoder, rows, max_tokens)


class VerifierTask:
    """A verifier is as good as it tells incorrect solutions from correct ones. Its loss is that of the verdict word."""

    name = "auroc"

    def __init__(self, encoder: Encoder, rows: int) -> None:
        self._words = [tuple(encoder.ids(word)) for word in prompts.VERDICTS]
        self._rows = rows

    def quality(self, network: Network, prefixes: Prefixes, samples: Sequence[Sample]) -> Quality:
        """The metric is 0.5 where all examples are of one class."""
        verdicts, incorrect = self._logprobs(network, prefixes, samples), [is_incorrect(s) for s in samples]
        area = auroc(incorrect, [no - yes for yes, no in verdicts])
        loss = -sum(pair[label] for pair, label in zip(verdicts, incorrect, strict=True)) / len(samples)
        return Quality(0.5 if area is None else area, loss, len(samples))

    def log_odds(self, network: Network, prefixes: Prefixes, samples: Sequence[Sample]) -> list[float]:
        """log P(No) - log P(Yes) of each sample, natural logarithms."""
        return [no - yes for yes, no in self._logprobs(network, prefixes, samples)]

    def _logprobs(self, network: Network, prefixes: Prefixes, samples: Sequence[Sample]) -> list[tuple[float, float]]:
        """Log-probability of each of VERDICTS as the beginning of the reply to each sample."""
        found: list[tuple[float, float]] = []
        for start in range(0, len(samples), self._rows):
            some = samples[start : start + self._rows]
            heads = {word[:-1] for word in self._words}  # of words of one token the same: one pass reads both
            of_head = {head: self._after(network, prefixes, some, head) for head in heads}
            yes, no = (_summed(of_head[word[:-1]], word) for word in self._words)
            found += zip(yes, no, strict=True)
        return found

    def _after(self, network: Network, prefixes: Prefixes, samples: Sequence[Sample], head: tuple[int, ...]) -> Tensor:
        """Log-probabilities of what follows the prompts, and each token of `head`; (samples, len(head) + 1, V)."""
        asked = [Sample(s.example, (*s.prompt, *head, 0), s.begin, s.target) for s in samples]
        with network.inference():
            states = wanted_states(network, batch_of(asked, prefixes, network.device))
            logprobs = functional.log_softmax(network.logits(states), dim=-1)
        return logprobs.view(len(samples), len(head) + 1, -1)


def _summed(logprobs: Tensor, word: tuple[int, ...]) -> list[float]:
    """The log-probability of `word` from those of its tokens, shape (samples, len(word), V)."""
    sums: list[float] = logprobs[:, range(len(word)), list(word)].sum(1).tolist()
    return sums


class WritingTask:
    """A solver or refiner is as good as the share of its answers that are right."""

    name = "right"

    def __init__(self, encoder: Encoder, rows: int, max_tokens: int) -> None:
        self._encoder, self._rows, self._most = encoder, rows, max_tokens

    def quality(self, network: Network, prefixes: Prefixes, samples: Sequence[Sample]) -> Quality:
        """An answer that cannot be read or compared is not right."""
        right = 0
        for some in micro_batches(samples, self._rows):
            replies = greedy(network, prefixes, some, self._most, self._encoder.ends_turn)
            right += sum(self._right([self._encoder.text(reply) for reply in replies], some))
        return Quality(right / len(samples), self._loss(network, prefixes, samples), len(samples))

    def _right(self, replies: Sequence[str], samples: Sequence[Sample]) -> list[bool]:
        return [is_right(reply, sample) for reply, sample in zip(replies, samples, strict=True)]

    def _loss(self, network: Network, prefixes: Prefixes, samples: Sequence[Sample]) -> float:
        """Cross-entropy in nats a target token."""
        total = 0.0
        with network.inference():
            for some in micro_batches(samples, self._rows):
                batch = batch_of(some, prefixes, network.device)
                total += network.loss(wanted_states(network, batch), batch.labels)
        return total / target_tokens(samples)


class ProgrammerTask(WritingTask):
    """Programs are run, as at run time: in the sandbox."""

    def _right(self, replies: Sequence[str], samples: Sequence[Sample]) -> list[bool]:
        with closing(Sandbox()) as sandbox:
            return [computes(reply, sample, sandbox) for reply, sample in zip(replies, samples, strict=True)]


def computes(reply: str, sample: Sample, sandbox: Sandbox) -> bool:
    """Whether a program ends with the value of the sample's; of a choice, with the same number."""
    meta = sample.example.meta
    asked = Problem("", "", kind="expression" if meta.get("kind") == "expression" else "number")
    values = sandbox.run(program.source_of(sample.example.prefix + reply)).value, str(meta.get("value"))
    found, wanted = (program.stated_answer(value, asked) for value in values)
    return answers.is_right(found, wanted, asked.kind) is True


def is_right(reply: str, sample: Sample) -> bool:
    """Whether a reply ends with the answer of the sample's target."""
    kind = _kind_of(sample)
    found, wanted = (answers.extract(prompts.split_refinement(t)[1], kind) for t in (reply, sample.example.target))
    return answers.is_right(found, wanted, kind) is True


def _kind_of(sample: Sample) -> AnswerKind:
    """How the question was asked tells how its answer is read."""
    asked = [turn.content for turn in sample.example.messages if turn.role == "user"]
    question = asked[-1] if sample.example.role == "solver" else asked[-2]
    endings = {kind: prompts.text(f"solve_{kind}").splitlines()[-1] for kind in get_args(AnswerKind)}
    return next((kind for kind, ending in endings.items() if question.endswith(ending)), "number")


def is_incorrect(sample: Sample) -> bool:
    """Whether the solution that a verifier's sample shows is incorrect."""
    return sample.example.target == prompts.INCORRECT
