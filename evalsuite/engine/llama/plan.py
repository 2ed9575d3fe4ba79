"""Which requests are computed together: packs for scoring, groups for generating, and memory.

Pure functions of requests, context length and limits, so that a run can be planned without weights
or torch, and is planned the same way each time.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from evalsuite.engine.base import generation_input, scoring_input
from evalsuite.engine.llama.config import LlamaConfig
from evalsuite.engine.llama.memory import USABLE, activation_bytes, weight_bytes
from evalsuite.engine.llama.trie import preorder, shared_prefix, split
from evalsuite.records import Batch, GenerateRequest, ScoreRequest

_Asked = TypeVar("_Asked")
_Read = TypeVar("_Read")

# Rates that turn work into seconds for the one purpose of cutting groups. They are constants, not
# measurements, because a plan must be the same wherever and whenever it is made: floating point
# operations a second, bytes of weights read a second, seconds a layer and step besides.
_RATES = {"cpu": (1e11, 1e10, 2e-4), "cuda": (2e14, 1e12, 1e-4)}

GROUP_SECONDS = 60.0

# Below these a batch is not made smaller for want of memory.
_LEAST_PACK_TOKENS = 256
_LEAST_GROUP_KV_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a batch.

    pack_tokens: nodes of a scoring pack, and of a prefill's chunk. group_requests: distinct
    requests of a generation group. group_kv_bytes: its keys and values, a prefix's counted once.
    device: "cpu" or "cuda", for the rates above. value_bytes: bytes of a number in the model's data
    type. group_slots: sequences of a group decoded side by side; the others wait for a place.
    """

    pack_tokens: int
    group_requests: int
    group_kv_bytes: int
    device: str
    value_bytes: int
    group_slots: int = 128

    @classmethod
    def default(cls, device: str, value_bytes: int) -> Limits:
        """The limits for a device type ("cpu" or "cuda") and a data type's size in bytes.

        Measured on a CPU, packs of 512 to 4,096 tokens take the same time a token, and larger ones
        repeat fewer prefixes; but the pack in flight is what an interruption costs. A GPU needs far
        more rows.
        """
        if device == "cpu":
            return cls(2048, 1024, 2 * 2**30, device, value_bytes, 128)
        return cls(32_768, 4096, 16 * 2**30, device, value_bytes, 256)

    def within(self, config: LlamaConfig, total_bytes: int, quantize: str | None = None) -> Limits:
        """These limits, halved until a batch fits beside the model's weights.

        `total_bytes` is the device's whole memory, not what is free just now: batches must be the
        same when a run goes on, and halves are coarse enough for cards of one kind to agree.
        """
        room = USABLE[self.device] * total_bytes - weight_bytes(config, self.value_bytes, quantize)
        pack, cache = self.pack_tokens, self.group_kv_bytes
        while pack > _LEAST_PACK_TOKENS and (
            activation_bytes(config, self.value_bytes, pack) > room / 2
        ):
            pack //= 2
        left = room - activation_bytes(config, self.value_bytes, pack)
        while cache > _LEAST_GROUP_KV_BYTES and cache > left:
            cache //= 2
        return replace(self, pack_tokens=pack, group_kv_bytes=cache)


def plan_scoring(requests: Sequence[ScoreRequest], max_length: int, limits: Limits) -> list[Batch]:
    """Packs of requests that share prefixes; equal requests share a pack.

    Raises ValueError, naming the request's index, for one that `scoring_input` refuses.
    """
    inputs = [_checked(i, scoring_input, r, max_length)[0] for i, r in enumerate(requests)]
    lengths = [len(tokens) for tokens in inputs]
    order, shared = preorder(inputs)
    batches = []
    before: tuple[int, ...] = ()  # the prefix that the engine still has from the pack before
    for members, nodes in split(order, shared, lengths, limits.pack_tokens):
        keep = [len(requests[i].continuation) for i in members]
        length = shared_prefix([inputs[i] for i in members], keep, nodes)
        prefix = inputs[members[0]][:length]
        known = length if prefix == before else 0
        total = sum(lengths[i] for i in members)
        batches.append(Batch(tuple(members), nodes - known, total))
        before = prefix or before
    return batches


def plan_generation(
    requests: Sequence[GenerateRequest], max_length: int, config: LlamaConfig, limits: Limits
) -> list[Batch]:
    """Groups of about a minute, prompts with a common prefix side by side.

    Equal requests share a group and are counted once in `distinct_tokens`. Raises ValueError,
    naming the request's index, for one that `generation_input` refuses.
    """
    inputs = [_checked(i, generation_input, r, max_length) for i, r in enumerate(requests)]
    order, shared = preorder([prompt for prompt, _, _ in inputs])
    lengths = [len(prompt) for prompt, _, _ in inputs]
    news = [new for _, new, _ in inputs]
    _sort_equal_prompts(order, shared, lengths, requests)

    batches: list[Batch] = []
    group = _Group(config, limits)
    for place, (index, common) in enumerate(zip(order, shared, strict=True)):
        again = place > 0 and requests[index] == requests[order[place - 1]]
        cost = 0 if again else lengths[index] - common
        if group.members and not again and not group.fits(cost, lengths[index], news[index]):
            batches.append(group.batch(lengths, news))
            group, cost = _Group(config, limits), lengths[index]
        group.add(index, cost, lengths[index], news[index], again=again)
    if group.members:
        batches.append(group.batch(lengths, news))
    return batches


def memory_bytes(
    config: LlamaConfig,
    limits: Limits,
    scoring: Sequence[Batch] = (),
    generation: Sequence[Batch] = (),
    *,
    quantize: str | None = None,
) -> int:
    """Estimate of the most bytes held at once: weights, and the largest batch's own tensors."""
    weights = weight_bytes(config, limits.value_bytes, quantize)
    largest_pack = max((batch.distinct_tokens for batch in scoring), default=0)
    work = activation_bytes(config, limits.value_bytes, largest_pack) if largest_pack else 0
    for batch in generation:
        # The prompts' nodes, what each sequence has copied of them, and the new tokens: twice the
        # distinct tokens at most but for padding. Where several share a group, the number of slots
        # keeps it within the limit.
        cache = 2 * batch.distinct_tokens * config.kv_values * limits.value_bytes
        if len(batch.requests) > 1:
            cache = min(cache, limits.group_kv_bytes)
        tokens = min(max(limits.pack_tokens, limits.group_slots), batch.distinct_tokens)
        work = max(work, cache + activation_bytes(config, limits.value_bytes, tokens))
    return weights + work


class _Group:
    """A generation group while it is filled."""

    def __init__(self, config: LlamaConfig, limits: Limits) -> None:
        self._config, self._limits = config, limits
        self.members: list[int] = []
        self._rows = self._prompt_nodes = self._new = self._longest_new = self._longest = 0

    def fits(self, nodes: int, length: int, new: int) -> bool:
        """Would one more sequence, of `nodes` nodes to compute, keep the group in its limits?"""
        config, limits = self._config, self._limits
        prompts = self._prompt_nodes + nodes
        # Half of the memory at most for the prompts leaves the other half to the slots.
        needed = max(2 * prompts, prompts + max(self._longest, length + new))
        if self._rows == limits.group_requests:
            return False
        if needed * config.kv_values * limits.value_bytes > limits.group_kv_bytes:
            return False
        seconds = generation_seconds(
            config,
            limits,
            prompt_tokens=prompts,
            new_tokens=self._new + new,
            steps=max(self._longest_new, new),
        )
        return seconds <= GROUP_SECONDS

    def add(self, index: int, nodes: int, length: int, new: int, *, again: bool) -> None:
        self.members.append(index)
        if not again:
            self._rows += 1
            self._prompt_nodes += nodes
            self._new += new
            self._longest_new = max(self._longest_new, new)
            self._longest = max(self._longest, length + new)

    def batch(self, lengths: Sequence[int], news: Sequence[int]) -> Batch:
        total = sum(lengths[i] + news[i] for i in self.members)
        return Batch(tuple(self.members), self._prompt_nodes + self._new, total)


def generation_seconds(
    config: LlamaConfig, limits: Limits, *, prompt_tokens: int, new_tokens: int, steps: int
) -> float:
    """How long a group may take, by the plan's constants, in seconds.

    All tokens are computed once, the weights are read once a step. `steps` are those of the longest
    answer; where there are more sequences than slots, others follow when it has ended.
    """
    steps = max(steps, -(-new_tokens // limits.group_slots))
    operations, bandwidth, overhead = _RATES[limits.device]
    computed = 2 * config.parameters * (prompt_tokens + new_tokens) / operations
    a_step = config.parameters * limits.value_bytes / bandwidth + config.layers * overhead
    return computed + steps * a_step


def _sort_equal_prompts(
    order: list[int],
    shared: list[int],
    lengths: Sequence[int],
    requests: Sequence[GenerateRequest],
) -> None:
    """Bring equal requests next to each other: within a run of equal prompts, sort by the rest."""
    start = 0
    while start < len(order):
        stop = start + 1
        whole = lengths[order[start]]
        while stop < len(order) and shared[stop] == whole == lengths[order[stop]]:
            stop += 1
        order[start:stop] = sorted(order[start:stop], key=lambda i: _settings(requests[i]))
        start = stop


def _settings(request: GenerateRequest) -> tuple[object, ...]:
    """All of a request, the prompt last: truncated prompts may be equal where prompts are not."""
    return (
        request.seed,
        request.max_new_tokens,
        request.temperature,
        request.top_p,
        request.stop,
        array("I", request.prompt).tobytes(),
    )


def _checked(
    index: int, function: Callable[[_Asked, int], _Read], request: _Asked, max_length: int
) -> _Read:
    """`function(request, max_length)`, its ValueError saying which request it was."""
    try:
        return function(request, max_length)
    except ValueError as error:
        raise ValueError(f"request {index}: {error}") from None
