"""Trains the demo pair from nothing and writes its two checkpoint folders.

Knows the sizes, the schedule and the files of a checkpoint. Run as `python -m demo.train small`
and `python -m demo.train large`; the text, the order and the start are given by the seed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from demo import corpus, items, tokenizer
from demo.item import SEED, Item
from demo.model import Llama
from demo.score import right, wilson

CHECKPOINTS = Path(__file__).resolve().parent.parent / "evalsuite" / "models" / "demo"
RECIPE = "recipe.json"
CONTEXT = 512
UNK, BOS, EOS = 0, 1, 2
TOKENIZER_CHUNKS = 4
BATCH = 3072  # tokens with padding
WARM_UP = 200  # steps
IGNORED = -100
UNSEEN_ITEMS = 100  # a capability


@dataclass(frozen=True)
class Size:
    width: int
    layers: int
    heads: int
    key_value_heads: int
    inner: int
    rate: float
    chunks: int

    def config(self, vocabulary: int) -> LlamaConfig:
        return LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=self.width,
            intermediate_size=self.inner,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_value_heads,
            head_dim=self.width // self.heads,
            max_position_embeddings=CONTEXT,
            rms_norm_eps=1e-5,
            initializer_range=0.03,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
            tie_word_embeddings=True,
            bos_token_id=BOS,
            eos_token_id=EOS,
            pad_token_id=UNK,
        )


SIZES = {
    "small": Size(width=48, layers=2, heads=3, key_value_heads=3, inner=128, rate=4e-3, chunks=44),
    "large": Size(
        width=128, layers=4, heads=4, key_value_heads=2, inner=264, rate=2.5e-3, chunks=44
    ),
}

Row = tuple[list[int], list[bool]]


def encode(documents: list[corpus.Document], bpe: Tokenizer) -> list[Row]:
    """Tokens of each document and which of them are learned: answers and the end."""
    parts: list[str] = []
    for document in documents:
        for i, item in enumerate(document):
            parts.append((corpus.SEPARATOR if i else "") + item.prompt)
            parts.append(f" {item.answer}")
    encoded = iter(bpe.encode_batch_fast(parts, add_special_tokens=False))
    rows = []
    for document in documents:
        tokens, learned = [BOS], [False]
        for i in range(len(document)):
            prompt, answer = next(encoded).ids, next(encoded).ids
            tokens += prompt + answer
            # a separator follows an answer as the end token does: its first token is learned too
            learned += [i > 0, *[False] * (len(prompt) - 1), *[True] * len(answer)]
        rows.append(([*tokens, EOS][:CONTEXT], [*learned, True][:CONTEXT]))
    return rows


def batches_of(rows: list[Row], rng: random.Random) -> Iterator[tuple[Tensor, Tensor]]:
    """(inputs, targets), each [batch, length]: rows of like length together, in random order."""
    rng.shuffle(rows)
    rows.sort(key=lambda row: len(row[0]))
    groups: list[list[Row]] = [[]]
    for row in rows:
        if (len(groups[-1]) + 1) * len(row[0]) > BATCH:
            groups.append([])
        groups[-1].append(row)
    rng.shuffle(groups)
    for group in groups:
        width = len(group[-1][0])
        tokens = torch.tensor([[*t, *[UNK] * (width - len(t))] for t, _ in group])
        learned = torch.tensor([[*m, *[False] * (width - len(m))] for _, m in group])
        targets = torch.where(learned, tokens, IGNORED)
        yield tokens[:, :-1], targets[:, 1:]


def parameter_groups(model: Llama, decay: float = 0.05) -> list[dict[str, object]]:
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() != 2]
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def exported(model: Llama, config: LlamaConfig) -> LlamaForCausalLM:
    """The same weights in transformers' own class."""
    twin = LlamaForCausalLM(config)
    state = {k: v.detach().clone() for k, v in model.state_dict().items()}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    twin.load_state_dict(state)
    twin.tie_weights()
    twin.eval()
    twin.generation_config = GenerationConfig(
        bos_token_id=BOS, eos_token_id=EOS, pad_token_id=UNK, do_sample=False
    )
    return twin


def check_twin(model: Llama, twin: LlamaForCausalLM) -> None:
    """The trainer's model and transformers' must be one function."""
    tokens = torch.randint(3, twin.config.vocab_size, (2, 64), generator=torch.manual_seed(0))
    with torch.inference_mode():
        ours = model(tokens, torch.ones_like(tokens, dtype=torch.bool))
        theirs = twin(tokens).logits.flatten(0, 1)
    worst = float((ours - theirs).abs().max())
    if worst > 1e-3:
        raise RuntimeError(f"the exported model differs by {worst} from the trained one")


def shares(
    model: LlamaForCausalLM, wrapped: PreTrainedTokenizerFast, tasks: dict[str, list[Item]]
) -> dict[str, dict[str, object]]:
    """Share right, interval, n and the best constant answer, by task."""
    found: dict[str, dict[str, object]] = {}
    for task, rows in tasks.items():
        hits = right(model, wrapped, rows)
        low, high = wilson(sum(hits), len(hits))
        kinds: dict[str, list[bool]] = {}
        for row, hit in zip(rows, hits, strict=True):
            kinds.setdefault(row.kind, []).append(hit)
        found[task] = {
            "right": sum(hits),
            "n": len(hits),
            "share": round(sum(hits) / len(hits), 4),
            "ci": [round(low, 4), round(high, 4)],
            "constant": round(items.constant_answer(rows), 4),
            "kinds": {k: f"{sum(v)}/{len(v)}" for k, v in sorted(kinds.items())},
        }
    return found


def by_capability(
    scores: dict[str, dict[str, object]], tasks: dict[str, list[Item]]
) -> tuple[dict[str, dict[str, object]], dict[str, object]]:
    """Each capability with the Wilson interval of its items, and the mean of the capabilities.

    The tasks of a capability have equally many items, so the mean of the tasks is the share of
    all their items. The overall interval adds up the variances of the five.
    """
    hits: dict[str, list[tuple[int, int, list[Item]]]] = {}
    for task, rows in tasks.items():
        entry = scores[task]
        hits.setdefault(rows[0].capability, []).append(
            (int(str(entry["right"])), int(str(entry["n"])), rows)
        )
    found: dict[str, dict[str, object]] = {}
    values: list[float] = []
    variance = 0.0
    for capability, parts in hits.items():
        n, correct = sum(part[1] for part in parts), sum(part[0] for part in parts)
        low, high = wilson(correct, n)
        share = correct / n
        constant = sum(items.constant_answer(part[2]) for part in parts) / len(parts)
        found[capability] = {
            "share": round(share, 4),
            "ci": [round(low, 4), round(high, 4)],
            "n": n,
            "constant": round(constant, 4),
        }
        values.append(share)
        variance += share * (1 - share) / n
    mean = sum(values) / len(values)
    half = 1.959964 * variance**0.5 / len(values)
    overall: dict[str, object] = {
        "share": round(mean, 4),
        "ci": [round(mean - half, 4), round(mean + half, 4)],
    }
    return found, overall


def train(name: str, size: Size, chunks: int, output: Path, every: int, compiled: bool) -> None:
    torch.manual_seed(SEED)
    bpe = tokenizer.train(
        f"{item.prompt} {item.answer}" for item in corpus.stream(TOKENIZER_CHUNKS)
    )
    config = size.config(bpe.get_vocab_size())
    model = Llama(config)
    step_model = torch.compile(model, dynamic=True) if compiled else model
    optimizer = torch.optim.AdamW(
        parameter_groups(model), lr=size.rate, betas=(0.9, 0.98), fused=True
    )
    wrapped = tokenizer.wrapped(bpe, CONTEXT)
    starter = items.starter()
    print(name, sum(p.numel() for p in model.parameters()), "parameters", flush=True)
    began, seen, steps, loss_sum, loss_count, last_loss = time.monotonic(), 0, 0, 0.0, 0, math.nan
    for index in range(chunks):
        rng = random.Random(f"{SEED}/order/{index}")
        batches = list(batches_of(encode(corpus.chunk(index), bpe), rng))
        for number, (inputs, targets) in enumerate(batches):
            done = (index + number / len(batches)) / chunks
            cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
            for parameters in optimizer.param_groups:
                parameters["lr"] = size.rate * cosine * min(1.0, (steps + 1) / WARM_UP)
            keep = targets != IGNORED
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = step_model(inputs, keep)
            loss = F.cross_entropy(logits, targets[keep])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss_sum += float(loss.detach())
            seen += int((inputs != UNK).sum())
            steps += 1
            loss_count += 1
        last_loss, loss_sum, loss_count = loss_sum / loss_count, 0.0, 0
        seconds = time.monotonic() - began
        print(
            f"{name} chunk {index + 1}/{chunks} loss {last_loss:.4f} steps {steps} "
            f"tokens {seen} seconds {seconds:.0f}",
            flush=True,
        )
        if every and (index + 1) % every == 0 and index + 1 < chunks:
            print(summary(shares(exported(model, config), wrapped, starter)), flush=True)
    seconds = time.monotonic() - began
    twin = exported(model, config)
    check_twin(model, twin)
    output.mkdir(parents=True, exist_ok=True)
    twin.save_pretrained(output)
    wrapped.save_pretrained(output)
    # safetensors writes files that only their owner can read
    (output / "model.safetensors").chmod(0o644)
    recipe: dict[str, object] = {
        "seed": SEED,
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_seen": seen,
        "steps": steps,
        "chunks": chunks,
        "seconds": round(seconds),
        "compiled": compiled,
        "threads": torch.get_num_threads(),
        "loss": round(last_loss, 4),
        "peak_learning_rate": size.rate,
    }
    write_recipe(output, recipe)


def write_recipe(folder: Path, recipe: dict[str, object]) -> None:
    (folder / RECIPE).write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")


def score_folder(folder: Path) -> None:
    """Scores the checkpoint as it lies on disk and puts the scores into its recipe."""
    model = LlamaForCausalLM.from_pretrained(folder)
    wrapped = AutoTokenizer.from_pretrained(folder)
    starter = items.starter()
    scores = shares(model, wrapped, starter)
    unseen = shares(model, wrapped, items.unseen_wordings(UNSEEN_ITEMS))
    capabilities, overall = by_capability(scores, starter)
    print(summary(scores), "\nunseen wordings:\n" + summary(unseen))
    print(json.dumps({"overall": overall} | capabilities, indent=1))
    recipe = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    recipe |= {
        "overall": overall,
        "capabilities": capabilities,
        "starter": scores,
        "unseen_wordings": unseen,
    }
    write_recipe(folder, recipe)


def summary(scores: dict[str, dict[str, object]]) -> str:
    return "\n".join(
        f"  {task:22} {s['share']:.3f} {s['ci']} n {s['n']} constant {s['constant']} {s['kinds']}"
        for task, s in scores.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--chunks", type=int, help="less text than the recipe says, to try it out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--every", type=int, default=0, help="score after so many chunks")
    parser.add_argument(
        "--compile", action="store_true", help="a third quicker; needs a C++ compiler"
    )
    parser.add_argument("--output", type=Path, help="where the checkpoint goes")
    parser.add_argument(
        "--score-only", action="store_true", help="score the checkpoint that is there again"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    name, size = arguments.size, SIZES[arguments.size]
    output = arguments.output or CHECKPOINTS / f"demo-{name}"
    if not arguments.score_only:
        chunks = arguments.chunks or size.chunks
        train(name, size, chunks, output, arguments.every, arguments.compile)
    score_folder(output)


if __name__ == "__main__":
    main()
