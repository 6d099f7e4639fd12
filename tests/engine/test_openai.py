"""The engine over an OpenAI-compatible server: what goes well, what is tried again, what is told, what never is."""

from __future__ import annotations

import logging
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_local.answers import split_thought
from score_local.engine.openai import KEY_VARIABLE, OpenAIEngine, Server, open_engine
from score_local.engine.openai_wire import ReplyStream, error_message, retry_after, scores_from
from score_local.engine.protocol import Completion, Generate, Message, Reply, Request, Sampling, Score, Scores, Usage
from score_local.errors import Cancelled, EngineError, ModelError, TooLong
from score_local.loop import self_correct
from score_local.policy import Policy, Verify
from score_local.problem import Problem
from score_local.schedule import Scheduler
from score_local.trace import Trace
from tests.engine.openai_server import KEY, Answer, FakeServer, delta, event, said, serving, streamed

ASK = Generate((Message("system", "Be brief."), Message("user", "2 + 2?")), sampling=Sampling(max_tokens=9, seed=3))
VERDICT = Score((Message("user", "right?"),), ("Yes", "No"))
USAGE = {"prompt_tokens": 12, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}


@dataclass
class Ear:
    """Hears one request."""

    pieces: list[str] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    began: threading.Event = field(default_factory=threading.Event)

    def token(self, text: str) -> None:
        self.pieces.append(text)
        self.began.set()

    def done(self, reply: Reply) -> None:
        self.replies.append(reply)
        self.ended.set()


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving(FakeServer()) as server:
        yield server


def engine_at(fake: FakeServer, **server: Any) -> OpenAIEngine:
    fields = {"key": KEY, "pause": 0.01, "attempts": 3, "silence": 5.0} | server
    return OpenAIEngine(Server(fake.url, "tiny", **fields), capacity=2)


def ask(fake: FakeServer, request: Request, *answers: Answer, **server: Any) -> tuple[Reply, Ear]:
    """One request to a server that gives these answers."""
    fake.answers, ear = list(answers), Ear()
    engine = engine_at(fake, **server)
    engine.submit(request, ear)
    assert ear.ended.wait(20)
    engine.close()
    assert len(ear.replies) == 1
    return ear.replies[0], ear


def top(**logprobs: float) -> Answer:
    listed = [{"token": token, "logprob": logprob, "bytes": None} for token, logprob in logprobs.items()]
    choice = {
        "message": {"content": "Yes"},
        "finish_reason": "length",
        "logprobs": {"content": [{"top_logprobs": listed}]},
    }
    return said({"choices": [choice], "usage": USAGE})


def test_a_reply_is_streamed_and_its_cost_told(fake: FakeServer) -> None:
    reply, ear = ask(fake, ASK, streamed("It is", " 4", ".", usage=USAGE))
    assert isinstance(reply, Completion) and reply.text == "It is 4." and reply.finish == "stop"
    assert ear.pieces == ["It is", " 4", "."]
    assert (reply.usage.prompt, reply.usage.reused, reply.usage.generated) == (12, 8, 2)
    path, body, authorization = fake.requests[0]
    assert path == "/v1/chat/completions" and authorization == f"Bearer {KEY}"
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]
    assert (body["model"], body["stream"], body["max_tokens"], body["seed"]) == ("tiny", True, 9, 3)
    assert body["temperature"] == 0 and "top_k" not in body and "stop" not in body


def test_sampling_goes_to_the_server(fake: FakeServer) -> None:
    sampling = Sampling(temperature=0.7, top_k=40, top_p=0.9, min_p=0.05, stop=("\n\n",))
    ask(fake, Generate(ASK.messages, sampling=sampling, thinking=True), streamed("x"))
    body = fake.requests[0][1]
    assert (body["temperature"], body["top_k"], body["top_p"], body["min_p"]) == (0.7, 40, 0.9, 0.05)
    assert body["stop"] == ["\n\n"] and body["chat_template_kwargs"] == {"enable_thinking": True}


def test_no_key_no_header(fake: FakeServer) -> None:
    ask(fake, ASK, streamed("x"), key="")
    assert fake.requests[0][2] is None


def test_a_server_without_usage_is_counted(fake: FakeServer) -> None:
    reply, _ = ask(fake, ASK, streamed("a", "b", "c", finish="length"))
    assert isinstance(reply, Completion) and reply.finish == "length" and reply.usage.generated == 3


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_that_comes_apart_is_a_think_block(fake: FakeServer, name: str) -> None:
    pieces = (delta(**{name: "is it "}), delta(**{name: "9?"}), delta(content="It is 4"), event(b"[DONE]"))
    end = event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    reply, _ = ask(fake, ASK, Answer((*pieces[:3], end, pieces[3])))
    assert isinstance(reply, Completion) and split_thought(reply.text) == ("is it 9?", "It is 4")


def test_a_reply_that_runs_in_a_loop_is_ended(fake: FakeServer) -> None:
    request = Generate(ASK.messages, sampling=Sampling(loop_window=12))
    reply, _ = ask(fake, request, streamed(*["again ", "and "] * 500))
    assert isinstance(reply, Completion) and reply.finish == "loop" and len(reply.text) < 200


def test_verdicts_are_scored_from_the_first_token(fake: FakeServer) -> None:
    reply, _ = ask(fake, VERDICT, top(Yes=-0.1, No=-2.5, yes=-4.0))
    assert isinstance(reply, Scores) and reply.logprobs == (-0.1, -2.5)
    assert (reply.usage.prompt, reply.usage.reused, reply.usage.generated) == (12, 8, 2)
    body = fake.requests[0][1]
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"], body["temperature"]) == (1, True, 20, 0)


@pytest.mark.parametrize(
    ("listed", "expected", "why"),
    [
        ({"Yes": -0.5, "the": -6.0}, (-0.5, -6.0), "what is not listed is less likely than all that is"),
        ({"Y": -0.5, "N": -1.0}, (-0.5, -1.0), "a choice may be more than one token"),
        ({"Y": -3.0, "Yes": -0.5, "No": -1.0}, (-0.5, -1.0), "the longest token of a choice"),
        ({" Yes": -0.1, "No": -1.0}, (-1.0, -1.0), "a space before it makes it another token"),
        ({"": -0.1, "Yes": -1.0, "No": -2.0}, (-1.0, -2.0), "an empty token begins everything and says nothing"),
    ],
)
def test_candidates_and_choices(
    fake: FakeServer, listed: dict[str, float], expected: tuple[float, ...], why: str
) -> None:
    reply, _ = ask(fake, VERDICT, top(**listed))
    assert isinstance(reply, Scores) and reply.logprobs == expected, why


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (said({"choices": [{"message": {"content": "Yes"}, "logprobs": None}]}), "no log-probabilities"),
        (said({"choices": [{"message": {"content": "Yes"}}]}), "no log-probabilities"),
        (said({"choices": [{"logprobs": {"content": []}}]}), "no log-probabilities"),
        (said({"choices": []}), "no log-probabilities"),
        (top(maybe=-0.1), "none of Yes, No is among the 1 tokens"),
    ],
)
def test_a_server_that_cannot_score_says_so(fake: FakeServer, answer: Answer, told: str) -> None:
    reply, _ = ask(fake, VERDICT, answer)
    assert isinstance(reply, EngineError) and told in str(reply) and fake.url in str(reply)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(fake: FakeServer, status: int) -> None:
    reply, _ = ask(fake, ASK, said({"error": {"message": "busy"}}, status), streamed("fine"))
    assert isinstance(reply, Completion) and reply.text == "fine" and len(fake.requests) == 2


def test_retry_after_is_honoured(fake: FakeServer) -> None:
    ask(fake, ASK, said({}, 429, Retry_After="1"), streamed("fine"))
    assert fake.times[1] - fake.times[0] >= 1


def test_pauses_grow(fake: FakeServer) -> None:
    ask(fake, ASK, said({}, 500), attempts=4, pause=0.2)
    pauses = [after - before for before, after in zip(fake.times, fake.times[1:], strict=False)]
    assert len(pauses) == 3
    for pause, longest in zip(pauses, (0.2, 0.4, 0.8), strict=True):
        assert longest / 2 <= pause < longest + 0.3


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (said({"error": {"message": "out of memory"}}, 500), "status 500: out of memory (3 attempts)"),
        (streamed("half", finish=None), "the connection was cut in the middle of a reply (3 attempts)"),
        (Answer(cut=True), "the connection was cut in the middle of a reply (3 attempts)"),
    ],
)
def test_what_goes_wrong_for_ever_is_told_in_the_end(fake: FakeServer, answer: Answer, told: str) -> None:
    reply, _ = ask(fake, ASK, answer)
    assert isinstance(reply, EngineError) and str(reply) == f"{fake.url}: {told}" and len(fake.requests) == 3


@pytest.mark.parametrize(
    ("answer", "kind", "told"),
    [
        (Answer((b"<html>welcome</html>",)), EngineError, "what is no chat completion: '<html>welcome</html>'"),
        (Answer((event(b"{broken"),)), EngineError, "what is no chat completion: '{broken'"),
        (Answer((event([1, 2]),)), EngineError, "what is no chat completion"),
        (Answer((b"\xff\xfe\n",)), EngineError, "what is no chat completion"),
        (Answer((event({"error": {"message": "slot died"}}),)), EngineError, "the server failed: slot died"),
        (Answer((b'error: {"code": 500, "message": "slot died"}\n',)), EngineError, "the server failed: slot died"),
        (said({"error": "no such model"}, 404), EngineError, "status 404: no such model"),
        (said({}, 302, Location="http://elsewhere/"), EngineError, "status 302"),
        (
            said({"error": {"message": "the request exceeds the available context size (512)"}}, 400),
            TooLong,
            "context size",
        ),
        (said({"message": "This model's maximum context length is 512 tokens"}, 400), TooLong, "context length"),
    ],
)
def test_what_cannot_pass_is_told_at_once(fake: FakeServer, answer: Answer, kind: type[EngineError], told: str) -> None:
    reply, _ = ask(fake, ASK, answer)
    assert type(reply) is kind and told in str(reply) and len(fake.requests) == 1


def test_rubbish_instead_of_scores(fake: FakeServer) -> None:
    reply, _ = ask(fake, VERDICT, Answer((b"not json",)))
    assert isinstance(reply, EngineError) and "no chat completion" in str(reply)


def test_a_reply_cut_off_is_made_again_and_told_once(fake: FakeServer) -> None:
    reply, ear = ask(fake, ASK, streamed("It", " is", finish=None), streamed("It", " is", " 4"))
    assert isinstance(reply, Completion) and reply.text == "It is 4" == "".join(ear.pieces)


def test_a_slow_server_is_waited_for_as_long_as_it_speaks(fake: FakeServer) -> None:
    reply, _ = ask(fake, ASK, streamed(*"slowly", delay=0.1), silence=0.5)
    assert isinstance(reply, Completion) and reply.text == "slowly" and len(fake.requests) == 1


def test_a_silent_server_is_given_up(fake: FakeServer) -> None:
    reply, _ = ask(fake, ASK, streamed("x", delay=1.0), silence=0.1, attempts=2)
    assert isinstance(reply, EngineError) and "no word for 0.1 seconds (2 attempts)" in str(reply)


def test_a_server_that_takes_no_connection_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as clients:
        for _ in range(3):  # one more than a backlog of 0 holds
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        fake = FakeServer(url=f"http://127.0.0.1:{full.getsockname()[1]}/v1", answers=[Answer()])
        reply, _ = ask(fake, ASK, Answer(), connecting=0.2, attempts=2)
    assert isinstance(reply, EngineError) and "no connection within 0.2 seconds (2 attempts)" in str(reply)


def test_nobody_listens() -> None:
    fake = FakeServer(url="http://127.0.0.1:9/v1", answers=[Answer()])
    reply, _ = ask(fake, ASK, Answer())
    assert isinstance(reply, EngineError) and "cannot be reached" in str(reply)


@pytest.mark.parametrize("status", [401, 500])
def test_the_key_is_never_shown(fake: FakeServer, caplog: pytest.LogCaptureFixture, status: int) -> None:
    caplog.set_level(logging.DEBUG)
    reply, _ = ask(fake, ASK, said({"error": {"message": f"Incorrect API key provided: {KEY}"}}, status))
    assert isinstance(reply, EngineError) and "Incorrect API key provided: [key]" in str(reply)
    assert KEY not in caplog.text and KEY not in str(reply) + repr(reply) + repr(engine_at(fake).server)
    assert KEY not in "".join(traceback.format_exception(type(reply), reply, reply.__traceback__))


def test_a_wrong_key_is_not_tried_again(fake: FakeServer) -> None:
    reply, _ = ask(fake, ASK, said({"error": "no"}, 401))
    assert isinstance(reply, EngineError) and "refuses the key (401): no" in str(reply) and len(fake.requests) == 1


@pytest.mark.parametrize("streaming", [True, False])
def test_cancel_ends_a_request_at_once(fake: FakeServer, streaming: bool) -> None:
    slow = streamed(*["word "] * 200, delay=0.05) if streaming else streamed("word", delay=20)
    fake.answers, ear = [slow], Ear()
    engine = engine_at(fake, silence=60.0)
    cancel = engine.submit(ASK, ear)
    if streaming:
        assert ear.began.wait(5)
    else:
        time.sleep(0.2)
    began = time.monotonic()
    cancel()
    assert ear.ended.wait(5) and time.monotonic() - began < 1
    assert isinstance(ear.replies[0], Cancelled)
    engine.close()


def test_cancel_ends_a_pause(fake: FakeServer) -> None:
    fake.answers, ear = [said({}, 429, Retry_After="300")], Ear()
    engine = engine_at(fake)
    cancel = engine.submit(ASK, ear)
    while not fake.requests:
        time.sleep(0.01)
    cancel()
    assert ear.ended.wait(5) and isinstance(ear.replies[0], Cancelled)
    engine.close()


def test_close_answers_everybody(fake: FakeServer) -> None:
    fake.answers = [streamed(*["word "] * 200, delay=0.05)]
    ears, engine = [Ear() for _ in range(5)], engine_at(fake)
    for ear in ears:
        engine.submit(ASK, ear)
    assert ears[0].began.wait(5)
    engine.close()
    engine.close()
    late = Ear()
    engine.submit(ASK, late)
    assert all(isinstance(ear.replies[0], Cancelled) for ear in [*ears, late])
    assert len(fake.requests) <= 2 + 2, "what only waited was not sent"


def test_adapters_are_models_of_the_server(fake: FakeServer) -> None:
    request = Generate(ASK.messages, adapter="refiner")
    ask(fake, request, streamed("x"), adapters={"refiner": "tiny-refiner"})
    assert fake.requests[0][1]["model"] == "tiny-refiner"
    reply, _ = ask(fake, request, streamed("x"))
    assert isinstance(reply, EngineError) and "no adapter 'refiner'" in str(reply)


def test_a_prefix_is_a_turn_to_go_on_with(fake: FakeServer) -> None:
    reply, ear = ask(fake, Generate(ASK.messages, prefix="Step 1:"), streamed(" 2 + 2", " = 4"))
    assert isinstance(reply, Completion) and reply.text == "Step 1: 2 + 2 = 4"
    assert "".join(ear.pieces) == " 2 + 2 = 4", "what it was told is not news"
    body = fake.requests[0][1]
    assert body["messages"][-1] == {"role": "assistant", "content": "Step 1:"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


def test_the_loop_runs_over_it(fake: FakeServer) -> None:
    fake.answers = [streamed("Step 1: 2 + 2 = 5\n\\boxed{5}"), top(Yes=-3.0, No=-0.1), streamed("\\boxed{4}")]
    policy, engine = Policy(verify=Verify(verifiers=("self",))), engine_at(fake)
    problem = Problem("p", "What is 2 + 2?", "4")
    ((_, trace),) = Scheduler[Trace](engine).run([("p", self_correct(problem, policy))])
    engine.close()
    assert (trace.initial_answer, trace.answer, trace.final_correct) == ("5", "4", True)
    assert [len(body["messages"]) for _, body, _ in fake.requests] == [8, 10, 10]


@pytest.mark.parametrize(
    ("models", "model", "told"),
    [
        (said({"data": [{"id": "a"}, {"id": "b"}]}), None, "serves 2 models. Choose with --model: a, b"),
        (said({"data": []}), None, "serves 0 models"),
        (said({"data": [{"id": "a"}]}), "tiny", "serves no model 'tiny'. Choose with --model: a"),
        (said({}, 404), None, "status 404"),
        (said({"error": KEY}, 401), None, f"refuses the key.*{KEY_VARIABLE}"),
        (Answer((b"<html>",)), None, "is no OpenAI-compatible server"),
        (said({}, 500), None, "status 500"),
    ],
)
def test_a_server_is_looked_at_before_work_begins(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch, models: Answer, model: str | None, told: str
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    fake.models = models
    with pytest.raises(ModelError, match=told) as caught:
        open_engine(fake.url, model)
    assert KEY not in str(caught.value)


def test_the_one_model_that_is_served_is_taken(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER", f" {KEY}\n")
    engine = open_engine(fake.url + "/", None, capacity=3, key_variable="OTHER")
    engine.close()
    assert (engine.server.model, engine.capacity) == ("tiny", 3)
    assert fake.requests[0][0] == "/v1/models" and fake.requests[0][2] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("url", "key", "told"),
    [
        ("localhost:8080", "", "not the URL of a server"),
        ("ftp://host/v1", "", "not the URL of a server"),
        ("http:///v1", "", "not the URL of a server"),
        ("http://a..b/v1", "", "not a URL"),
        ("http://host:port/v1", "", "not a URL"),
        ("http://me:secret@host/v1", "", "^host: the URL holds more than a place"),
        ("http://host/v1?key=secret", "", "^host: the URL holds more than a place"),
        ("http://host/v1", "sk-secret\nsecret", "the key holds a character"),
        ("http://host/v1", "sk-secreté", "the key holds a character"),
    ],
)
def test_a_bad_url_or_key_is_one_line_without_secrets(url: str, key: str, told: str) -> None:
    with pytest.raises(ModelError, match=told) as caught:
        Server(url, "tiny", key)
    assert "secret" not in str(caught.value)


NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0.0),
        ("7", 7.0),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 30.0),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0.0),
        ("soon", 0.0),
        ("-3", 0.0),
        ("1e9", 0.0),
    ],
)
def test_retry_after(header: str | None, seconds: float) -> None:
    assert retry_after(header, NOW) == seconds


@given(st.binary(max_size=200))
def test_no_line_breaks_the_stream(line: bytes) -> None:
    stream = ReplyStream(96)
    try:
        stream.feed(line)
    except EngineError as error:
        assert "\n" not in str(error)


@given(st.binary(max_size=200))
def test_no_reply_breaks_the_scores(content: bytes) -> None:
    with pytest.raises(EngineError):
        scores_from(content, ("Yes", "No"), 0.0)
    assert "\n" not in error_message(content)


@given(st.lists(st.text(min_size=1, max_size=8), max_size=20))
def test_pieces_join_to_the_reply(words: list[str]) -> None:
    stream = ReplyStream(0)
    told = "".join(stream.feed(delta(content=word)) for word in words)
    assert told == stream.text == "".join(words) and stream.completion(1.0).usage == Usage(
        generated=len(words), seconds=1.0
    )


def test_infinite_log_probabilities_are_refused() -> None:
    (piece,) = top(Yes=-1e999, No=-0.1).pieces
    with pytest.raises(EngineError):
        scores_from(piece, ("Yes", "No"), 0.0)
