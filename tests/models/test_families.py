"""Five families by their registry names: from a folder, the same words as transformers.

Each is a checkpoint of the family's own format with few layers and random weights.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llamas import (
    LLAMA31_TEMPLATE,
    OASST_TOKENS,
    fast,
    llama3_tokenizer,
    llama_tokenizer,
    write_checkpoint,
)
from tokenizers import AddedToken
from transformers import AutoTokenizer, LlamaForCausalLM

from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.models import (
    choose_template,
    encode_chat,
    find,
    load_tokenizer,
    locate,
    resolve_models,
    tokenizer_warnings,
)
from evalsuite.models.chat import Message
from evalsuite.records import GenerateRequest

NEW_TOKENS = 24
CONVERSATIONS: list[list[Message]] = [
    [{"role": "user", "content": "What is the capital?"}],
    [
        {"role": "user", "content": "Write a short story about 42 friends."},
        {"role": "assistant", "content": "Two friends walk to the market."},
        {"role": "user", "content": "And é?\n"},
    ],
    [{"role": "system", "content": "Be polite."}, {"role": "user", "content": "Hi"}],
]


def _llama(folder: Path) -> Path:
    return write_checkpoint(
        folder, fast(llama_tokenizer()), tokenizer_class="LlamaTokenizer", rms_norm_eps=1e-6
    )


def _vicuna(folder: Path) -> Path:
    # Sampling settings as in some of its repositories: greedy answers must not mind them.
    return write_checkpoint(
        folder,
        fast(llama_tokenizer()),
        tokenizer_class="LlamaTokenizer",
        seed=1,
        rms_norm_eps=1e-5,
        pad_token_id=0,
        generation={
            "bos_token_id": 1,
            "eos_token_id": 2,
            "do_sample": True,
            "temperature": 0.9,
            "top_p": 0.6,
        },
    )


def _koala(folder: Path) -> Path:
    # Only .bin shards are published.
    write_checkpoint(folder, fast(llama_tokenizer()), seed=2, rms_norm_eps=1e-6)
    model = LlamaForCausalLM.from_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def _oasst(folder: Path) -> Path:
    # Five more tokens after the base's, which its embedding was made longer for.
    added = [AddedToken(token, normalized=False) for token in OASST_TOKENS]
    return write_checkpoint(folder, fast(llama_tokenizer(added)), seed=3, rms_norm_eps=1e-6)


def _llama31(folder: Path) -> Path:
    tokenizer = fast(llama3_tokenizer(), "<|begin_of_text|>", "<|eot_id|>")
    ends = [tokenizer.convert_tokens_to_ids(t) for t in ("<|end_of_text|>", "<|eom_id|>")]
    return write_checkpoint(
        folder,
        tokenizer,
        chat_template=LLAMA31_TEMPLATE,
        generation={
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": [*ends, tokenizer.eos_token_id],
        },
        seed=4,
        num_key_value_heads=2,
        rms_norm_eps=1e-5,
        max_position_embeddings=2048,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 512,
        },
    )


FAMILIES: dict[str, tuple[str, Callable[[Path], Path], str | None]] = {
    "llama-7b": ("llama-7b", _llama, None),
    "vicuna-13b": ("vicuna-13b-v1.5", _vicuna, "vicuna_v1.1"),
    "koala-13b": ("koala-distill-13b", _koala, "koala_easylm"),
    "oasst-30b": ("oasst-sft-7-llama-30b", _oasst, "oasst_llama"),
    "llama-3.1-8b-instruct": ("llama-3.1-8b-instruct", _llama31, "repo"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_folder_under_its_registry_name_answers_as_transformers_does(
    name: str, tmp_path: Path
) -> None:
    key, write, template_name = FAMILIES[name]
    folder = write(tmp_path / "checkpoint-500")
    (spec,) = resolve_models([f"{name}={folder}"])
    entry = find(name)
    assert entry is not None
    assert (spec.label, spec.entry, entry.name) == (name, key, key)
    assert locate(spec) == folder

    tokenizer = load_tokenizer(folder, spec.label)
    assert tokenizer_warnings(tokenizer, entry.tokenizer) == ()
    template = choose_template(spec, folder)
    own = AutoTokenizer.from_pretrained(folder)
    if template is None:
        assert template_name is None
        texts = [messages[-1]["content"] for messages in CONVERSATIONS]
        prompts = [tuple(tokenizer(text)["input_ids"]) for text in texts]
    else:
        assert template.name == template_name
        encoded = [encode_chat(tokenizer, template, messages) for messages in CONVERSATIONS]
        texts = [prompt.text for prompt in encoded]
        prompts = [prompt.tokens for prompt in encoded]

    model = LlamaForCausalLM.from_pretrained(folder).eval()
    engine = LlamaEngine.load(folder, tokenizer, device="cpu", dtype="float32")
    assert engine.warnings == ()
    requests = [GenerateRequest(prompt, NEW_TOKENS) for prompt in prompts]
    responses = engine.generate(requests)
    for text, prompt, response in zip(texts, prompts, responses, strict=True):
        # The same prompt: the rendered text, tokenised by transformers in its own way.
        bos = text.startswith(own.bos_token)
        ids = own(text, add_special_tokens=not bos, return_tensors="pt")["input_ids"]
        assert tuple(ids[0].tolist()) == prompt
        assert prompt.count(own.bos_token_id) == 1
        assert prompt[0] == own.bos_token_id
        expected, end = _greedy(model, ids)
        assert list(response.tokens) == expected
        assert response.finish == ("eos" if end else "length")
        assert len(set(expected)) > 3 or end  # a model that repeats one token would prove little


def _greedy(model: Any, ids: torch.Tensor) -> tuple[list[int], bool]:
    """What transformers' generate adds to a prompt, without the token that ends it."""
    with torch.no_grad():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            temperature=None,
            top_p=None,
            max_new_tokens=NEW_TOKENS,
            pad_token_id=0,
        )
    new = out[0, ids.shape[1] :].tolist()
    ends = model.generation_config.eos_token_id
    ends = [ends] if isinstance(ends, int) else ends
    for position, token in enumerate(new):
        if token in ends:
            return new[:position], True
    return new, False
