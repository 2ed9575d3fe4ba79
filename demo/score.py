"""Scores a checkpoint on items the way lm-eval's two request types do.

Knows a transformers model and its tokenizer. A choice's score is the summed log-probability of
" " + choice; a short answer is right when greedy decoding gives it word for word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from demo.item import Item

BATCH = 256
MAX_NEW_TOKENS = 28


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share."""
    z = 1.959964
    p, z2 = right / n, z * z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * ((p * (1 - p) + z2 / (4 * n)) / n) ** 0.5
    return centre - half, centre + half


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])


@torch.inference_mode()
def log_likelihoods(
    model: LlamaForCausalLM, contexts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> list[float]:
    """The summed log-probability of each answer after its context."""
    found = [0.0] * len(contexts)
    order = sorted(range(len(contexts)), key=lambda i: len(contexts[i]) + len(answers[i]))
    for first in range(0, len(order), BATCH):
        group = order[first : first + BATCH]
        # padding comes last, and attention looks back: it changes nothing
        tokens = _padded([[*contexts[i], *answers[i]] for i in group])
        logs = model(tokens).logits.float().log_softmax(-1)  # [group, length, vocab]
        for row, i in enumerate(group):
            start = len(contexts[i])
            at = torch.arange(start - 1, start - 1 + len(answers[i]))
            found[i] = float(logs[row, at, torch.tensor(answers[i])].sum())
    return found


@torch.inference_mode()
def greedy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str]
) -> list[str]:
    """What greedy decoding writes up to the first line break or the end token, stripped."""
    encoded = [tokenizer.encode(prompt) for prompt in prompts]
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, tokens in enumerate(encoded):
        by_length[len(tokens)].append(i)
    texts = [""] * len(prompts)
    for rows in by_length.values():
        out = model.generate(
            torch.tensor([encoded[i] for i in rows]), do_sample=False, max_new_tokens=MAX_NEW_TOKENS
        )
        for i, tokens in zip(rows, out, strict=True):
            new = tokenizer.decode(tokens[len(encoded[i]) :], skip_special_tokens=True)
            texts[i] = new.split("\n")[0].strip()
    return texts


def right(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, items: Iterable[Item]
) -> list[bool]:
    """Whether each item is answered correctly."""
    items = list(items)
    results = [False] * len(items)
    owners: list[tuple[int, str]] = []
    contexts: list[list[int]] = []
    answers: list[list[int]] = []
    for i, item in enumerate(items):
        context = tokenizer.encode(item.prompt)
        for choice in item.choices:
            whole = tokenizer.encode(f"{item.prompt} {choice}")
            owners.append((i, choice))
            contexts.append(context)
            answers.append(whole[len(context) :])
    scores: dict[int, dict[str, float]] = defaultdict(dict)
    for (i, choice), score in zip(owners, log_likelihoods(model, contexts, answers), strict=True):
        scores[i][choice] = score
    for i, by_choice in scores.items():
        results[i] = max(by_choice, key=by_choice.__getitem__) == items[i].answer
    opens = [i for i, item in enumerate(items) if not item.choices]
    for i, text in zip(
        opens, greedy(model, tokenizer, [items[i].prompt for i in opens]), strict=True
    ):
        results[i] = text == items[i].answer
    return results
