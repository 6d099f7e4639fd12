"""The engine over a real model: the embedded SmolLM2-135M. Slow enough to be marked, small enough for every machine."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import llama_cpp
import numpy as np
import pytest
from numpy.typing import NDArray

from score_local import catalog
from score_local.engine import llama
from score_local.engine.backend import Row
from score_local.engine.batched import BatchedEngine
from score_local.engine.llama import MANY, LlamaBackend, open_engine
from score_local.engine.protocol import Completion, Generate, Message, Reply, Sampling, Score, Scores
from score_local.errors import MemoryLimit, ModelError, TooLong
from tests.engine.adapters import write_random_lora
from tests.engine.fakes import Ear, ask

pytestmark = pytest.mark.model
ASKED = (Message("system", "You are helpful."), Message("user", "Name three colours of the rainbow, one a line."))


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return catalog.resolve(catalog.DEFAULT_MODEL)
    except ModelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def adapter(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_lora(model, tmp_path_factory.mktemp("adapter") / "random.gguf")


@pytest.fixture(scope="module")
def engine(model: Path, adapter: Path) -> Iterator[BatchedEngine]:
    opened = open_engine(model, streams=4, context=512, adapters={"refiner": adapter})
    yield opened
    opened.close()


def completion(reply: Reply) -> Completion:
    assert isinstance(reply, Completion), reply
    return reply


def test_greedy_is_what_the_plain_loop_says(model: Path, engine: BatchedEngine) -> None:
    """The same prompt through llama-cpp-python's own class gives the same words, up to near-ties of the logits."""
    import llama_cpp

    ours = completion(ask(engine, Generate(ASKED, sampling=Sampling(max_tokens=24))))
    llama = llama_cpp.Llama(str(model), n_ctx=512, verbose=False)
    messages = [{"role": m.role, "content": m.content} for m in ASKED]
    theirs = llama.create_chat_completion(messages, temperature=0.0, max_tokens=24)
    llama.close()
    assert theirs["usage"]["prompt_tokens"] == ours.usage.prompt
    assert theirs["choices"][0]["message"]["content"].split()[:4] == ours.text.split()[:4]


def test_a_seed_says_the_same_again_whoever_runs_beside(engine: BatchedEngine) -> None:
    request = Generate(ASKED, sampling=Sampling(temperature=0.8, seed=11, max_tokens=20))
    alone = completion(ask(engine, request))
    ears = [Ear() for _ in range(4)]
    for i, ear in enumerate(ears):
        engine.submit(request if i == 2 else Generate((Message("user", f"Count to {i + 5}."),)), ear)
    beside = [completion(ear.reply(120)) for ear in ears][2]
    assert beside.tokens[:8] == alone.tokens[:8]


def test_what_was_reused_changes_no_logit(model: Path) -> None:
    """Logits after copy and trim are those of a prompt read afresh: bit by bit."""
    backend = LlamaBackend(model, streams=3, context=256)
    tokens = backend.tokenize("The quick brown fox jumps over the lazy dog, and then it sleeps.", False)
    rows = [Row(0, i, t, i == len(tokens) - 1) for i, t in enumerate(tokens)]
    fresh = backend.decode(rows, None)[0].copy()
    backend.copy(0, 2)
    assert backend.trim(2, len(tokens) - 1)
    again = backend.decode([Row(2, len(tokens) - 1, tokens[-1], True)], None)[0].copy()
    backend.close()
    assert np.abs(fresh - again).max() < 0.05 and int(fresh.argmax()) == int(again.argmax())


def test_verdict_words_are_scored_and_the_prompt_is_reused(engine: BatchedEngine) -> None:
    first = completion(ask(engine, Generate(ASKED, sampling=Sampling(max_tokens=16))))
    turn = (*ASKED, Message("assistant", first.text, first.tokens), Message("user", "Is that right? Yes or No."))
    scores = ask(engine, Score(turn, ("Yes", "No", "Absolutely not at all")))
    assert isinstance(scores, Scores)
    assert all(p < 0 for p in scores.logprobs) and np.exp(scores.logprobs[:2]).sum() <= 1
    assert scores.usage.reused >= first.usage.prompt + len(first.tokens) - 1
    assert scores.logprobs[2] < scores.logprobs[1]


def test_an_adapter_changes_what_is_said_and_only_where_it_is_asked_for(engine: BatchedEngine) -> None:
    sampling = Sampling(max_tokens=12)
    base = completion(ask(engine, Generate(ASKED, sampling=sampling)))
    ears = [Ear() for _ in range(4)]
    for i, ear in enumerate(ears):
        engine.submit(Generate(ASKED, adapter="refiner" if i % 2 else None, sampling=sampling), ear)
    replies = [completion(ear.reply(120)) for ear in ears]
    assert replies[0].text == replies[2].text == base.text, "the base is untouched beside it"
    assert abs(replies[1].logprobs[0] - replies[3].logprobs[0]) < 0.02, "two under one adapter agree"
    assert abs(replies[1].logprobs[0] - base.logprobs[0]) > 0.05, "and differ from the base"


def test_a_question_longer_than_the_context(engine: BatchedEngine) -> None:
    reply = ask(engine, Generate((Message("user", "word " * 600),)))
    assert isinstance(reply, TooLong) and "holds 512" in str(reply)


def test_cancel(engine: BatchedEngine) -> None:
    ear = Ear()
    cancel = engine.submit(Generate((Message("user", "Write a long story."),), sampling=Sampling(max_tokens=400)), ear)
    cancel()
    assert not isinstance(ear.reply(), Completion)
    assert completion(ask(engine, Generate(ASKED, sampling=Sampling(max_tokens=2))))


def test_emoji_come_whole(engine: BatchedEngine) -> None:
    ear = Ear()
    engine.submit(Generate((Message("user", "Repeat: 🎉🎉🎉 größer 你好"),), sampling=Sampling(max_tokens=30)), ear)
    assert completion(ear.reply(60)).text == ear.text


def test_not_enough_memory_is_told_before_it_is_taken(model: Path) -> None:
    with pytest.raises(MemoryLimit, match=r"64 sequences of 4000000 tokens need .* MB are free\. Choose fewer"):
        open_engine(model, streams=64, context=4_000_000)


@pytest.mark.parametrize("size", [0, 3, 5000, 40_000_000])
def test_a_damaged_model_is_one_line(model: Path, tmp_path: Path, size: int) -> None:
    damaged = tmp_path / "cut.gguf"
    with model.open("rb") as file:
        damaged.write_bytes(file.read(size))
    with pytest.raises(ModelError, match=r"cut\.gguf: llama\.cpp cannot load it.*models check .*cut\.gguf$"):
        open_engine(damaged)


def test_an_adapter_that_is_none(model: Path, tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelError, match=r"no\.gguf: llama\.cpp cannot use this adapter"):
        open_engine(model, streams=1, context=64, adapters={"refiner": tmp_path / "no.gguf"})


def test_llama_cpps_log_stays_off_the_terminal(model: Path) -> None:
    code = (
        "from pathlib import Path; from score_local.engine.llama import LlamaBackend\n"
        f"LlamaBackend(Path({str(model)!r}), streams=1, context=64).close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"" and done.stderr == b""


def test_llama_cpps_log_reaches_logging(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="score_local.llama"):
        LlamaBackend(model, streams=1, context=64).close()
    assert any("print_info" in record.message for record in caplog.records)


@pytest.fixture(scope="module")
def five_bits(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from convert.quantize import quantize

    path = tmp_path_factory.mktemp("five") / "q5_0.gguf"
    quantize(model, path, "q5_0", requantise=True)
    return path


def first_logits(backend: LlamaBackend) -> NDArray[np.float32]:
    (logits,) = backend.decode([Row(0, position, 100 + position, position == 39) for position in range(40)], None)
    return logits.copy()


def test_widened_weights_give_the_same_logits(five_bits: Path) -> None:
    narrow = LlamaBackend(five_bits, streams=MANY - 1, context=64)
    wide = LlamaBackend(five_bits, streams=MANY, context=64)
    try:
        assert np.abs(first_logits(narrow) - first_logits(wide)).max() < 1e-3
    finally:
        narrow.close()
        wide.close()


@pytest.mark.parametrize(("context", "plain"), [(64, True), (100_000, False)])
def test_attention_is_plain_where_its_scores_are_few(
    model: Path, monkeypatch: pytest.MonkeyPatch, context: int, plain: bool
) -> None:
    """On a CPU it is the faster one; its scores would be GB for a long context."""
    made: list[int] = []

    def no_context(_: object, params: llama_cpp.llama_context_params) -> None:
        made.append(params.flash_attn_type)

    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: False)
    monkeypatch.setattr(llama_cpp, "llama_init_from_model", no_context)
    with pytest.raises(MemoryLimit):
        LlamaBackend(model, streams=1, context=context)
    assert made == [llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED if plain else llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO]


def test_a_model_that_cannot_be_widened_is_used_as_it_is(
    five_bits: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(llama, "widened", full)
    backend = LlamaBackend(five_bits, streams=MANY, context=64)
    assert "could not be widened: [Errno 28]" in caplog.text
    try:
        assert np.isfinite(first_logits(backend)).all()
    finally:
        backend.close()
