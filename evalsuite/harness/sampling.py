"""How a task wants answers generated: stop strings, length, temperature, and each sample's seed.

Reads lm-eval's generation settings by lm-eval's own normalising. It knows one request at a time; it
must not know tokens or engines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs

from evalsuite.records import UserError

DEFAULT_NEW_TOKENS = 256  # lm-eval's, for tasks that don't say

# Generation settings that change nothing at these values; at others they are not offered.
_WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "top_k": (None, 0, -1),
    "min_p": (None, 0, 0.0),
    "typical_p": (None, 1, 1.0),
    "num_beams": (None, 1),
    "num_return_sequences": (None, 1),
    "n": (None, 1),
    "repetition_penalty": (None, 1, 1.0),
    "length_penalty": (None, 1, 1.0),
    "presence_penalty": (None, 0, 0.0),
    "frequency_penalty": (None, 0, 0.0),
    "early_stopping": (None, False, True),  # ends beam searches only
    "use_cache": (None, False, True),
}


def request_seed(run_seed: int, instance: Any, repeat: int) -> int:
    """A seed of 63 bits for one sample of one document, the same on every machine."""
    name = f"{run_seed}\0{instance.task_name}\0{instance.doc_id}\0{instance.idx}\0{repeat}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True)
class GenerationSettings:
    """What a task asks of a generation, after lm-eval's own normalising."""

    until: tuple[str, ...]
    max_new_tokens: int
    temperature: float
    top_p: float


def generation_settings(instance: Any) -> GenerationSettings:
    """An instance's generation settings. Raises UserError for what no engine here does."""
    kwargs = dict(normalize_gen_kwargs(instance.args[1], DEFAULT_NEW_TOKENS))
    until = kwargs.pop("until")
    max_new_tokens = int(kwargs.pop("max_gen_toks"))
    sampled = bool(kwargs.pop("do_sample", False))
    temperature = float(kwargs.pop("temperature", 0.0) or 0.0)
    top_p = float(kwargs.pop("top_p", 1.0) or 1.0)
    for key, value in kwargs.items():
        if value not in _WITHOUT_EFFECT.get(key, ()):
            raise UserError(
                f"The task {instance.task_name} asks for generation with {key}: {value}, "
                "which is not offered (temperature and top_p are)."
            )
    if max_new_tokens < 1:
        raise UserError(f"The task {instance.task_name} asks for {max_new_tokens} new tokens.")
    return GenerationSettings(
        until=tuple(stop for stop in until if stop),
        max_new_tokens=max_new_tokens,
        temperature=temperature if sampled else 0.0,
        top_p=top_p if sampled else 1.0,
    )
