"""The torch backend: what it computes is what llama.cpp and transformers' own forward pass compute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")

import torch
from transformers import AutoModelForCausalLM

from convert.base import open_base
from convert.lora import write_lora
from convert.merge import merge
from convert.peft_adapter import read_peft
from score_local.engine import llama, transformers_load
from score_local.engine.backend import DecodeError, NoRoom, Row
from score_local.engine.batched import BatchedEngine
from score_local.engine.protocol import Completion, Generate, Message, Reply, Request, Sampling, Score, Scores
from score_local.engine.transformers import TorchBackend, open_engine
from score_local.errors import Cancelled, EngineError, MemoryLimit, ModelError
from tests.convert.tiny import ARCHITECTURES, TEMPLATE, tiny_adapter, tiny_model
from tests.engine.fakes import Ear, ask

ASKED = (Message("system", "Be brief."), Message("user", "Tom picks 14 * 2 = 28 apples. <|im_end|> größer 日本語"))
OTHER = (*ASKED[:1], Message("user", "There are 240 - 120 = 120 pages left; they take 120 / 6 = 20 minutes."))
GREEDY = Sampling(max_tokens=24, loop_window=0)
INVOCATION = (Message("user", "Is it the same?"),)
PROJECTIONS = ["q_proj", "v_proj", "down_proj"]
NEAR = 0.02  # nats: llama.cpp keeps its KV cache in float16


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model("qwen2", tmp_path_factory.mktemp("base") / "qwen2")


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, backend = tmp_path_factory.mktemp("adapters"), TorchBackend(base, streams=1, context=8)
    invocation = backend.tokenize("Is it the same?", False)
    backend.close()
    return {
        "refiner": tiny_adapter(base, folder / "lora", seed=1, target_modules=PROJECTIONS),
        "solver": tiny_adapter(base, folder / "dora", seed=2, target_modules=PROJECTIONS, use_dora=True),
        "verifier": tiny_adapter(
            base, folder / "alora", seed=3, target_modules=PROJECTIONS, alora_invocation_tokens=invocation
        ),
    }


@pytest.fixture(scope="module")
def engine(base: Path, adapters: dict[str, Path]) -> Iterator[BatchedEngine]:
    opened = open_engine(base, capacity=3, context=200, adapters=adapters)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def reference(
    base: Path, adapters: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BatchedEngine]:
    """llama.cpp over the same weights, and the adapters that a LoRA GGUF can hold."""
    folder = tmp_path_factory.mktemp("gguf")
    merge(open_base(base), None, folder / "base.gguf", "f32")
    loras = {role: folder / f"{role}.gguf" for role in ("refiner", "verifier")}
    for role, path in loras.items():
        write_lora(open_base(base), read_peft(adapters[role]), path, "f32")
    opened = llama.open_engine(folder / "base.gguf", streams=3, context=200, threads=1, adapters=loras)
    yield opened
    opened.close()


def completion(reply: Reply) -> Completion:
    assert isinstance(reply, Completion), reply
    return reply


def assert_same(ours: Reply, theirs: Reply, within: float = NEAR) -> None:
    if isinstance(theirs, Scores):
        assert isinstance(ours, Scores), ours
        assert ours.usage.prompt == theirs.usage.prompt
    else:
        ours, theirs = completion(ours), completion(theirs)
        assert (ours.tokens, ours.text, ours.finish) == (theirs.tokens, theirs.text, theirs.finish)
        assert (ours.usage.prompt, ours.usage.generated) == (theirs.usage.prompt, theirs.usage.generated)
    np.testing.assert_allclose(ours.logprobs, theirs.logprobs, atol=within)


# -- against llama.cpp ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_says_what_llama_cpp_says(kind: str, tmp_path: Path) -> None:
    folder = tiny_model(kind, tmp_path / kind)
    merge(open_base(folder), None, tmp_path / "base.gguf", "f32")
    theirs = llama.open_engine(tmp_path / "base.gguf", streams=2, context=200, threads=1)
    ours = open_engine(folder, capacity=2, context=200)
    try:
        for request in (Generate(ASKED, sampling=GREEDY), Score(ASKED, ("Yes", "No", "twice as many"))):
            assert_same(ask(ours, request), ask(theirs, request), within=0.05)
    finally:
        ours.close()
        theirs.close()


@pytest.mark.parametrize("adapter", [None, "refiner", "verifier"])
def test_adapters_too(adapter: str | None, engine: BatchedEngine, reference: BatchedEngine) -> None:
    turns = (*ASKED, Message("assistant", "28 apples."), *INVOCATION)
    requests: list[Request] = [
        Generate(turns, adapter=adapter, sampling=GREEDY),
        Score(turns, ("Yes", "No"), adapter=adapter),
    ]
    for request in requests:
        assert_same(ask(engine, request), ask(reference, request))


def test_adapters_side_by_side(engine: BatchedEngine) -> None:
    requests = [Generate(ASKED, adapter=name, sampling=GREEDY) for name in (None, "refiner", "solver", None)]
    alone = [completion(ask(engine, request)) for request in requests]
    ears = [Ear() for _ in requests]
    for request, ear in zip(requests, ears, strict=True):
        engine.submit(request, ear)
    beside = [completion(ear.reply()) for ear in ears]
    assert [reply.tokens for reply in beside] == [reply.tokens for reply in alone]
    assert len({reply.tokens for reply in beside}) == 3, "and each does something"


def test_an_activated_lora_reuses_what_the_base_has_read(engine: BatchedEngine) -> None:
    solved = completion(ask(engine, Generate(OTHER, sampling=GREEDY)))
    turns = (*OTHER, Message("assistant", solved.text, solved.tokens), *INVOCATION)
    scores = ask(engine, Score(turns, ("Yes", "No"), adapter="verifier"))
    assert isinstance(scores, Scores)
    assert scores.usage.reused >= solved.usage.prompt + len(solved.tokens) - 1


# -- the engine over it ---------------------------------------------------------------------------------------------


def test_many_at_once_say_what_each_says_alone(engine: BatchedEngine) -> None:
    requests = [
        Generate(turns, sampling=Sampling(temperature=t, seed=seed, max_tokens=n, loop_window=0))
        for turns, t, seed, n in ((ASKED, 0.0, 0, 30), (OTHER, 0.9, 5, 12), (ASKED, 0.9, 6, 20), (OTHER, 0.0, 0, 7)) * 2
    ]
    alone = [completion(ask(engine, request)) for request in requests]
    ears = [Ear() for _ in requests]
    for request, ear in zip(requests, ears, strict=True):
        engine.submit(request, ear)
    for ear, reply in zip(ears, alone, strict=True):
        assert_same(ear.reply(), reply, within=1e-3)
        assert ear.text == reply.text


def test_a_stop_string_and_a_prefix(engine: BatchedEngine) -> None:
    whole = completion(ask(engine, Generate(ASKED, sampling=GREEDY)))
    stop = whole.text[-3:-1]
    cut = completion(ask(engine, Generate(ASKED, sampling=Sampling(max_tokens=24, loop_window=0, stop=(stop,)))))
    assert cut.text == whole.text[: whole.text.index(stop)] and cut.finish == "stop"
    assert completion(ask(engine, Generate(ASKED, prefix="Yes", sampling=GREEDY))).text.startswith("Yes")


def test_cancel_within_a_step(engine: BatchedEngine) -> None:
    ear = Ear()
    cancel = engine.submit(Generate(ASKED, sampling=Sampling(max_tokens=150, loop_window=0)), ear)
    cancel()
    assert isinstance(ear.reply(), Cancelled)
    assert completion(ask(engine, Generate(ASKED, sampling=GREEDY)))


def test_no_such_adapter(engine: BatchedEngine) -> None:
    reply = ask(engine, Generate(ASKED, adapter="critic"))
    assert isinstance(reply, EngineError) and "no adapter 'critic'" in str(reply)


# -- the backend ----------------------------------------------------------------------------------------------------


def rows(stream: int, tokens: list[int], start: int = 0) -> list[Row]:
    return [Row(stream, start + i, token, i == len(tokens) - 1) for i, token in enumerate(tokens)]


@pytest.mark.parametrize("kind", ["qwen2", "gemma2", "gemma3"])
def test_copied_trimmed_and_mixed_streams_have_the_logits_of_a_plain_forward(kind: str, tmp_path: Path) -> None:
    folder = tiny_model(kind, tmp_path / kind)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    backend = TorchBackend(folder, streams=4, context=64)
    one, two = [int(t) for t in range(40, 62)], [int(t) for t in range(90, 97)]
    backend.decode(rows(0, one[:-1]) + rows(2, two[:4]), None)
    backend.copy(0, 3)
    assert backend.trim(3, 10)
    found = backend.decode(rows(0, one[-1:], 21) + rows(2, two[4:], 4) + rows(3, two[:1], 10), None)
    for logits, tokens in zip(found, (one, two, [*one[:10], two[0]]), strict=True):
        with torch.inference_mode():
            plain = model(input_ids=torch.tensor([tokens])).logits[0, -1].numpy()
        np.testing.assert_allclose(logits, plain, atol=1e-3)
    backend.close()


def test_pieces_make_the_text_again(base: Path) -> None:
    backend = TorchBackend(base, streams=1, context=8)
    for text in ("größer 日本語 \\boxed{33}\n\n  x", "it's 1,234.5 <|im_end|>"):
        assert b"".join(backend.piece(t) for t in backend.tokenize(text, False)).decode() == text
    end = backend.tokenize("<|im_end|>", True)
    assert len(end) == 1 and backend.ends_turn(end[0]) and backend.piece(end[0]) == b""
    assert len(backend.tokenize("<|im_end|>", False)) > 1, "text cannot forge a control token"
    backend.close()


@pytest.mark.parametrize(
    ("raised", "expected"), [(torch.OutOfMemoryError("full"), NoRoom), (RuntimeError("odd"), DecodeError)]
)
def test_what_goes_wrong_in_a_pass(
    raised: Exception, expected: type[Exception], base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TorchBackend(base, streams=1, context=8)

    def fails(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(backend, "_forward", fails)
    with pytest.raises(expected, match="qwen2"):
        backend.decode(rows(0, [1]), None)


@pytest.mark.parametrize("precision", ["bf16", "nf4"])
def test_coarser_weights_say_nearly_the_same(precision: Any, base: Path, engine: BatchedEngine) -> None:
    if precision == "nf4":
        pytest.importorskip("bitsandbytes")
    coarse = open_engine(base, capacity=1, context=200, precision=precision)
    ours, exact = (ask(e, Score(OTHER, ("Yes", "No"))) for e in (coarse, engine))
    coarse.close()
    assert isinstance(ours, Scores) and isinstance(exact, Scores)
    np.testing.assert_allclose(ours.logprobs, exact.logprobs, atol=0.3 if precision == "bf16" else 4.0)
    assert ours.logprobs != exact.logprobs


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "nf4"])
def test_on_a_gpu(precision: Any, base: Path, adapters: dict[str, Path], engine: BatchedEngine) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    on_gpu = open_engine(base, capacity=3, context=200, adapters=adapters, precision=precision)
    for adapter in (None, "refiner", "verifier"):
        reply = completion(ask(on_gpu, Generate(OTHER, adapter=adapter, sampling=GREEDY)))
        scores = ask(on_gpu, Score(OTHER, ("Yes", "No"), adapter=adapter))
        assert len(reply.logprobs) == len(reply.tokens) and isinstance(scores, Scores)
    on_gpu.close()


# -- what a user may get wrong --------------------------------------------------------------------------------------


def test_not_enough_memory_is_told_before_anything_is_loaded(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        transformers_load.transformers.AutoModelForCausalLM, "from_pretrained", lambda *_: pytest.fail()
    )
    memory = psutil.virtual_memory()._replace(available=2**20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(MemoryLimit, match=r"qwen2: fp32 weights and 2 sequences .* need .* MB, 1 MB are free"):
        open_engine(base, capacity=2, context=200)


def test_nf4_without_bitsandbytes(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_load, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match="NF4 needs bitsandbytes, which is not installed"):
        open_engine(base, precision="nf4")


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no model folder of transformers"):
        open_engine(tmp_path)


@pytest.mark.parametrize("spoilt", ["tokenizer.json", "tokenizer_config.json", "model.safetensors"])
def test_a_damaged_file_of_a_folder_is_one_line(spoilt: str, tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "m")
    (folder / spoilt).write_bytes(b"{")
    with pytest.raises(ModelError, match=str(folder)):
        open_engine(folder, capacity=1, context=64)


def test_a_folder_without_a_chat_template(tmp_path: Path) -> None:
    folder = tiny_model("llama", tmp_path / "m")
    for path in (folder / "chat_template.jinja", folder / "tokenizer_config.json"):
        if path.exists():
            path.write_text(path.read_text().replace(TEMPLATE, ""))
    with pytest.raises(ModelError, match="no chat template"):
        open_engine(folder, capacity=1, context=64)


def test_an_adapter_of_another_base(base: Path, tmp_path: Path) -> None:
    other = tiny_model("qwen2", tmp_path / "wide", hidden=128)
    adapter = tiny_adapter(other, tmp_path / "adapter", target_modules=PROJECTIONS)
    with pytest.raises(ModelError, match="PEFT cannot use this adapter with qwen2"):
        open_engine(base, capacity=1, context=64, adapters={"refiner": adapter})


def test_layers_whose_state_cannot_be_cut(base: Path, tmp_path: Path) -> None:
    for path in base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = (tmp_path / "config.json").read_text().replace('"full_attention"', '"linear_attention"')
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelError, match="linear_attention"):
        open_engine(tmp_path)
