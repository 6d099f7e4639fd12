"""What a proof says of right files, of files that are broken in one way, and of what it cannot check."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from gguf import LlamaFileType

from convert import verify
from convert.bounds import kl_bound, noise
from convert.findings import Finding, not_computed, unknown
from convert.held_back import held_back_sequences
from convert.logits import Vocabulary
from convert.proof import (
    FileRecord,
    Proof,
    keep_failed,
    proof_path,
    prove,
    require_place,
    set_aside,
    summary,
    table,
    write_proof,
)
from convert.text_proof import TextFacts, facts_of_gguf, text_findings
from convert.texts import CONVERSATIONS, DECOMPOSED, TRICKY
from score_local.errors import EngineError, MemoryLimit, ModelError, ScoreLocalError
from tests.convert.proof_models import (
    END_OF_TEXT,
    IM_END,
    OVER,
    TEMPLATE,
    TOKENS,
    Weights,
    merge,
    random_pairs,
    random_weights,
    useful_pairs,
    write_lora,
    write_model,
)

PAIRS = useful_pairs(0.4)
MERGED = merge(random_weights(), PAIRS)
TEXT_CHECKS = {"tokenizer", "opening token", "chat template", "end tokens"}
LOGIT_CHECKS = {"logits", "adapter kept", "held-back loss"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_model(tmp_path / "base.gguf", random_weights())


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    return write_model(tmp_path / "merged.gguf", MERGED)


def failures(proof: Proof, file: str | None = None) -> set[str]:
    return {f.name for f in proof.findings if f.passed is False and file in (None, f.file)}


def results(proof: Proof, file: str) -> dict[str, bool | None]:
    return {finding.name: finding.passed for finding in proof.findings if finding.file == file}


def finding(proof: Proof, name: str, file: str = "") -> Finding:
    (found,) = (f for f in proof.findings if (f.name, f.file) == (name, file))
    return found


# -- whole proofs ---------------------------------------------------------------------------------------------------


def test_right_files_pass_everything(tmp_path: Path, base: Path, merged: Path) -> None:
    half = write_model(tmp_path / "half.gguf", MERGED, half=True)
    lora = write_lora(tmp_path / "lora.gguf", PAIRS)
    proof = prove(outputs=[merged, half, lora], base=base, merged=merged)
    assert proof.passed and failures(proof) == set()
    assert results(proof, "half.gguf") == dict.fromkeys(TEXT_CHECKS | LOGIT_CHECKS, True)
    assert results(proof, "lora.gguf") == dict.fromkeys(LOGIT_CHECKS, True)
    assert results(proof, "merged.gguf") == {**dict.fromkeys(TEXT_CHECKS, True), "logits": None}
    assert "merged.gguf in llama.cpp, which does not prove that the merge itself is right" in proof.reference
    assert finding(proof, "active").passed
    assert proof.comparisons["half.gguf"].mean_kl < 1e-4 < proof.comparisons["base"].mean_kl
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.gguf", "half.gguf", "lora.gguf", "merged.gguf"]


def test_the_merged_file_is_not_compared_with_itself_however_it_is_spelled(
    tmp_path: Path, base: Path, merged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    proof = prove(outputs=[Path("merged.gguf")], base=base, merged=merged)
    assert finding(proof, "logits", "merged.gguf").passed is None


def shuffled(weights: Weights) -> Weights:
    """The rows of keys in another order, as where the rotary order is forgotten."""
    name = "blk.0.attn_k.weight"
    return weights | {name: np.ascontiguousarray(weights[name][::-1])}


def swapped_tokens() -> tuple[str, ...]:
    tokens = list(TOKENS)
    tokens[ord("1")], tokens[ord("2")] = tokens[ord("2")], tokens[ord("1")]
    return tuple(tokens)


BROKEN: dict[str, tuple[Weights, dict[str, Any], set[str]]] = {
    "rows in another order": (shuffled(MERGED), {}, {"logits"}),
    "no adapter in it": (random_weights(), {}, LOGIT_CHECKS),
    "adapter twice": (merge(random_weights(), PAIRS, 2), {}, {"logits", "adapter kept"}),
    "no chat template": (MERGED, {"template": None}, {"chat template"}),
    "another chat template": (MERGED, {"template": TEMPLATE.replace("\n", " ")}, {"chat template"}),
    "a template that nothing can read": (MERGED, {"template": "{% if %}"}, {"chat template"}),
    "another end of turn": (MERGED, {"end": END_OF_TEXT}, {"end tokens"}),
    "another vocabulary": (MERGED, {"tokens": swapped_tokens()}, {"tokenizer"}),
    "an opening token": (MERGED, {"opening": True}, {"opening token"}),
    "weights that are no numbers": (
        MERGED | {"output_norm.weight": np.full(64, np.nan, np.float32)},
        {},
        LOGIT_CHECKS,
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_broken_in_one_way_fails_that_finding_and_only_that(
    tmp_path: Path, base: Path, merged: Path, case: str
) -> None:
    weights, options, wanted = BROKEN[case]
    bad = write_model(tmp_path / "bad.gguf", weights, **options)
    good = write_model(tmp_path / "good.gguf", MERGED, half=True)
    proof = prove(outputs=[merged, good, bad], base=base, merged=merged)
    assert not proof.passed and failures(proof, "bad.gguf") == wanted
    assert not proof.failed("good.gguf"), "the others are not to blame"


def rounded(weights: Weights) -> Weights:
    """Onto a grid, as 4-bit weights are, so that a change of less than half a step is gone."""
    return weights | {"output.weight": np.round(weights["output.weight"] * 16) / np.float32(16)}


def test_an_adapter_that_rounding_swallows_does_not_survive(tmp_path: Path) -> None:
    start = rounded(random_weights())
    weak = {"output.weight": (PAIRS["output.weight"][0] * np.float32(0.01), PAIRS["output.weight"][1])}
    base, merged = (tmp_path / f"{name}.gguf" for name in ("base", "merged"))
    write_model(base, start)
    write_model(merged, merge(start, weak))
    low = write_model(tmp_path / "low.gguf", rounded(merge(start, weak)), kind=LlamaFileType.MOSTLY_Q4_K_M)
    proof = prove(outputs=[merged, low], base=base, merged=merged)
    assert failures(proof, "low.gguf") == {"adapter kept", "held-back loss"}
    assert "most of the adapter is lost here" in finding(proof, "held-back loss", "low.gguf").remark
    assert finding(proof, "adapter kept", "low.gguf").value == pytest.approx(0, abs=0.05)


def test_an_adapter_that_does_nothing_fails_every_file(tmp_path: Path, base: Path) -> None:
    merged = write_model(tmp_path / "merged.gguf", random_weights())
    proof = prove(outputs=[merged], base=base, merged=merged)
    assert failures(proof) == {"active"} and proof.failed("merged.gguf")
    assert "the adapter changes nothing" in finding(proof, "active").remark


def test_a_loss_that_an_adapter_does_not_lower_says_nothing(tmp_path: Path, base: Path) -> None:
    weights = merge(random_weights(), random_pairs())
    merged, half = (write_model(tmp_path / f"{n}.gguf", weights, half=n == "half") for n in ("merged", "half"))
    loss = finding(prove(outputs=[merged, half], base=base, merged=merged), "held-back loss", "half.gguf")
    assert loss.passed is None and "give one of its task (--text)" in loss.remark


# -- what cannot be checked is unknown ------------------------------------------------------------------------------


def test_without_a_base_nothing_is_said_to_have_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "find_spec", lambda name: None)
    folder = tmp_path / "base"
    folder.mkdir()
    low = write_model(tmp_path / "low.gguf", MERGED, kind=LlamaFileType.MOSTLY_Q4_0)
    lora = write_lora(tmp_path / "lora.gguf", PAIRS)
    proof = prove(outputs=[low, lora], base=folder)
    assert {finding.passed for finding in proof.findings} == {None} and proof.passed
    assert all("torch, transformers, peft, tokenizers not installed" in f.remark for f in proof.findings)
    assert summary(proof).startswith("0 passed, 0 FAILED, 10 unknown")


def test_without_a_base_gguf_a_lora_cannot_run(tmp_path: Path, merged: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    lora = write_lora(tmp_path / "lora.gguf", PAIRS)
    proof = prove(outputs=[merged, lora], base=folder, merged=merged)
    assert "no GGUF of the base model" in finding(proof, "logits", "lora.gguf").remark
    assert finding(proof, "active").passed is None


def test_an_activated_lora_has_no_merged_file_to_compare_with(tmp_path: Path, base: Path) -> None:
    alora = write_lora(tmp_path / "alora.gguf", PAIRS, invocation=(OVER, IM_END))
    proof = prove(outputs=[alora], base=base)
    assert results(proof, "alora.gguf") == dict.fromkeys(LOGIT_CHECKS)
    assert "there is no merged file to compare with" in finding(proof, "logits", "alora.gguf").remark


def test_too_little_memory_is_unknown_and_a_model_that_does_not_load_has_failed(
    tmp_path: Path, base: Path, merged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = write_model(tmp_path / "bad.gguf", {n: w for n, w in MERGED.items() if n != "blk.1.ffn_up.weight"})
    proof = prove(outputs=[merged, bad], base=base, merged=merged)
    assert failures(proof) == {"logits"} and "llama.cpp cannot load it" in finding(proof, "logits", "bad.gguf").remark
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1))
    proof = prove(outputs=[merged, bad], base=base, merged=merged)
    assert failures(proof) == set() and "0 MB are free" in finding(proof, "logits", "merged.gguf").remark


def test_a_vocabulary_that_llama_cpp_cannot_read(tmp_path: Path, base: Path, merged: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(merged.read_bytes().replace(b"tokenizer.ggml.model", b"tokenizer.ggml.other"))
    proof = prove(outputs=[bad, merged], base=base, merged=merged)
    assert failures(proof, "bad.gguf") == {"loads", "logits"} and not proof.failed("merged.gguf")


def test_a_text_of_the_users_own(tmp_path: Path, base: Path, merged: Path) -> None:
    text = tmp_path / "task.txt"
    text.write_text("Ein Text der Aufgabe. " * 30, encoding="utf-8")
    proof = prove(outputs=[merged], base=base, merged=merged, text=text)
    assert proof.comparisons["base"].tokens == 660 and "task.txt" in [record.name for record in proof.inputs]


@pytest.mark.parametrize(
    ("content", "what"), [(None, "No such file"), (b"", "holds no text"), (b"\xff\xfe", "not a text in UTF-8")]
)
def test_a_text_that_is_none(tmp_path: Path, base: Path, merged: Path, content: bytes | None, what: str) -> None:
    text = tmp_path / "task.txt"
    if content is not None:
        text.write_bytes(content)
    with pytest.raises(ModelError, match=what):
        prove(outputs=[merged], base=base, merged=merged, text=text)


def test_sequences_are_no_longer_than_the_model_takes(tmp_path: Path) -> None:
    base, merged = (
        write_model(tmp_path / f"{n}.gguf", w, context=40) for n, w in (("b", random_weights()), ("m", MERGED))
    )
    told: list[tuple[str, int, int]] = []
    proof = prove(outputs=[merged], base=base, merged=merged, progress=lambda *event: told.append(event))
    assert proof.comparisons["base"].tokens == 40 * told[0][2]
    assert [event[0] for event in told] == ["reference"] * told[0][2] + ["base model"] * told[0][2]


@pytest.mark.parametrize(
    ("error", "passed"),
    [(MemoryLimit("too little"), None), (ModelError("damaged"), False), (EngineError("llama_decode failed"), False)],
)
def test_what_an_error_says_of_a_file(error: ScoreLocalError, passed: bool | None) -> None:
    found = not_computed("logits", "a.gguf", error)
    assert (found.passed, found.remark) == (passed, str(error))


@pytest.mark.parametrize(
    ("kind", "passed"),
    [
        (LlamaFileType.ALL_F32, True),
        (LlamaFileType.MOSTLY_BF16, None),
        (LlamaFileType.MOSTLY_Q8_0, None),  # 8-bit activations could do as much
    ],
)
def test_how_much_an_adapter_must_do_depends_on_what_the_base_runs_from(
    tmp_path: Path, kind: LlamaFileType, passed: bool | None
) -> None:
    base = write_model(tmp_path / "base.gguf", random_weights(), kind=kind)
    merged = write_model(tmp_path / "merged.gguf", merge(random_weights(), useful_pairs(0.01)))
    active = finding(prove(outputs=[merged], base=base, merged=merged), "active")
    assert active.passed is passed and active.bound == noise(kind.name.split("_", 1)[1])


def test_an_invocation_stands_in_every_sequence(merged: Path) -> None:
    with Vocabulary(merged) as vocabulary:
        plain = held_back_sequences(vocabulary, longest=30)
        invoked = held_back_sequences(vocabulary, longest=30, invocation=(OVER, IM_END))
    assert {len(tokens) for tokens in (*plain, *invoked)} == {30}
    assert all(tokens[14:16] == [OVER, IM_END] for tokens in invoked) and not any(OVER in tokens for tokens in plain)


# -- texts ----------------------------------------------------------------------------------------------------------


def facts(**changes: Any) -> TextFacts:
    same: dict[str, Any] = {
        "source": "reference",
        "tokens": [[1]] * len(TRICKY),
        "decomposed": [[1]] * len(DECOMPOSED),
        "opening": 1,
        "chats": dict.fromkeys(CONVERSATIONS, "text"),
        "end_tokens": {2, 3},
    }
    return TextFacts(**same | changes)


@pytest.mark.parametrize(
    ("reference", "output", "wanted", "remark"),
    [
        ({}, {}, {}, "5 conversations against reference"),
        ({}, {"tokens": [[1]] * (len(TRICKY) - 1) + [[2, 2]]}, {"tokenizer": False}, "at token 0: [2, 2], not [1]"),
        (
            {},
            {"tokens": [[1]] * (len(TRICKY) - 1) + [[2, 2]], "forced": {"<|im_end|>"}},
            {},
            "llama.cpp reads <|im_end|> as a control token",
        ),
        (
            {},
            {"tokens": [[2]] + [[1]] * (len(TRICKY) - 2) + [[2]], "forced": {"<|im_end|>", "<EOT>"}},
            {"tokenizer": False},
            "1 of 88 texts against reference differ, first '0' at token 0: [2], not [1]; llama.cpp reads <|im_end|> as",
        ),
        ({}, {"decomposed": [[2]] * len(DECOMPOSED)}, {}, "llama.cpp does not compose characters"),
        ({}, {"opening": None}, {"opening token": False}, "no opening token, and reference has token 1"),
        ({"opening": None}, {}, {"opening token": False}, "token 1, and reference has no opening token"),
        ({}, {"end_tokens": {2, 3, 4}}, {}, "2, 3 of reference end a turn"),  # llama.cpp may know more
        ({}, {"end_tokens": {2}}, {"end tokens": False}, "3 end a turn in reference, and not in llama.cpp"),
        ({"end_tokens": set()}, {}, {"end tokens": None}, "reference names no token that ends a turn"),
        ({"chats": {}}, {}, {"chat template": None}, "reference has no chat template"),
        ({}, {"chats": {}}, {"chat template": False}, "it has no chat template, and reference has one"),
        ({}, {"chats": {**facts().chats, "edges": "tent"}}, {"chat template": False}, "at character 2: 'nt', not 'xt'"),
        (
            {},
            {"chats": {**facts().chats, "edges": None}},
            {"chat template": False},
            "(edges) is refused by its template",
        ),
        ({"chats": {**facts().chats, "edges": None}}, {}, {}, "4 conversations"),  # the reference refuses it as well
    ],
)
def test_facts_are_compared(
    reference: dict[str, Any], output: dict[str, Any], wanted: dict[str, bool | None], remark: str
) -> None:
    findings = list(text_findings(facts(**reference), facts(**output), "f.gguf"))
    assert {f.name: f.passed for f in findings} == dict.fromkeys(TEXT_CHECKS, True) | wanted
    assert any(remark in f.remark for f in findings), [f.remark for f in findings]


def test_facts_of_a_gguf(merged: Path) -> None:
    found = facts_of_gguf(merged)
    assert found.tokens[0] == [ord("0")] and found.end_tokens >= {OVER, IM_END} and found.opening is None
    rendered = found.chats["a system turn"]
    assert rendered is not None and rendered.startswith("<|im_start|>system\nYou solve")
    assert rendered.endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_the_texts_are_of_every_kind() -> None:
    assert 60 <= len(TRICKY) == len(set(TRICKY))
    assert {m.role for turns in CONVERSATIONS.values() for m in turns} == {"system", "user", "assistant"}
    assert all(turns[-1].role == "user" for turns in CONVERSATIONS.values())


# -- bounds ---------------------------------------------------------------------------------------------------------


def test_every_type_of_llama_cpp_has_a_bound() -> None:
    names = [kind.name.split("_", 1)[1] for kind in LlamaFileType if kind is not LlamaFileType.GUESSED]
    assert [name for name in names if kl_bound(name) is None] == []
    assert kl_bound("unknown") is None


def test_bounds_grow_as_types_shrink() -> None:
    bounds = [
        kl_bound(name) for name in ("F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_0", "Q3_K_S", "IQ2_XXS", "IQ1_S")
    ]
    assert bounds == sorted(bounds, key=float) and len(set(bounds)) == len(bounds)


# -- what is kept of it ---------------------------------------------------------------------------------------------


def proof_of(*findings: Finding, outputs: tuple[str, ...] = ("a.gguf",)) -> Proof:
    records = [FileRecord(name=name, bytes=1, sha256="0") for name in outputs]
    return Proof(
        began="now",
        seconds=1,
        reference="something",
        findings=list(findings),
        comparisons={},
        inputs=[],
        outputs=records,
        software={},
    )


def test_the_file_holds_the_proof(tmp_path: Path, base: Path, merged: Path) -> None:
    proof = prove(outputs=[merged], base=base, merged=merged, command=["score-convert", "verify"])
    write_proof(proof_path(merged), proof)
    content = json.loads((tmp_path / "merged.proof.json").read_text())
    assert msgspec.convert(content, type=Proof) == proof
    assert [record["name"] for record in content["inputs"]] == ["base.gguf"]
    assert {"score-local", "gguf", "llama-cpp-python", "python", "platform"} <= content["software"].keys()
    assert content["command"] == ["score-convert", "verify"] and content["began"].endswith("+00:00")
    assert len(content["outputs"][0]["sha256"]) == 64 and content["outputs"][0]["bytes"] == merged.stat().st_size


def test_a_proof_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.proof.json"
    for seconds in (1, 2):
        write_proof(path, msgspec.structs.replace(proof_of(), seconds=seconds))
    assert json.loads(path.read_text())["seconds"] == 2
    for other in ('{"kind": "a run"}', "[]", "no JSON"):
        path.write_text(other)
        for attempt in (lambda: require_place(path), lambda: write_proof(path, proof_of())):
            with pytest.raises(ModelError, match="the proof cannot be written there"):
                attempt()
        assert path.read_text() == other and list(tmp_path.iterdir()) == [path]


def test_the_place_of_a_proof_is_a_folder_that_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_place(tmp_path / "new" / "a.proof.json")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ModelError, match="its folder is read-only"):
        require_place(tmp_path / "a.proof.json")


def test_files_that_failed_get_another_name(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf", "a.failed.gguf"):
        (tmp_path / name).write_text(name)
    bad = Finding(name="logits", file="a.gguf", passed=False)
    proof = set_aside(proof_of(bad, outputs=("a.gguf", "b.gguf")), [tmp_path / "a.gguf", tmp_path / "b.gguf"])
    assert [record.kept_as for record in proof.outputs] == ["a.failed.gguf", None]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.failed.gguf", "b.gguf"]
    assert (tmp_path / "a.failed.gguf").read_text() == "a.gguf"
    assert keep_failed(tmp_path / "b.gguf") == tmp_path / "b.failed.gguf"


def test_the_table_shows_every_finding_and_why_some_are_unknown() -> None:
    shown = table(
        proof_of(
            Finding(name="active", passed=True, value=0.25, bound=1e-05),
            Finding(name="tokenizer", file="[bold]a.gguf", passed=False, value=3, bound=0, remark="first '[/x]'"),
            unknown("logits", "a.gguf", "no base"),
        ),
        width=100,
    )
    words: list[tuple[str, ...]] = [
        ("adapter", "active", "passed", "0.25", "1e-05"),
        ("[bold]a.gguf", "tokenizer", "FAILED", "3", "0", "first '[/x]'"),
        ("a.gguf", "logits", "unknown", "no base"),
    ]
    for row in words:
        assert any(all(word in line for word in row) for line in shown.splitlines()), (row, shown)
    assert shown.splitlines()[-1] == "1 passed, 1 FAILED, 1 unknown; logits against something"
    assert max(map(len, shown.splitlines())) <= 100
