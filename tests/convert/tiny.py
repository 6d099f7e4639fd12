"""Tiny random models of every architecture, with a tokenizer of its family, as Hugging Face folders; and adapters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

ARCHITECTURES = ("llama", "mistral", "smollm2", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "smollm3")
MODEL_TYPES = {"smollm2": "llama", "granite-code": "llama", "gemma3": "gemma3_text"}
SENTENCEPIECE = ("mistral", "gemma2", "gemma3", "phi3")
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    "Step 1: In the afternoon Tom picks 14 * 2 = 28 apples, and keeps 33 of them for the other children.",
    "The discount is 80 * 25 / 100 = 20 dollars. The jacket then costs 80 - 20 = 60 dollars.",
    "There are 240 - 120 = 120 pages left; they take 120 / 6 = 20 minutes. It's the same, isn't it?",
    "def solution():\n    return 14 + 28\n\n\\boxed{33} \\frac{1}{2} x^2 + y_1 \\le 3",
    "한국어 문장 하나와 日本語の文, ein schöner Tag, naïve café.",
]
OWN: dict[str, dict[str, Any]] = {
    "gemma2": {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 16, "final_logit_softcapping": 30.0},
    "gemma3": {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 16, "num_hidden_layers": 7},
    "qwen3": {"head_dim": 16},
    "granite-code": {"mlp_bias": True, "attention_bias": True},
    "smollm3": {"num_hidden_layers": 5, "no_rope_layer_interval": 4, "pad_token_id": None},
    "phi3": {"original_max_position_embeddings": 256, "pad_token_id": None},
    "mistral": {"sliding_window": None, "head_dim": 16},
}
TIED = ("smollm2", "gemma2", "gemma3", "smollm3")


def tiny_model(
    kind: str, folder: Path, *, seed: int = 0, dtype: str = "bfloat16", tie: bool | None = None, hidden: int = 64
) -> Path:
    """Writes config.json, generation_config.json, model.safetensors and the tokenizer's files. Weights are random and
    large enough for every part to count."""
    tokenizer = tiny_tokenizer(kind)
    tokenizer.save_pretrained(folder)
    config = AutoConfig.for_model(
        MODEL_TYPES.get(kind, kind),
        **{
            "vocab_size": len(tokenizer),
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "tie_word_embeddings": kind in TIED if tie is None else tie,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            **({"head_dim": hidden // 4} if "head_dim" in OWN.get(kind, {}) else {}),
            **{key: value for key, value in OWN.get(kind, {}).items() if key != "head_dim"},
        },
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.add_(0.2 * torch.randn_like(weight))
            else:
                weight.copy_(torch.randn_like(weight) * (0.3 if name.endswith("bias") else weight.shape[-1] ** -0.5))
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")]
    model.save_pretrained(folder)
    return folder


def tiny_adapter(base: Path, folder: Path, *, seed: int = 0, **config: Any) -> Path:
    """Writes a PEFT folder whose every factor is random, so that the adapter does something."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(seed)
    adapted = get_peft_model(model, LoraConfig(**{"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, **config}))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_magnitude" in name:
                weight.mul_(1 + 0.2 * torch.rand_like(weight))
            elif "lora_" in name:
                weight.copy_(0.2 * torch.randn_like(weight))
            elif weight.requires_grad:  # saved modules, trained biases
                weight.add_(0.1 * torch.randn_like(weight))
    adapted.save_pretrained(folder)
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = f"tiny/{base.name}"
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def tiny_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of some hundred tokens, as the family of `kind` has it."""
    if kind in SENTENCEPIECE:
        tokenizer = _sentencepiece(prefix=kind in ("mistral", "phi3"))
        begin, end = "<s>", "</s>"
    else:
        tokenizer = _byte_level(kind)
        begin, end = "<|begin|>", "<|endoftext|>"
    names = (begin, end, "<|im_start|>", "<|im_end|>", "<|endoftext|>")  # llama.cpp wants the last of every Phi-3
    stripped = (end, "<|im_start|>", "<|im_end|>") if kind == "phi3" else ()  # so llama.cpp takes them in a Phi-3
    special = [AddedToken(token, special=True, rstrip=token in stripped) for token in dict.fromkeys(names)]
    if kind in SENTENCEPIECE:
        special.append(AddedToken("<unk>", special=True))
    tokenizer.add_special_tokens(special)
    if kind in SENTENCEPIECE or kind == "llama":
        first = (begin, tokenizer.token_to_id(begin))
        tokenizer.post_processor = processors.TemplateProcessing(f"{begin} $A", special_tokens=[first])
    opening = {"bos_token": begin} if kind != "qwen2" else {}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, **opening)
    fast.chat_template = TEMPLATE
    return fast


def _byte_level(kind: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if kind.startswith("qwen"):
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(_byte_level_steps(kind))
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def _byte_level_steps(kind: str) -> Sequence[Any]:
    if kind == "smollm2":
        return [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    pattern = Regex(QWEN2 if kind.startswith("qwen") else LLAMA3)
    return [
        pre_tokenizers.Split(pattern, "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]


def _sentencepiece(prefix: bool) -> Tokenizer:
    """Pieces that are trained, then merged in every way that makes a piece, as Hugging Face converts SentencePiece."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trained.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=260, show_progress=False))
    pieces = sorted(trained.get_vocab(), key=trained.get_vocab().__getitem__)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    known = set(pieces)
    merges = [
        (piece[:cut], piece[cut:])
        for piece in pieces
        for cut in range(1, len(piece))
        if piece[:cut] in known and piece[cut:] in known
    ]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    steps: list[Any] = [normalizers.Prepend("▁")] if prefix else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            *([decoders.Strip(" ", 1, 0)] if prefix else []),
        ]
    )
    return tokenizer
