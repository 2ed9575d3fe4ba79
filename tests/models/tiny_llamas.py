"""Checkpoints of the LLaMA families, a few layers of random weights each, written by transformers.

The tokenizers have the families' forms: SentencePiece's kind of BPE with bytes to fall back on for
LLaMA 1 and 2 and what was tuned from them, byte-level BPE for Llama 3.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

TEXT = [
    "A chat between a curious user and an artificial intelligence assistant.",
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    "BEGINNING OF CONVERSATION: USER: GPT: ASSISTANT: ### Instruction: ### Response:",
    "What is the capital of the small country? It lies by the sea, and 42 people live there.",
    "Write a short story about two friends who walk to the market on a rainy morning.",
]
OASST_TOKENS = ("<|prefix_end|>", "<|prompter|>", "<|system|>", "<|prefix_begin|>", "<|assistant|>")
LLAMA3_TOKENS = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_2|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
# What Llama 3.1's own template writes for plain conversations, in words of these tests.
LLAMA31_TEMPLATE = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]["role"] == "system" %}
    {%- set system = messages[0]["content"] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- "<|start_header_id|>" + message["role"] + "<|end_header_id|>\\n\\n" }}
    {{- message["content"] | trim + "<|eot_id|>" }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "<|start_header_id|>assistant<|end_header_id|>\\n\\n" }}
{%- endif %}
"""


def llama_tokenizer(
    added: Sequence[str | AddedToken] = (), *, metaspace: bool = False, size: int = 200
) -> Tokenizer:
    """The first LLaMA's form: <unk>, <s>, </s>, 256 bytes, pieces that begin with "▁".

    `metaspace` is the newer way ("legacy" off): only a text's very beginning gets a space.
    """
    learned = Tokenizer(BPE())
    learned.normalizer = normalizers.Replace(" ", "▁")
    learned.train_from_iterator(TEXT, BpeTrainer(vocab_size=size, show_progress=False))
    model = json.loads(learned.to_str())["model"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += [token for token in model["vocab"] if token not in tokens]
    made = Tokenizer(
        BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=[tuple(merge) for merge in model["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    if metaspace:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        made.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.add_tokens([t if isinstance(t, AddedToken) else AddedToken(t) for t in added])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return made


def llama3_tokenizer() -> Tokenizer:
    """Llama 3's form: bytes, whole words looked up first, special tokens after the vocabulary."""
    made = Tokenizer(BPE(ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\w+| ?[^\s\w]+|\s+(?!\S)|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        TEXT,
        BpeTrainer(
            vocab_size=400,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    more = [f"<|reserved_special_token_{n}|>" for n in range(3, 120)]
    made.add_special_tokens([*LLAMA3_TOKENS, *more])
    bos = "<|begin_of_text|>"
    made.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, made.token_to_id(bos))]
    )
    return made


def fast(made: Tokenizer, bos: str = "<s>", eos: str = "</s>") -> PreTrainedTokenizerFast:
    """A tokenizer as transformers wraps it."""
    unk = {"unk_token": "<unk>"} if made.token_to_id("<unk>") is not None else {}
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=bos, eos_token=eos, **unk)


def write_checkpoint(
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    *,
    tokenizer_class: str | None = None,
    chat_template: str | None = None,
    generation: dict[str, Any] | None = None,
    seed: int = 0,
    **config: Any,
) -> Path:
    """A folder with config.json, model.safetensors and the tokenizer's files."""
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        # Wide enough that the likeliest token stands out from the next by more than rounding.
        "initializer_range": 0.3,
    }
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**{**shape, **config}))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    settings_file = folder / "tokenizer_config.json"
    settings = json.loads(settings_file.read_text())
    if tokenizer_class is not None:
        settings["tokenizer_class"] = tokenizer_class
    if chat_template is not None:
        settings["chat_template"] = chat_template
    settings_file.write_text(json.dumps(settings))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder
