"""Tokens of pieces, joined, are the tokenizer's own tokens of the whole text."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from evalsuite.harness.catalog import resolve
from evalsuite.harness.encoding import TextEncoder, cut_of
from evalsuite.harness.tasks import load_tasks

PARTS = [
    "\n",
    "\n\n",
    " ",
    "  ",
    "\t",
    "\r\n",
    "A.",
    "Answer:",
    "the cat",
    "é",
    "🙂",
    "<",
    "</s>",
    "<s>",
]
PARTS += ["?\n", "12345", "'s", " \n ", "ﬁ", "\u2028", "▁", "x"]


def byte_level(split: str | None) -> Any:
    """A byte-level BPE like GPT-2's or Llama 3's, trained here on a few lines."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    first = [pre_tokenizers.Split(Regex(split), "isolated")] if split else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*first, level])
    tokenizer.decoder = decoders.ByteLevel()
    lines = ["the cat\n\nAnswer: the cat?\n", "A.\nB.\n", " \n \n", "12345 the the"] * 20
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "</s>"],
    )
    tokenizer.train_from_iterator(lines, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def tokenizers(stories: Any) -> dict[str, Any]:
    from evalsuite.harness.encoding import _LLAMA_3

    return {"stories": stories, "gpt2": byte_level(None), "llama3": byte_level(_LLAMA_3)}


@pytest.mark.parametrize(
    ("name", "cut"), [("stories", "before"), ("gpt2", "after"), ("llama3", "after")]
)
def test_joined_pieces_are_the_whole(name: str, cut: str, tokenizer: Any) -> None:
    its = tokenizers(tokenizer)[name]
    assert cut_of(its) == cut
    encoder, chance = TextEncoder(its, "<s>"), random.Random(3)
    cuts = 0
    for _ in range(3000):
        text = "".join(chance.choices(PARTS, k=chance.randint(1, 14)))
        plain = text.startswith("<s>")
        assert list(encoder.encode(text)) == its.encode(text, add_special_tokens=not plain), text
        cuts += len(encoder.pieces(text)) > 1
        context, more = text.rstrip(), "".join(chance.choices(PARTS, k=3))
        if context:
            whole = its.encode(context + more, add_special_tokens=not plain)
            own = its.encode(context, add_special_tokens=not plain)
            assert list(encoder.continuation(context, more)) == whole[len(own) :], (context, more)
    assert cuts > 1000


def test_tokenizers_that_cannot_be_cut_are_left_whole(tokenizer: Any) -> None:
    its = byte_level(r"[^\n]+\n+|\S+")  # words that go on over line breaks
    assert cut_of(its) is None
    text = "the cat\n\nAnswer: x\n"
    assert list(TextEncoder(its, "<s>").encode(text)) == its.encode(text)


def test_prompts_of_real_tasks(tokenizer: Any, benchmarks: Path) -> None:
    specs = resolve(["gsm8k", "race", "lm-eval:mmlu_anatomy", "hellaswag"])
    task_set = load_tasks(specs, data_dir=benchmarks, limit=20)
    encoder = TextEncoder(tokenizer, "<s>")
    for instances in task_set.instances.values():
        for instance in instances:
            assert list(encoder.encode(instance.args[0])) == tokenizer.encode(instance.args[0])
