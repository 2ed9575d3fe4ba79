"""transformers' own models behind the engine protocol, for architectures that ours is not.

Exact, in plain padded batches: no prefix is shared but between requests with equal inputs. Our
truncation, stop and sampling rules, so that a LLaMA answers here as it does in engine/llama. Code
from a model's folder is never run.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from evalsuite.engine import huggingface_shape as shapes
from evalsuite.engine.base import generation_input, scoring_input
from evalsuite.engine.llama.engine import (
    hash_text,
    resolve_device,
    resolve_dtype,
    tokenizer_hash,
)
from evalsuite.engine.llama.sampling import next_tokens, uniforms
from evalsuite.engine.llama.text import StopWatch
from evalsuite.records import (
    Batch,
    GenerateRequest,
    GenerateResponse,
    ScoreRequest,
    ScoreResponse,
    UserError,
)

# Raised whenever a change here changes its numbers: stored answers are then not reused.
VERSION = 1

Transform = Callable[[str, Tensor], Tensor]


class HuggingFaceEngine:
    """Implements evalsuite.engine.base.Engine; make one with `HuggingFaceEngine.load`."""

    workers = 1
    ranks = 1

    def __init__(
        self,
        model: Any,
        shape: shapes.Shape,
        tokenizer: Any,
        *,
        max_length: int,
        limits: shapes.Limits,
        weights_hash: str = "",
        warnings: Sequence[str] = (),
    ) -> None:
        self.model, self.shape, self.tokenizer, self.limits = model, shape, tokenizer, limits
        self.max_length, self.warnings = max_length, tuple(warnings)
        self.parameters = shape.parameters
        self._eos_ids = _end_ids(model, tokenizer)
        self._device = next(model.parameters()).device
        self._dtype = next(model.parameters()).dtype
        accepted = inspect.signature(model.forward).parameters
        self._keeps_logits = "logits_to_keep" in accepted
        self._takes_positions = "position_ids" in accepted
        described = json.dumps(shape.config.to_dict(), sort_keys=True, default=str)
        self.identity: Mapping[str, str | int | float | bool] = {
            "engine": "hf",
            "engine_version": VERSION,
            "transformers": version("transformers"),
            "torch": torch.__version__,
            "weights": weights_hash,
            "config": hash_text(f"{described} {sorted(self._eos_ids)}"),
            "tokenizer": tokenizer_hash(tokenizer),
            "dtype": str(self._dtype).removeprefix("torch."),
            "device": self._device.type,
            "attention": str(getattr(model.config, "_attn_implementation", "")),
            "max_length": max_length,
            "batch_tokens": limits.tokens,
            "batch_logits": limits.logits,
            "group_requests": limits.rows,
            "group_kv_bytes": limits.kv_bytes,
        }

    @classmethod
    def load(
        cls,
        folder: str | Path,
        tokenizer: Any,
        *,
        device: str = "auto",
        dtype: str = "auto",
        max_length: int | None = None,
        weights_hash: str = "",
        limits: shapes.Limits | None = None,
        transform: Transform | None = None,
    ) -> HuggingFaceEngine:
        """Load a folder; arguments as in `LlamaEngine.load`.

        Raises UserError for a folder that transformers can't run by itself, or for the settings.
        """
        from transformers import AutoModelForCausalLM

        shape = shapes.read_shape(folder)
        where = resolve_device(device)
        number = resolve_dtype(dtype, shape.stored, where)
        context = shape.context(max_length, tokenizer)
        try:
            with _no_bars():
                model, report = AutoModelForCausalLM.from_pretrained(
                    str(folder),
                    dtype=number,
                    local_files_only=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                )
        except Exception as error:  # transformers raises many kinds, bare ones among them
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{folder}: transformers can't load these weights: {reason}") from error
        missing = sorted(report.get("missing_keys") or ())
        if missing:  # transformers would fill them with random numbers, and only warn
            raise UserError(f"{folder}: the weights lack {missing[0]} ({len(missing)} tensors).")
        if transform is not None:
            _apply(transform, model)
        model = model.to(where).eval()
        warnings = []
        own = shape.context(None, tokenizer)
        if context > own:
            warnings.append(
                f"--max-length {context} is more than the {own} positions this model was "
                "trained for."
            )
        return cls(
            model,
            shape,
            tokenizer,
            max_length=context,
            limits=limits or shapes.Limits.default(where.type),
            weights_hash=weights_hash,
            warnings=warnings,
        )

    # ---- plans

    def plan_scoring(self, requests: Sequence[ScoreRequest]) -> list[Batch]:
        """See `huggingface_shape.plan_scoring`."""
        return shapes.plan_scoring(requests, self.max_length, self.shape, self.limits)

    def plan_generation(self, requests: Sequence[GenerateRequest]) -> list[Batch]:
        """See `huggingface_shape.plan_generation`."""
        return shapes.plan_generation(
            requests,
            self.max_length,
            self.shape,
            self.limits,
            self._device.type,
            self._dtype.itemsize,
        )

    def memory_bytes(self, scoring: Sequence[Batch] = (), generation: Sequence[Batch] = ()) -> int:
        """See `huggingface_shape.memory_bytes`."""
        return shapes.memory_bytes(
            self.shape, self.limits, self._dtype.itemsize, scoring, generation
        )

    def close(self) -> None:
        """Nothing is held beyond this object."""

    # ---- scoring

    @torch.inference_mode()
    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Answer the requests of one planned batch, in their order."""
        if not requests:
            return []
        inputs = [scoring_input(request, self.max_length) for request in requests]
        rows = {tokens: row for row, tokens in enumerate(dict.fromkeys(t for t, _ in inputs))}
        longest = max(map(len, rows))
        # On the right, where no token looks back at it: what fills up changes nothing.
        ids = torch.zeros((len(rows), longest), dtype=torch.long)
        for tokens, row in rows.items():
            ids[row, : len(tokens)] = torch.tensor(tokens)
        first = min(
            len(tokens) - len(request.continuation)
            for (tokens, _), request in zip(inputs, requests, strict=True)
        )
        keep = {"logits_to_keep": longest - first} if self._keeps_logits else {}
        logits = self.model(input_ids=ids.to(self._device), use_cache=False, **keep).logits
        offset = longest - logits.shape[1]  # the position of the first logits that were kept
        responses = []
        for (tokens, cut), request in zip(inputs, requests, strict=True):
            start = len(tokens) - len(request.continuation) - offset
            its = logits[rows[tokens], start : len(tokens) - offset].float()  # [n, V]
            targets = torch.tensor(request.continuation, device=its.device)
            chosen = its.log_softmax(dim=-1).gather(1, targets[:, None])
            greedy = bool((its.argmax(dim=-1) == targets).all())
            responses.append(ScoreResponse(float(chosen.double().sum()), greedy, cut))
        return responses

    # ---- generating

    @torch.inference_mode()
    def generate(self, requests: Sequence[GenerateRequest]) -> list[GenerateResponse]:
        """Answer the requests of one planned group, in their order."""
        distinct = {request: self._start(request) for request in requests}
        sequences = list(distinct.values())
        if sequences:
            self._decode(list(distinct), sequences)
        answers = {request: sequence.response() for request, sequence in distinct.items()}
        return [answers[request] for request in requests]

    def _start(self, request: GenerateRequest) -> _Sequence:
        prompt, new, cut = generation_input(request, self.max_length)
        draws = uniforms(request.seed, new).tolist() if request.temperature else [0.0] * new
        return _Sequence(prompt, new, cut, StopWatch(self.tokenizer, request.stop), draws)

    def _decode(self, requests: Sequence[GenerateRequest], sequences: Sequence[_Sequence]) -> None:
        device = self._device
        longest = max(len(sequence.prompt) for sequence in sequences)
        ids = torch.zeros((len(sequences), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            # On the left, so that every row's next token stands in the same column.
            ids[row, longest - len(sequence.prompt) :] = torch.tensor(sequence.prompt)
            mask[row, longest - len(sequence.prompt) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        temperature = _row([request.temperature for request in requests], device)
        top_p = _row([request.top_p for request in requests], device)
        alive = list(range(len(sequences)))
        cache: Any = None
        for step in range(max(sequence.max_new for sequence in sequences)):
            logits, cache = self._step(ids, mask, cache)
            draws = [sequences[i].draws[step] if not sequences[i].finish else 0.0 for i in alive]
            index = torch.tensor(alive, device=device)
            chosen = next_tokens(logits, temperature[index], top_p[index], _row(draws, device))
            for i, token in zip(alive, chosen.tolist(), strict=True):
                if not sequences[i].finish:
                    sequences[i].take(token, self._eos_ids)
            going = [slot for slot, i in enumerate(alive) if not sequences[i].finish]
            if not going:
                return
            if len(going) <= len(alive) // 2 and hasattr(cache, "batch_select_indices"):
                slots = torch.tensor(going, device=device)
                cache.batch_select_indices(slots)
                mask, chosen = mask[slots], chosen[slots]
                alive = [alive[slot] for slot in going]
            mask = torch.cat([mask, mask.new_ones((len(alive), 1))], dim=1)
            ids = chosen[:, None]

    def _step(self, ids: Tensor, mask: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """Float32 logits [B, V] after the last column of `ids`, and the cache with it."""
        more: dict[str, Any] = {"logits_to_keep": 1} if self._keeps_logits else {}
        if self._takes_positions:
            # A row that has ended goes on beside the others, and must not leave the context.
            positions = (mask.cumsum(dim=1) - 1).clamp(0, self.max_length - 1)
            more["position_ids"] = positions[:, -ids.shape[1] :]
        output = self.model(
            input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **more
        )
        if getattr(output, "past_key_values", None) is None:
            raise UserError(
                f"{self.shape.architecture} keeps no keys and values between tokens; --engine hf "
                "only scores such models: leave out tasks that generate."
            )
        return output.logits[:, -1].float(), output.past_key_values


@dataclass(slots=True)
class _Sequence:
    """One distinct request on its way."""

    prompt: tuple[int, ...]
    max_new: int
    truncated: int
    watch: StopWatch
    draws: list[float]
    tokens: list[int] = field(default_factory=list)
    finish: Literal["stop", "eos", "length"] | None = None

    def take(self, token: int, eos_ids: frozenset[int]) -> None:
        """Append the token that was chosen, and notice whether the answer ends with it."""
        if token in eos_ids:
            self.finish = "eos"
            return
        self.tokens.append(token)
        if self.watch.reached(self.tokens):
            self.finish = "stop"
        elif len(self.tokens) == self.max_new:
            self.finish = "length"

    def response(self) -> GenerateResponse:
        assert self.finish is not None
        text = self.watch.text(self.tokens)
        return GenerateResponse(text, tuple(self.tokens), self.finish, self.truncated)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without transformers' progress bars and log lines: what matters is said by exceptions."""
    from transformers.utils import logging

    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


def _row(numbers: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64, device=device)


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """The ids that end an answer: the generation config's, and the tokenizer's own EOS."""
    said = getattr(model.generation_config, "eos_token_id", None)
    ids = set(said) if isinstance(said, list) else {said}
    return frozenset(int(i) for i in (*ids, tokenizer.eos_token_id) if i is not None)


def _apply(transform: Transform, model: Any) -> None:
    """Changes tensors by the names under which transformers stores them."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(transform(name, parameter).to(parameter.dtype))
