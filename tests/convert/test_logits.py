"""Logits through llama.cpp on tiny models, and the arithmetic of comparing them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gguf import TokenType
from numpy.typing import NDArray

from convert import logits as logits_module
from convert.comparison import ROWS, compare, log_softmax
from convert.logits import SavedLogits, Vocabulary, llama_logits
from score_local.errors import ModelError
from tests.convert.proof_models import (
    END_OF_TEXT,
    IM_END,
    IM_START,
    VOCABULARY,
    merge,
    random_pairs,
    random_weights,
    write_lora,
    write_model,
)

Logits = NDArray[np.float32]
TEXT = "A farmer keeps hens and rabbits: 35 heads and 94 feet."
TOKENS = list(TEXT.encode())  # the vocabulary is one of bytes
SPACE_A = (32, 97)  # " a": in TEXT twice


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.gguf", random_weights())


def run(model: Path, tokens: list[int], lora: Path | None = None) -> Logits:
    (found,) = llama_logits(model, [tokens], lora=lora)
    return found


# -- llama.cpp ------------------------------------------------------------------------------------------------------


def test_every_position_has_its_logits_and_sequences_do_not_see_each_other(model: Path) -> None:
    first, second = llama_logits(model, [TOKENS, TOKENS[:10]])
    assert first.shape == (len(TOKENS), VOCABULARY) and first.dtype == np.float32
    np.testing.assert_allclose(first[:10], second, atol=1e-5)
    assert np.abs(first[10] - first[11]).max() > 0.1


def test_a_long_sequence_in_chunks_is_the_same(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = (TOKENS * 4)[: logits_module.CHUNK + 30]
    whole = run(model, tokens)
    monkeypatch.setattr(logits_module, "CHUNK", 7)
    np.testing.assert_allclose(run(model, tokens), whole, atol=1e-4)


def test_a_lora_at_run_time_is_the_one_merged_by_hand(tmp_path: Path, model: Path) -> None:
    merged = write_model(tmp_path / "merged.gguf", merge(random_weights(), random_pairs()))
    lora = write_lora(tmp_path / "lora.gguf", random_pairs())
    np.testing.assert_allclose(run(model, TOKENS, lora), run(merged, TOKENS), atol=1e-4)
    assert np.abs(run(model, TOKENS, lora) - run(model, TOKENS)).max() > 0.1, "and it does something"


def test_the_scale_of_a_lora_is_alpha_over_rank(tmp_path: Path, model: Path) -> None:
    merged = write_model(tmp_path / "merged.gguf", merge(random_weights(), random_pairs(), scale=2))
    lora = write_lora(tmp_path / "lora.gguf", random_pairs(), alpha=8)  # its rank is 4
    np.testing.assert_allclose(run(model, TOKENS, lora), run(merged, TOKENS), atol=1e-4)


def test_an_activated_lora_begins_at_its_last_invocation(tmp_path: Path, model: Path) -> None:
    alora = write_lora(tmp_path / "alora.gguf", random_pairs(), invocation=SPACE_A)
    start = TEXT.rindex(" a")
    found, base = run(model, TOKENS, alora), run(model, TOKENS)
    np.testing.assert_allclose(found[:start], base[:start], atol=1e-5)
    assert (np.abs(found[start:] - base[start:]).max(axis=1) > 1e-3).all()
    assert np.abs(
        found[start:] - run(model, TOKENS, write_lora(tmp_path / "lora.gguf", random_pairs()))[start:]
    ).max() > (1e-3), "what stands before was computed by the base model, so it is no plain LoRA either"


def test_an_activated_lora_without_its_invocation_is_the_base(tmp_path: Path, model: Path) -> None:
    alora = write_lora(tmp_path / "alora.gguf", random_pairs(), invocation=(END_OF_TEXT,))
    np.testing.assert_array_equal(run(model, TOKENS, alora), run(model, TOKENS))


def test_f16_weights_cost_little_and_it_is_not_nothing(tmp_path: Path, model: Path) -> None:
    half = run(write_model(tmp_path / "half.gguf", random_weights(), half=True), TOKENS)
    measured = compare([TOKENS], [run(model, TOKENS)], [half]).summary()
    assert 0 < measured.mean_kl < 1e-4


def test_a_lora_for_another_model_is_a_model_error(tmp_path: Path, model: Path) -> None:
    wide = {"blk.0.attn_q.weight": (np.zeros((2, 96), np.float32), np.zeros((96, 2), np.float32))}
    with pytest.raises(ModelError, match="cannot use this adapter"):
        run(model, TOKENS, write_lora(tmp_path / "other.gguf", wide))


# -- vocabulary -----------------------------------------------------------------------------------------------------


def test_the_vocabulary_alone(model: Path) -> None:
    with Vocabulary(model) as vocabulary:
        assert vocabulary.tokenize("a b", True) == [97, 32, 98]
        assert vocabulary.tokenize("<|im_end|>", True) == [IM_END]
        assert len(vocabulary.tokenize("<|im_end|>", False)) == 10
        assert (vocabulary.opening_token(), vocabulary.prompt("a")) == (None, [97])
        assert vocabulary.forced() == set()
        assert IM_END in vocabulary.end_tokens() and IM_START not in vocabulary.end_tokens()


def test_texts_that_llama_cpp_takes_for_control_tokens_by_name(tmp_path: Path) -> None:
    with Vocabulary(write_model(tmp_path / "plain.gguf", random_weights(), special=TokenType.NORMAL)) as vocabulary:
        assert vocabulary.forced() == {"<|im_end|>", "<|endoftext|>"}


def test_the_vocabulary_of_no_model(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF")
    for name in ("bad.gguf", "none.gguf"):
        with pytest.raises(ModelError, match="cannot read its vocabulary"):
            Vocabulary(tmp_path / name)


# -- on disk --------------------------------------------------------------------------------------------------------


def arrays() -> Iterator[Logits]:
    for rows in (3, 1, 5):
        yield np.full((rows, 4), rows, dtype=np.float32)


def test_saved_logits_are_read_as_often_as_wanted_and_leave_nothing(tmp_path: Path) -> None:
    with SavedLogits(arrays(), tmp_path) as saved:
        for first, second, wanted in zip(saved, saved, arrays(), strict=True):  # two readers at once
            np.testing.assert_array_equal(first, wanted)
            np.testing.assert_array_equal(second, wanted)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(ModelError, match=r"logits cannot be kept there: No space left on device\. Make room"):
        SavedLogits(arrays(), tmp_path)
    assert list(tmp_path.iterdir()) == []


# -- comparing ------------------------------------------------------------------------------------------------------


def log(*rows: tuple[float, ...]) -> Logits:
    return np.log(np.array(rows, dtype=np.float32))


def test_kl_divergence_agreement_and_loss_by_hand() -> None:
    reference, model = log((0.5, 0.5), (0.75, 0.25), (0.1, 0.9)), log((0.75, 0.25), (0.75, 0.25), (0.6, 0.4))
    measured = compare([[0, 1, 0]], [reference], [model])
    wanted = [0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25), 0, 0.1 * np.log(1 / 6) + 0.9 * np.log(9 / 4)]
    np.testing.assert_allclose(measured.kl, wanted, atol=1e-6)
    assert measured.agrees.tolist() == [True, True, False]
    np.testing.assert_allclose(measured.nll, [-np.log(0.25), -np.log(0.75)], rtol=1e-6)
    np.testing.assert_allclose(measured.reference_nll, [-np.log(0.5), -np.log(0.75)], rtol=1e-6)
    summary = measured.summary()
    assert (summary.tokens, summary.vocabulary, summary.top1_agreement) == (3, 2, 2 / 3)
    assert (summary.mean_kl, summary.max_kl) == (pytest.approx(np.mean(wanted)), pytest.approx(max(wanted)))


def test_a_constant_added_to_logits_is_no_difference() -> None:
    logits = np.random.default_rng(0).normal(size=(ROWS * 2 + 3, 11)).astype(np.float32)
    tokens = [n % 11 for n in range(len(logits))]
    measured = compare([tokens], [logits], [logits + 40])
    np.testing.assert_allclose(measured.kl, 0, atol=1e-9)
    assert len(measured.kl) == len(tokens) and len(measured.nll) == len(tokens) - 1


def test_the_smaller_vocabulary_counts() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    padded = np.concatenate([logits, np.full((4, 2), 9, dtype=np.float32)], axis=1)
    for pair in ((logits, padded), (padded, logits)):
        measured = compare([[1, 2, 3, 4]], [pair[0]], [pair[1]])
        np.testing.assert_allclose(measured.kl, 0, atol=1e-12)
        assert (measured.vocabulary, measured.left_out) == (6, 2)


def test_logits_that_are_no_numbers_never_look_near() -> None:
    broken = np.full((2, 3), np.nan, dtype=np.float32)
    assert np.isnan(compare([[0, 1]], [log((0.5, 0.25, 0.25), (0.5, 0.25, 0.25))], [broken]).summary().mean_kl)


def test_a_missing_sequence_is_not_passed_over() -> None:
    logits = log((0.5, 0.5))
    with pytest.raises(ValueError, match="shorter"):
        compare([[0], [1]], [logits, logits], [logits])


@pytest.mark.parametrize(
    ("share", "noise", "wanted"),
    [
        (1.0, 0.0, 1.0),  # the whole adapter
        (0.0, 0.0, 0.0),  # the base model
        (0.5, 0.0, 0.5),
        (2.0, 0.0, 2.0),  # applied twice
        (1.0, 0.1, 1.0),  # rounding that has nothing to do with the adapter
        (0.0, 0.1, 0.0),
    ],
)
def test_how_much_of_an_adapter_is_kept(share: float, noise: float, wanted: float) -> None:
    random = np.random.default_rng(0)
    base, change, rounding = (random.normal(size=(500, 40)).astype(np.float32) for _ in range(3))
    model = base + share * 0.3 * change + noise * rounding
    measured = compare([[1] * 500], [base + 0.3 * change], [model], [base])
    kept = measured.adapter_kept()
    assert kept is not None and kept.error < 0.02 and kept.value == pytest.approx(wanted, abs=2 * kept.error + 1e-6)


def test_no_adapter_is_neither_kept_nor_lost() -> None:
    logits = log((0.5, 0.5))
    assert compare([[0]], [logits], [logits], [logits]).adapter_kept() is None
    assert compare([[0]], [logits], [logits]).adapter_kept() is None


def test_log_softmax_of_large_logits() -> None:
    np.testing.assert_allclose(log_softmax(np.array([[1e4, 1e4]], dtype=np.float32)), np.log([[0.5, 0.5]]))
