"""The engines that the benchmark compares with: lm-eval's hf backend and transformers' own.

Both run transformers' LlamaForCausalLM. lm-eval's code runs as it stands, with its own sorting,
padding and reuse of one-token continuations; only its tokenizer is bypassed, because the prompts
are token ids already. Knows workloads; nothing of the engine that is measured.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

from evalsuite.records import GenerateRequest, ScoreRequest

BatchSize = int | str
"""A number, or "auto"."""

# Tokens of one of generate_batch's steps on a CPU: as fast as more, and its mask stays small.
_CPU_TOKENS = 256

# What is left free of a machine's memory when a batch is judged to fit.
_HEADROOM = 0.85


class TokenHFLM(HFLM):
    """lm-eval's backend, given prompts as names of token sequences instead of texts."""

    def __init__(self, model: Any, tokenizer: Any, **settings: Any) -> None:
        self.prompts: dict[str, list[int]] = {}
        super().__init__(pretrained=model, tokenizer=tokenizer, **settings)

    def tok_encode(self, string: str, *unused: Any, **also_unused: Any) -> list[int]:
        """The ids of a prompt named in `prompts`."""
        return self.prompts[string]

    def tok_batch_encode(
        self,
        strings: list[str],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and attention mask [B, T] of named prompts, padded on their left as lm-eval does."""
        rows = [self.prompts[name] for name in strings]
        width = max(len(row) for row in rows)
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        return ids, mask


class Peer:
    """transformers' LLaMA of a folder, behind lm-eval's backend and alone."""

    def __init__(
        self,
        folder: Path,
        tokenizer: Any,
        *,
        device: str,
        dtype: str,
        softmax_dtype: str | None = None,
    ) -> None:
        number = getattr(torch, dtype)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=number).to(device).eval()
        self.model = model
        self.device = torch.device(device)
        with quiet():
            self.lm = TokenHFLM(
                model, tokenizer, batch_size=1, max_batch_size=64, softmax_dtype=softmax_dtype
            )

    @property
    def weight_bytes(self) -> int:
        """Bytes of the peer's weights."""
        return sum(parameter.nbytes for parameter in self.model.parameters())

    def score(
        self, requests: Sequence[ScoreRequest], batch_size: BatchSize
    ) -> list[tuple[float, bool]]:
        """(logprob, is_greedy) of each request, by lm-eval's `_loglikelihood_tokens`."""
        asked = [
            ((f"context {i}", f"continuation {i}"), list(r.context), list(r.continuation))
            for i, r in enumerate(requests)
        ]
        self.lm.batch_size_per_gpu = batch_size
        with quiet():
            return self.lm._loglikelihood_tokens(asked, disable_tqdm=True)

    def generate(self, requests: Sequence[GenerateRequest], batch_size: BatchSize) -> list[str]:
        """The text of each answer, by lm-eval's `generate_until`.

        Sampling draws from all of the vocabulary, as the engine does: transformers' own default
        would keep the 50 best tokens.
        """
        asked: list[Instance] = []
        for request in requests:
            name = str(hash(request.prompt))
            self.lm.prompts[name] = list(request.prompt)
            how: dict[str, Any] = {"until": [], "max_gen_toks": request.max_new_tokens}
            if request.temperature:
                how |= {"do_sample": True, "temperature": request.temperature}
                how |= {"top_k": 0, "top_p": request.top_p}
            else:
                how["do_sample"] = False
            asked.append(Instance("generate_until", {}, (name, how), len(asked)))
        self.lm.batch_size_per_gpu = batch_size
        with quiet(), torch.no_grad():
            return self.lm.generate_until(asked, disable_tqdm=True)

    def generate_batch(self, requests: Sequence[GenerateRequest]) -> list[list[int]]:
        """The tokens of each answer, by transformers' continuous batching.

        It sizes its own cache on CUDA. On a CPU it would take 60 % of the machine's memory and
        mask over all of it, so there its cache is sized to hold these requests. Raises
        RuntimeError when it does not answer every request in full.
        """
        first = requests[0]
        config = GenerationConfig(
            max_new_tokens=first.max_new_tokens,
            do_sample=first.temperature > 0,
            temperature=first.temperature or 1.0,
            top_k=0,
            pad_token_id=self.lm.tokenizer.pad_token_id,
        )
        # An id that no token has: None would fall back to the model's, and later to a warning.
        config.eos_token_id = -1
        room = None
        if self.device.type == "cpu":
            page = ContinuousBatchingConfig().page_size
            pages = (math.ceil((len(r.prompt) + r.max_new_tokens) / page) + 1 for r in requests)
            room = ContinuousBatchingConfig(num_blocks=sum(pages), max_batch_tokens=_CPU_TOKENS)
        before = self.model.config._attn_implementation
        try:
            with quiet():
                answers = self.model.generate_batch(
                    [list(r.prompt) for r in requests],
                    generation_config=config,
                    continuous_batching_config=room,
                )
        finally:
            self.model.set_attn_implementation(before)
        tokens = [list(answer.generated_tokens) for answer in answers.values()]
        short = sum(len(answer) != first.max_new_tokens for answer in tokens)
        if len(tokens) != len(requests) or short:
            raise RuntimeError(
                f"generate_batch answered {len(tokens)} of {len(requests)} requests, "
                f"{short} of them not in full"
            )
        return tokens

    def fits(self, batch_size: BatchSize, longest: int, *, scoring: bool) -> bool:
        """Whether a batch fits into what is free of this machine's memory; CUDA is just tried.

        On a CPU too large a batch would end the process, not raise: logits of every position and
        their log-softmax when scoring, keys and values twice (they are copied to grow) else.
        """
        if self.device.type != "cpu":
            return True
        config, itemsize = self.model.config, self.model.dtype.itemsize
        rows = 64 if batch_size == "auto" else int(batch_size)
        head = config.hidden_size // config.num_attention_heads
        cache = 2 * 2 * config.num_hidden_layers * config.num_key_value_heads * head
        a_token = 2 * config.vocab_size if scoring else cache
        if batch_size == "auto" and not scoring:  # its trial passes have logits, and full length
            longest, a_token = self.lm.max_length, 2 * config.vocab_size
        return rows * longest * a_token * itemsize < _HEADROOM * available_bytes()


def available_bytes() -> float:
    """Memory that this machine can still give, in bytes; unlimited where it isn't known."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next((int(s.split()[1]) * 1024.0 for s in lines if "MemAvailable" in s), float("inf"))


@contextlib.contextmanager
def quiet() -> Any:
    """lm-eval prints to stdout, where the results go, and warns about what is meant here."""
    names = ("lm_eval", "lm_eval.models.huggingface", "transformers")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
