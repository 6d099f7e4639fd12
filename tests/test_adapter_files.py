"""LoRA adapters: what is read from them, and which of them a base model refuses."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from score_local.adapter_files import check_adapter_fits, check_role, read_adapter
from score_local.errors import ModelError
from score_local.gguf_check import file_sha256
from score_local.gguf_file import GGUFHeader, read_header
from tests.gguf_files import write_adapter, write_model


@pytest.fixture
def base(tmp_path: Path) -> GGUFHeader:
    return read_header(write_model(tmp_path / "base.gguf"))


def folder(tmp_path: Path, card: str, *names: str) -> Path:
    made = tmp_path / "adapter"
    made.mkdir()
    (made / "adapter.toml").write_text(card)
    for name in names:
        write_adapter(made / name)
    return made


def test_a_lora_file(tmp_path: Path, base: GGUFHeader) -> None:
    adapter = read_adapter(write_adapter(tmp_path / "lora.gguf"))
    assert (adapter.kind, adapter.architecture, adapter.alpha) == ("lora", "llama", 8.0)
    assert adapter.file == tmp_path / "lora.gguf"
    check_adapter_fits(adapter, base)


def test_an_activated_lora_names_its_tokens(tmp_path: Path) -> None:
    adapter = read_adapter(write_adapter(tmp_path / "alora.gguf", invocation=[1, 5, 9]))
    assert (adapter.kind, adapter.invocation_tokens) == ("alora", (1, 5, 9))


def test_a_folder_with_its_card(tmp_path: Path, base: GGUFHeader) -> None:
    card = f'role = "refiner"\nkind = "lora"\nbase = "Tiny"\nbase_sha256 = "{file_sha256(base.path)}"\n'
    adapter = read_adapter(folder(tmp_path, card + "[calibration]\nthreshold = 0.4\n", "lora.gguf"))
    assert (adapter.card.role, adapter.base, adapter.card.calibration) == ("refiner", "Tiny", {"threshold": 0.4})
    check_adapter_fits(adapter, base)


def test_another_base_is_refused_unless_told(tmp_path: Path, base: GGUFHeader) -> None:
    adapter = read_adapter(folder(tmp_path, f'base = "Tiny"\nbase_sha256 = "{"0" * 64}"\n', "lora.gguf"))
    with pytest.raises(
        ModelError, match=r"made for the model with SHA-256 000000000000\.\.\..*Use its base model, Tiny"
    ):
        check_adapter_fits(adapter, base)
    check_adapter_fits(adapter, base, accept_other_base=True)


@pytest.mark.parametrize(
    ("pairs", "what"),
    [
        (
            {"blk.0.attn_q.weight": (32, 64)},
            r"blk\.0\.attn_q\.weight: A \[64, 4\] and B \[4, 32\] do not fit \[32, 32\]",
        ),
        ({"blk.0.attn_q.weight": (48, 32)}, r"blk\.0\.attn_q\.weight: A \[32, 4\] and B \[4, 48\] do not fit"),
        ({"blk.7.attn_q.weight": (32, 32)}, r"the model has no tensor blk\.7\.attn_q\.weight"),
        ({"blk.0.attn_q.weight": (32, 32), "blk.0.ffn_up.weight": (32, 96)}, r"blk\.0\.ffn_up\.weight: A \[96, 4\]"),
    ],
)
def test_the_first_mismatch_is_named(
    tmp_path: Path, base: GGUFHeader, pairs: dict[str, tuple[int, int]], what: str
) -> None:
    adapter = read_adapter(write_adapter(tmp_path / "lora.gguf", pairs=pairs))
    with pytest.raises(ModelError, match=what + r".*another base model\?"):
        check_adapter_fits(adapter, base)


@pytest.mark.parametrize(("shape", "fits"), [((64, 32), True), ((32, 64), False), ((64, 16), False)])
def test_an_embedding_has_its_own_shapes(tmp_path: Path, base: GGUFHeader, shape: tuple[int, int], fits: bool) -> None:
    base = msgspec.structs.replace(base, tensors={**base.tensors, "output.weight": base.tensors["token_embd.weight"]})
    adapter = read_adapter(write_adapter(tmp_path / "lora.gguf", pairs={"token_embd.weight": shape}))
    if fits:
        check_adapter_fits(adapter, base)
    else:
        with pytest.raises(ModelError, match=r"token_embd\.weight"):
            check_adapter_fits(adapter, base)


def test_an_embedding_that_is_the_output_too_cannot_be_changed(tmp_path: Path, base: GGUFHeader) -> None:
    """llama.cpp would abort the process in the first decode."""
    adapter = read_adapter(write_adapter(tmp_path / "lora.gguf", pairs={"token_embd.weight": (64, 32)}))
    with pytest.raises(ModelError, match="embedding and output are one"):
        check_adapter_fits(adapter, base)


def test_a_and_b_of_different_ranks(tmp_path: Path, base: GGUFHeader) -> None:
    adapter = read_adapter(write_adapter(tmp_path / "lora.gguf", rank_b=8))
    with pytest.raises(ModelError, match=r"A \[32, 4\] and B \[8, 32\] do not fit"):
        check_adapter_fits(adapter, base)


def test_another_architecture(tmp_path: Path, base: GGUFHeader) -> None:
    adapter = read_adapter(write_adapter(tmp_path / "lora.gguf", arch="qwen2"))
    with pytest.raises(ModelError, match=r"it is for architecture 'qwen2', and base\.gguf is 'llama'"):
        check_adapter_fits(adapter, base)


def test_a_pair_of_which_one_is_missing(tmp_path: Path, base: GGUFHeader) -> None:
    adapter = read_adapter(write_adapter(tmp_path / "lora.gguf", half=True))
    with pytest.raises(ModelError, match=r"blk\.0\.attn_q\.weight has no pair of lora_a and lora_b"):
        check_adapter_fits(adapter, base)


def test_a_model_is_no_adapter(base: GGUFHeader) -> None:
    with pytest.raises(ModelError, match=r"not a LoRA adapter: general\.type is model"):
        read_adapter(base.path)


@pytest.mark.parametrize(
    ("card", "names", "what"),
    [
        ("", (), r"holds 0 \.gguf files"),
        ("", ("a.gguf", "b.gguf"), r"holds 2 \.gguf files.*file = "),
        ('kind = "alora"', ("a.gguf",), r"adapter\.toml says alora, and a\.gguf is lora"),
        ("kind = ", ("a.gguf",), r"adapter\.toml: .*Mend that line"),
        ('rule = "solver"', ("a.gguf",), r"unknown field `rule`"),
        ('role = "judge"', ("a.gguf",), r"Invalid enum value 'judge'"),
        ('file = "gone.gguf"', ("a.gguf",), r"gone\.gguf: cannot be read: No such file"),
    ],
)
def test_a_folder_that_is_of_no_use(tmp_path: Path, card: str, names: tuple[str, ...], what: str) -> None:
    with pytest.raises(ModelError, match=what):
        read_adapter(folder(tmp_path, card, *names))


def test_the_card_may_name_one_of_two_files(tmp_path: Path) -> None:
    assert read_adapter(folder(tmp_path, 'file = "b.gguf"', "a.gguf", "b.gguf")).file.name == "b.gguf"


@pytest.mark.parametrize(
    ("card", "role"),
    [
        ('role = "refiner"', "refiner"),
        ('role = "refiner"\nfile = "b.gguf"', "refiner"),
        ('role = "refiner"\nfile = "a.gguf"', None),  # it is another file's
    ],
)
def test_a_named_file_keeps_the_card_beside_it(card: str, role: str | None, tmp_path: Path) -> None:
    assert read_adapter(folder(tmp_path, card, "a.gguf", "b.gguf") / "b.gguf").card.role == role


def test_an_adapter_of_another_role_is_refused(tmp_path: Path) -> None:
    adapter = read_adapter(folder(tmp_path, 'role = "verifier"', "lora.gguf"))
    check_role(adapter, "verifier")
    with pytest.raises(ModelError, match="trained as the verifier, and is given as the refiner"):
        check_role(adapter, "refiner")
    check_role(read_adapter(write_adapter(tmp_path / "plain.gguf")), "refiner")


def test_a_folder_without_a_card(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"an adapter folder holds adapter\.toml and one \.gguf"):
        read_adapter(tmp_path)
