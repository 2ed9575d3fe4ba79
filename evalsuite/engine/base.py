"""What every engine promises, and the truncation rules that all of them share.

Knows requests and responses (records.py) and nothing else: no torch, no model, no task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from evalsuite.records import Batch, GenerateRequest, GenerateResponse, ScoreRequest, ScoreResponse


@runtime_checkable
class Engine(Protocol):
    """Answers score and generate requests for one model.

    Plans are a function of the requests alone, never of what is already computed: the rows of a
    matrix product change in their last bits with the number of rows, so only a batch that is
    computed whole, or not at all, gives the same numbers after an interruption.
    """

    max_length: int
    """The context in tokens."""

    identity: Mapping[str, str | int | float | bool]
    """Everything that changes this engine's numbers; part of the key under which they are kept."""

    workers: int
    """How many threads may call `score` and `generate` at once; batches are computed side by side.
    """

    def plan_scoring(self, requests: Sequence[ScoreRequest]) -> list[Batch]:
        """Divide requests into packs; each index appears in exactly one batch.

        Raises ValueError for a request that `scoring_input` refuses.
        """
        ...

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Answer the requests of one planned batch, in their order."""
        ...

    def plan_generation(self, requests: Sequence[GenerateRequest]) -> list[Batch]:
        """Divide requests into groups of a minute of work or less (or of a single request)."""
        ...

    def generate(self, requests: Sequence[GenerateRequest]) -> list[GenerateResponse]:
        """Answer the requests of one planned group, in their order."""
        ...

    def memory_bytes(self, scoring: Sequence[Batch] = (), generation: Sequence[Batch] = ()) -> int:
        """Estimate the most memory that computing these batches one by one takes, in bytes."""
        ...

    def close(self) -> None:
        """Give up what is being computed and what is held; the engine can't be used any more."""
        ...


def scoring_input(request: ScoreRequest, max_length: int) -> tuple[tuple[int, ...], int]:
    """What the model reads to score a request, and how many tokens were cut off its left.

    The input is `(context + continuation)[-(max_length + 1):][:-1]`, lm-eval's rule for causal
    models: the last token is only predicted, so one token more than the context fits.

    Raises ValueError for an empty context or continuation, and for a continuation that is longer
    than `max_length`: no context would be left to score its first token from.
    """
    context, continuation = request.context, request.continuation
    if not context or not continuation:
        raise ValueError(
            "a score request needs at least one token of context and one of continuation, not "
            f"{len(context)} and {len(continuation)}"
        )
    if len(continuation) > max_length:
        raise ValueError(
            f"a continuation of {len(continuation)} tokens does not fit into the model's context "
            f"of {max_length} tokens"
        )
    cut = max(0, len(context) + len(continuation) - (max_length + 1))
    return context[cut:] + continuation[:-1], cut


def generation_input(request: GenerateRequest, max_length: int) -> tuple[tuple[int, ...], int, int]:
    """The prompt that fits, the most new tokens that fit, and how many tokens that took away.

    The prompt keeps its last `max_length - max_new_tokens` tokens, as in lm-eval. Where
    `max_new_tokens` alone fills the context (lm-eval stops with an assertion there), the answer
    gets what the prompt leaves, but at least half of the context, and the prompt keeps the rest:
    at least one token. `truncated` counts the prompt's lost tokens and, in that second case, the
    new tokens that were asked for and cannot be had.

    Raises ValueError for an empty prompt and for `max_new_tokens` below 1.
    """
    prompt, new = request.prompt, request.max_new_tokens
    if not prompt or new < 1:
        raise ValueError(
            "a generate request needs at least one prompt token and one new token, not "
            f"{len(prompt)} and {new}"
        )
    if new >= max_length:
        new = max(max_length - len(prompt), max_length // 2)
    room = max_length - new
    if room < 1 or new < 1:
        raise ValueError(f"a context of {max_length} tokens has no room for a prompt and an answer")
    cut = max(0, len(prompt) - room)
    return prompt[cut:], new, cut + request.max_new_tokens - new
