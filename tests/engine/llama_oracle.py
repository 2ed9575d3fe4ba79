"""The oracle: transformers' LlamaForCausalLM, with small random weights written to disk.

Everything here is transformers and torch; nothing of the engine under test.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

SMALL = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "rope_theta": 10_000.0,
}


def write_model(folder: Path, *, seed: int = 0, scale: float = 0.4, **settings: object) -> Path:
    """Write a random LLaMA; `settings` override SMALL. The weights are large enough to matter."""
    config = LlamaConfig(**{**SMALL, **settings})
    return save_random(LlamaForCausalLM(config), folder, seed=seed, scale=scale)


def save_random(
    model: PreTrainedModel, folder: Path, *, seed: int, scale: float, **how: object
) -> Path:
    """Fill a model with random weights and save it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            # Norms around 1, and no bias or weight at the value it is initialised with.
            parameter.copy_(1 + 0.2 * noise if "norm" in name else scale * noise)
    model.save_pretrained(folder, **how)
    return folder


def load_oracle(folder: Path) -> PreTrainedModel:
    """The oracle in float32, whatever the folder holds."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


def oracle_logits(model: PreTrainedModel, tokens: tuple[int, ...]) -> torch.Tensor:
    """float32 logits [T, V] of one sequence, alone and unpadded."""
    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0].float()


@dataclass(frozen=True)
class Expected:
    """A scored continuation, and the smallest gap between the two best tokens on its way."""

    logprob: float
    is_greedy: bool
    gap: float


def expected_score(
    model: PreTrainedModel, context: tuple[int, ...], continuation: tuple[int, ...], limit: int
) -> Expected:
    """Score one continuation, by lm-eval's truncation to `limit` tokens of input."""
    tokens = (context + continuation)[-(limit + 1) :][:-1]
    rows = oracle_logits(model, tokens)[-len(continuation) :]
    targets = torch.tensor(continuation)
    logprobs = rows.log_softmax(-1).gather(1, targets[:, None]).double()
    best = rows.topk(2, dim=-1).values
    return Expected(
        logprob=float(logprobs.sum()),
        is_greedy=bool((rows.argmax(-1) == targets).all()),
        gap=float((best[:, 0] - best[:, 1]).min()),
    )


def greedy_tokens(
    model: PreTrainedModel, prompt: tuple[int, ...], new: int, eos: tuple[int, ...]
) -> tuple[list[int], float]:
    """What transformers' generate answers (EOS included), and the smallest gap on the way."""
    ((answer, gap),) = greedy_batch(model, [prompt], new, eos)
    return answer, gap


def greedy_batch(
    model: PreTrainedModel, prompts: list[tuple[int, ...]], new: int, eos: tuple[int, ...]
) -> list[tuple[list[int], float]]:
    """`greedy_tokens` of prompts of one length, so that nothing has to be padded."""
    with torch.inference_mode():
        out = model.generate(
            torch.tensor(prompts),
            attention_mask=torch.ones(len(prompts), len(prompts[0]), dtype=torch.long),
            max_new_tokens=new,
            do_sample=False,
            eos_token_id=list(eos),
            pad_token_id=0,
            return_dict_in_generate=True,
            output_logits=True,
        )
    best = torch.stack([logits.float().topk(2).values for logits in out.logits], dim=1)  # [B, T, 2]
    gaps = best[..., 0] - best[..., 1]
    answers = out.sequences[:, len(prompts[0]) :].tolist()
    found = []
    for tokens, row in zip(answers, gaps, strict=True):
        ends = [i + 1 for i, token in enumerate(tokens) if token in eos]
        length = ends[0] if ends else len(tokens)
        found.append((tokens[:length], float(row[:length].min())))
    return found


def make_tokenizer(vocabulary: int = 96) -> PreTrainedTokenizerFast:
    """A LLaMA-like tokenizer to decode with: <unk> <s> </s>, bytes, and pieces of text.

    Ids 3.. are single bytes for newline and for the parts of 'é' and '€' (which so are split over
    tokens), then pieces, some beginning with a space.
    """
    raw = ["<0x0A>", "<0xC3>", "<0xA9>", "<0xE2>", "<0x82>", "<0xAC>"]
    words = ["Q", ":", "Question", "an", "▁an", "swer", "▁answer", "\n\n", "##", "#", "▁", "a", "b"]
    pieces = ["<unk>", "<s>", "</s>", *raw, *words]
    pieces += [f"▁w{i}" for i in range(vocabulary - len(pieces))]
    model = models.BPE(
        vocab={piece: i for i, piece in enumerate(pieces)},
        merges=[],
        unk_token="<unk>",
        byte_fallback=True,
    )
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
