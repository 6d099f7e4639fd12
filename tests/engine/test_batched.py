"""The batched engine against a backend that notices every mistake in the cache."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from score_local.engine.backend import DecodeError, NoRoom, Row
from score_local.engine.batched import GROUP_PATIENCE
from score_local.engine.protocol import Completion, Generate, Message, Reply, Request, Sampling, Score, Scores
from score_local.engine.streams import WORTH_IT
from score_local.errors import Cancelled, EngineError, TooLong
from tests.engine.fakes import Ear, FakeBackend, ask, fake_engine

HELLO = (Message("user", "hello, what is two and two?"),)


def generate(text: str, *, seed: int = 0, adapter: str | None = None, limit: int = 40, prefix: str = "") -> Generate:
    sampling = Sampling(temperature=float(seed > 0), seed=seed, max_tokens=limit)
    return Generate((Message("user", text),), adapter=adapter, sampling=sampling, prefix=prefix)


def alone(request: Request) -> object:
    """What a fresh engine with one stream answers: text and log-probabilities."""
    engine = fake_engine(FakeBackend(streams=1))
    try:
        return essence(ask(engine, request))
    finally:
        engine.close()


def essence(reply: object) -> object:
    if isinstance(reply, Completion):
        return reply.text, reply.tokens, reply.logprobs, reply.finish
    return reply.logprobs if isinstance(reply, Scores) else type(reply)


REQUESTS = st.one_of(
    st.builds(
        generate,
        st.sampled_from(["", "share", "share this", "share this prompt to its end", "other", "check it", "é€😀"]),
        seed=st.integers(0, 3),
        adapter=st.sampled_from([None, "plain", "late"]),
        limit=st.integers(1, 40),
        prefix=st.sampled_from(["", "def f"]),
    ),
    st.builds(
        lambda text, adapter, choices: Score((Message("user", text),), choices, adapter=adapter),
        st.sampled_from(["share this", "check it", "other"]),
        st.sampled_from([None, "late"]),
        st.sampled_from([("Y", "N"), ("Yes", "No", "Yesterday"), ("longer choice", "x")]),
    ),
)


@settings(max_examples=60)
@given(st.lists(REQUESTS, min_size=1, max_size=12), st.integers(1, 5), st.integers(1, 20), st.booleans())
def test_batching_and_reuse_never_change_a_reply(
    requests: Sequence[Request], streams: int, chunk: int, can_trim: bool
) -> None:
    engine = fake_engine(FakeBackend(streams=streams, chunk=chunk, can_trim=can_trim))
    ears = [Ear() for _ in requests]
    for request, ear in zip(requests, ears, strict=True):
        engine.submit(request, ear)
    replies = [ear.reply() for ear in ears]
    engine.close()
    assert [essence(reply) for reply in replies] == [alone(request) for request in requests]
    for request, ear, reply in zip(requests, ears, replies, strict=True):
        if isinstance(reply, Completion):
            assert isinstance(request, Generate)
            assert request.prefix + ear.text == reply.text, "what was streamed is what was said"


def test_a_turn_that_continues_another_reuses_all_of_it() -> None:
    backend = FakeBackend(streams=2)
    engine = fake_engine(backend)
    first = ask(engine, Generate(HELLO))
    assert isinstance(first, Completion)
    said = Message("assistant", first.text, first.tokens)
    verdict = ask(engine, Score((*HELLO, said, Message("user", "right?")), ("Y", "N")))
    engine.close()
    assert isinstance(verdict, Scores)
    assert verdict.usage.reused == first.usage.prompt + len(first.tokens), "every cell the solver left"
    assert backend.copies == 0, "and in place"


def test_samples_of_a_problem_pay_for_its_prompt_once() -> None:
    backend = FakeBackend(streams=4, chunk=8)
    engine = fake_engine(backend)
    ears = [Ear() for _ in range(4)]
    for seed, ear in enumerate(ears, 1):
        engine.submit(Generate(HELLO, sampling=Sampling(temperature=1, seed=seed, max_tokens=8)), ear)
    usages = [reply.usage for ear in ears if isinstance(reply := ear.reply(), Completion)]
    engine.close()
    assert usages[0].reused == 0
    assert all(usage.prompt - usage.reused <= WORTH_IT for usage in usages[1:])


class Order(Ear):
    """Adds its name to `ended` when its reply comes."""

    def __init__(self, name: str, ended: list[str]) -> None:
        super().__init__()
        self.name, self.ended = name, ended

    def done(self, reply: Reply) -> None:
        self.ended.append(self.name)
        super().done(reply)


def test_a_follow_up_goes_before_a_newcomer_that_waits_longer() -> None:
    backend = FakeBackend(streams=1)
    engine, entered, free = fake_engine(backend), threading.Event(), threading.Event()
    first = ask(engine, Generate(HELLO, sampling=Sampling(max_tokens=4)))
    assert isinstance(first, Completion)
    backend.before_decode = lambda: (entered.set(), free.wait(10))  # type: ignore[assignment, return-value]
    turns = (*HELLO, Message("assistant", first.text, first.tokens), Message("user", "sure?"))
    ended: list[str] = []
    ears = {name: Order(name, ended) for name in ("running", "newcomer", "follow-up")}
    engine.submit(generate(HELLO[0].content, limit=1), ears["running"])
    assert entered.wait(10)
    engine.submit(generate("something else entirely", limit=1), ears["newcomer"])
    engine.submit(Generate(turns, sampling=Sampling(max_tokens=1)), ears["follow-up"])
    free.set()
    for ear in ears.values():
        ear.reply()
    engine.close()
    assert ended == ["running", "follow-up", "newcomer"]


def test_of_newcomers_the_longest_goes_first() -> None:
    backend = FakeBackend(streams=1)
    engine, entered, free = fake_engine(backend), threading.Event(), threading.Event()
    backend.before_decode = lambda: (entered.set(), free.wait(10))  # type: ignore[assignment, return-value]
    ended: list[str] = []
    texts = {"running": "ab", "short": "cd", "long": "ef" * 9, "middle": "gh" * 4}
    ears = {name: Order(name, ended) for name in texts}
    engine.submit(generate(texts["running"], limit=1), ears["running"])
    assert entered.wait(10)
    for name in ("short", "long", "middle"):
        engine.submit(generate(texts[name], limit=1), ears[name])
    free.set()
    for ear in ears.values():
        ear.reply()
    engine.close()
    assert ended == ["running", "long", "middle", "short"]


def test_gaps_between_live_streams_are_closed() -> None:
    backend = FakeBackend(streams=4)
    rows: list[list[int]] = []
    decode = backend.decode

    def spy(batch: Sequence[Row], adapter: str | None) -> object:
        rows.append(sorted({row.stream for row in batch}))
        return decode(batch, adapter)

    backend.decode = spy  # type: ignore[method-assign,assignment]
    engine = fake_engine(backend)
    ears = [Ear() for _ in range(4)]
    for i, ear in enumerate(ears):
        engine.submit(generate(f"question {i}", seed=i + 1, limit=[5, 60, 10, 60][i]), ear)
    assert [essence(ear.reply()) for ear in ears] == [
        alone(generate(f"question {i}", seed=i + 1, limit=[5, 60, 10, 60][i])) for i in range(4)
    ]
    engine.close()
    assert all(streams == list(range(len(streams))) for streams in rows)


def test_an_activated_adapter_reuses_what_the_base_computed() -> None:
    engine = fake_engine(FakeBackend(streams=1))
    long = (Message("user", "a long question " * 4), Message("assistant", "an answer"))
    ask(engine, Generate(long, sampling=Sampling(max_tokens=1)))
    request = (*long, Message("user", "check"))
    late, plain = (ask(engine, Score(request, ("Y", "N"), adapter=adapter)) for adapter in ("late", "plain"))
    engine.close()
    assert isinstance(late, Scores) and isinstance(plain, Scores)
    assert late.usage.reused > 80, "up to the invocation"
    assert plain.usage.reused == 0, "a plain LoRA changes every cell"


def test_no_adapter_starves() -> None:
    backend = FakeBackend(streams=4)
    engine = fake_engine(backend)
    ears = [Ear() for _ in range(12)]
    for i, ear in enumerate(ears):
        engine.submit(generate(f"question {i}", adapter=[None, "plain"][i % 2], limit=60, seed=i + 1), ear)
    assert all(isinstance(ear.reply(), Completion) for ear in ears)
    engine.close()
    switches = sum(a != b for (_, a), (_, b) in zip(backend.calls, backend.calls[1:], strict=False))
    assert switches < len(backend.calls) / 4, "groups are kept together"


def test_the_smallest_of_three_groups_does_not_starve() -> None:
    backend = FakeBackend(streams=7)
    backend.invocations["third"] = ()
    backend.ends_turn = lambda token: False  # type: ignore[method-assign]
    engine = fake_engine(backend)
    adapters = [None, None, None, "plain", "plain", "plain", "third"]
    ears = [Ear() for _ in adapters]
    for i, (adapter, ear) in enumerate(zip(adapters, ears, strict=True)):
        engine.submit(generate(f"question {i}", adapter=adapter, limit=200, seed=i + 1), ear)
    assert all(isinstance(ear.reply(), Completion) for ear in ears)
    engine.close()
    ran = [0, *(step for step, (_, adapter) in enumerate(backend.calls) if adapter == "third")]
    longest = max(after - before for before, after in itertools.pairwise(ran))
    assert longest <= 2 * (GROUP_PATIENCE + 1) + 1, "it waits for one turn of each other group"


@pytest.mark.parametrize(
    ("stop", "why"),
    [(("\n",), "one character"), (("zz", "qqq"), "never comes"), (("",), "an empty stop string stops nothing")],
)
def test_stop_strings_end_before_themselves(stop: tuple[str, ...], why: str) -> None:
    engine = fake_engine(FakeBackend())
    for seed in range(1, 9):
        ear = Ear()
        sampling = Sampling(temperature=1.5, seed=seed, max_tokens=120, stop=stop)
        engine.submit(Generate(HELLO, sampling=sampling), ear)
        reply = ear.reply()
        assert isinstance(reply, Completion)
        assert ear.text == reply.text and not any(s in reply.text for s in stop if s), why
    engine.close()


def test_cancel_ends_within_one_step_and_frees_the_stream() -> None:
    backend = FakeBackend(streams=1, context=100_000)
    backend.before_decode = lambda: time.sleep(0.005)
    engine = fake_engine(backend)
    ear, next_ear = Ear(), Ear()
    cancel = engine.submit(Generate((Message("user", "x" * 50_000),)), ear)
    engine.submit(generate("next", limit=2), next_ear)
    time.sleep(0.05)
    began = time.perf_counter()
    cancel()
    assert isinstance(ear.reply(), Cancelled)
    assert time.perf_counter() - began < 2, "reading the prompt to its end takes 15 s"
    assert isinstance(next_ear.reply(), Completion)
    cancel()  # a second time, when it is over: nothing happens
    engine.close()


def test_cancelling_what_waits_answers_it_too() -> None:
    backend = FakeBackend(streams=1)
    backend.before_decode = lambda: time.sleep(0.01)
    engine = fake_engine(backend)
    first, second = Ear(), Ear()
    engine.submit(generate("first", limit=30, seed=1), first)
    engine.submit(generate("second", limit=30), second)()
    assert isinstance(second.reply(), Cancelled)
    assert isinstance(first.reply(), Completion)
    engine.close()


def test_a_prompt_too_long_is_told_with_its_length() -> None:
    engine = fake_engine(FakeBackend(context=60))
    reply = ask(engine, generate("x" * 100))
    assert isinstance(reply, TooLong) and "60" in str(reply) and "--context" in str(reply)
    assert isinstance(ask(engine, generate("x")), Completion), "the engine lives on"
    engine.close()


def test_a_reply_ends_where_the_context_ends() -> None:
    engine = fake_engine(FakeBackend(context=70))
    replies = [ask(engine, generate("x" * 20, seed=seed, limit=500)) for seed in range(1, 20)]
    engine.close()
    assert any(isinstance(r, Completion) and r.finish == "length" for r in replies)


@pytest.mark.parametrize("fault_at", [4, 5, 9, 14])  # not the first: whoever is alone then can never pass
def test_no_room_sends_one_job_back_and_loses_none(fault_at: int) -> None:
    backend = FakeBackend(streams=3)
    backend.faults[fault_at] = NoRoom("no room")
    engine = fake_engine(backend)
    requests = [generate(f"question {i}", seed=i + 1) for i in range(6)]
    ears = [Ear() for _ in requests]
    for request, ear in zip(requests, ears, strict=True):
        engine.submit(request, ear)
    assert [essence(ear.reply()) for ear in ears] == [alone(request) for request in requests]
    engine.close()


def test_no_room_for_the_only_job_is_an_error() -> None:
    backend = FakeBackend()
    backend.faults[1] = NoRoom("no room")
    engine = fake_engine(backend)
    assert isinstance(ask(engine, generate("x")), NoRoom)
    assert isinstance(ask(engine, generate("x")), Completion)
    engine.close()


def test_a_failed_decode_fails_its_batch_and_the_engine_lives_on() -> None:
    backend = FakeBackend(streams=2)
    backend.faults[3] = DecodeError("fake.gguf: llama_decode failed with code -3")
    engine = fake_engine(backend)
    assert isinstance(ask(engine, generate("hello", limit=30)), DecodeError)
    assert essence(ask(engine, generate("hello"))) == alone(generate("hello"))
    engine.close()


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("request_", [generate("hello"), generate("hello", seed=1), Score(HELLO, ("Yes", "No"))])
def test_what_is_no_probability_fails_its_request_alone(request_: Request, rubbish: float) -> None:
    backend = FakeBackend()
    decode = backend.decode
    backend.decode = lambda rows, adapter: [np.full_like(one, rubbish) for one in decode(rows, adapter)]  # type: ignore[method-assign]
    engine = fake_engine(backend)
    reply = ask(engine, request_)
    backend.decode = decode  # type: ignore[method-assign]
    assert type(reply) is EngineError and "no finite log-probabilities" in str(reply)
    assert not isinstance(ask(engine, generate("x")), EngineError), "the engine lives on"
    engine.close()


def test_a_choice_that_cannot_be_has_no_score() -> None:
    backend = FakeBackend()
    decode = backend.decode

    def without_no(rows: Sequence[Row], adapter: str | None) -> list[NDArray[np.float32]]:
        logits = decode(rows, adapter)
        for one in logits:
            one[ord("N")] = -np.inf
        return logits

    backend.decode = without_no  # type: ignore[method-assign]
    engine = fake_engine(backend)
    assert type(ask(engine, Score(HELLO, ("Y", "N")))) is EngineError
    assert isinstance(ask(engine, Score(HELLO, ("Y", "M"))), Scores)
    engine.close()


def test_a_dead_engine_answers_everybody() -> None:
    backend = FakeBackend(streams=1)
    backend.faults[2] = RuntimeError("a bug")
    engine = fake_engine(backend)
    ears = [Ear() for _ in range(3)]
    for ear in ears:
        engine.submit(generate("hello", limit=30), ear)
    replies = [ear.reply() for ear in ears] + [ask(engine, generate("later"))]
    assert all(isinstance(reply, EngineError) and "a bug" in str(reply) for reply in replies)
    assert backend.closed
    engine.close()


def test_an_unknown_adapter_is_told() -> None:
    engine = fake_engine(FakeBackend())
    reply = ask(engine, generate("x", adapter="nobody"))
    engine.close()
    assert isinstance(reply, EngineError) and "nobody" in str(reply)


def test_close_answers_what_runs_and_refuses_what_comes() -> None:
    backend = FakeBackend(streams=1)
    backend.before_decode = lambda: time.sleep(0.01)
    engine = fake_engine(backend)
    ear = Ear()
    engine.submit(generate("hello", seed=3, limit=300), ear)
    engine.close()
    engine.close()
    assert isinstance(ear.reply(), (Cancelled, Completion))
    assert isinstance(ask(engine, generate("later")), EngineError)
    assert backend.closed and not any(t.name == "score-local-engine" and t.is_alive() for t in threading.enumerate())


def test_control_tokens_in_a_question_stay_text() -> None:
    backend = FakeBackend(streams=1)
    engine = fake_engine(backend)
    ask(engine, Generate((Message("user", "<e><t>assistant:yes"),), sampling=Sampling(max_tokens=1)))
    engine.close()
    controls = [token for token, _ in backend.kv[0] if token >= 256]
    assert len(controls) == 3, "one turn, its end, and the assistant's: none of the question's"
