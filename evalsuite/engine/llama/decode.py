"""Decoding: one token for each sequence a step, over shared segments and each sequence's own cache.

A shared segment's keys are read once for all sequences below it; the parts of a softmax are joined
by their log-sum-exp (as in FlashAttention, arXiv:2205.14135). A step reads and writes tensors that
stay where they are, so that CUDA can replay it as a graph. Knows the model, segments and slots; no
requests, no sampling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evalsuite.engine.llama.graphs import StepGraphs
from evalsuite.engine.llama.model import Llama
from evalsuite.engine.llama.out_of_memory import is_out_of_memory
from evalsuite.engine.llama.prefill import Store
from evalsuite.engine.llama.segments import SegmentTree
from evalsuite.engine.llama.softmax import join, softmax_part

# On a CPU rows of about the same length are attended together, so that short ones don't read the
# padding of long ones. On CUDA spans are rounded up, so that a graph lasts for that many steps.
_BLOCK_ROWS = 32
_SPAN_STEP = 128

# On CUDA idle slots are computed on until they are so many, since new rows need a new graph.
_IDLE_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class _Level:
    """Segments that no sequence has two of: `rows` [n] read them, `counts[i]` segment `ids[i]`.

    `rows` is None where that is every row of the view, in its order.
    """

    rows: Tensor | None
    ids: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """Rows `start` to `stop` - 1, which segments they read, and how long their own caches are.

    `blocks` are (start, stop, span): those rows have filled `span` entries or less, the new token
    included. Equal keys mean the same step on the same tensors.
    """

    start: int
    stop: int
    slots: Tensor  # int64 [stop - start]
    levels: tuple[_Level, ...]
    blocks: tuple[tuple[int, int, int], ...]
    key: tuple[object, ...]


class Decoder:
    """Sequences being decoded: slots 0 to `rows` - 1 are rows of the model; some may be idle.

    With `steady`, what CUDA graphs need, steps stay the same for as long as possible: spans are
    rounded up, and idle slots are kept until there are many.
    """

    def __init__(
        self,
        model: Llama,
        store: Store,
        tree: SegmentTree,
        slots: int,
        capacity: int,
        *,
        alone: bool = True,
        steady: bool | None = None,
    ) -> None:
        """At most `slots` sequences at a time, each with `capacity` tokens of its own at most.

        `alone` is False for a rank of several, which neither halves its steps nor captures them;
        `steady` None is True on CUDA. Raises torch.OutOfMemoryError, or the CPU's RuntimeError,
        where the slots' caches don't fit into memory.
        """
        config, weight = model.config, model.embedding.weight
        self.device = weight.device
        self._model, self._tree, self._capacity = model, tree, capacity
        # Slots before segments: only they depend on `slots`, and may be too many for the memory.
        shape = (slots, config.kv_heads, capacity, config.head_dim)
        # Zeros, because what is not filled yet is read and masked, and a masked NaN stays a NaN.
        self._keys = [weight.new_zeros(shape) for _ in range(config.layers)]
        self._values = [weight.new_zeros(shape) for _ in range(config.layers)]
        self._shared = [
            [
                (
                    store.keys[layer][:, segment.start : segment.stop].contiguous(),
                    store.values[layer][:, segment.start : segment.stop].contiguous(),
                )
                for segment in tree.segments
            ]
            for layer in range(config.layers)
        ]  # by layer and segment: keys and values, [G, L, D]
        self.slots, self.rows = slots, 0
        self._steady = self.device.type == "cuda" if steady is None else steady
        self._idle: set[int] = set()
        self._tokens, self._positions, self._filled = (
            torch.zeros(slots, dtype=torch.int64, device=self.device) for _ in range(3)
        )
        self._lengths = [0] * slots  # `_filled`, as the host knows it
        self._above: list[tuple[int, ...]] = [()] * slots
        self._width = slots  # rows of the model at once; halves when memory runs out
        self._composition = 0
        self._levels: dict[tuple[int, int], tuple[Tensor, tuple[_Level, ...]]] = {}
        self._alone = alone
        on_cuda = self.device.type == "cuda"
        self._graphs = StepGraphs(self.device) if on_cuda and alone else None

    @property
    def free(self) -> int:
        """How many sequences can join."""
        return self.slots - self.rows + len(self._idle)

    def join(self, prompts: Sequence[int], tokens: Sequence[int], store: Store) -> list[int]:
        """Take in sequences: prompts they continue, by number, and the first token after each.

        Returns their slots. A sequence's own part is copied from the store, which is not needed
        for it any more.
        """
        # The longest first, so that neighbours are of about the same length.
        longest = sorted(prompts, key=lambda prompt: -len(self._tree.own[prompt]))
        places: dict[int, list[int]] = {}
        for prompt in longest:
            places.setdefault(prompt, []).append(self._place(prompt))
        slots = [places[prompt].pop(0) for prompt in prompts]
        paths = {prompt: self._own_nodes(prompt) for prompt in dict.fromkeys(prompts)}
        for keys, values, from_keys, from_values in zip(
            self._keys, self._values, store.keys, store.values, strict=True
        ):
            for slot, prompt in zip(slots, prompts, strict=True):
                nodes, length = paths[prompt], self._lengths[slot]
                keys[slot, :, :length] = from_keys[:, nodes]
                values[slot, :, :length] = from_values[:, nodes]
        index = torch.tensor(slots, device=self.device)
        for numbers, new in (
            (self._tokens, tokens),
            (self._positions, [self._depth(prompt) for prompt in prompts]),
            (self._filled, [self._lengths[slot] for slot in slots]),
        ):
            numbers[index] = torch.tensor(new, device=self.device)
        return slots

    def leave(self, slots: Sequence[int]) -> list[int]:
        """Free slots, and close the gaps unless it is better to wait.

        Returns which slot each row was in before: rows may have moved, and idle ones have gone.
        """
        self._idle.update(slots)
        order = list(range(self.rows))
        if len(self._idle) > (_IDLE_SHARE * self.rows if self._steady else 0):
            for slot in sorted(self._idle, reverse=True):
                order[slot] = order[-1]
                order.pop()
                self._drop(slot)
            self._idle.clear()
        return order

    def _place(self, prompt: int) -> int:
        """A slot for one more sequence: best an idle one whose step stays as it is."""
        above, length = self._tree.above[prompt], len(self._tree.own[prompt])
        alike = (slot for slot in sorted(self._idle) if self._above[slot] == above)
        slot = next(alike, None)
        if slot is None:
            slot = min(self._idle) if self._idle else self.rows
            self.rows = max(self.rows, slot + 1)
            self._changed()
        self._idle.discard(slot)
        self._lengths[slot], self._above[slot] = length, above
        return slot

    def _drop(self, slot: int) -> None:
        """Remove a row; the last one moves into its place."""
        last = self.rows - 1
        if slot != last:
            length = self._lengths[last]
            for tensor in (*self._keys, *self._values):
                tensor[slot, :, :length] = tensor[last, :, :length]
            for numbers in (self._tokens, self._positions, self._filled):
                numbers[slot] = numbers[last]
            self._lengths[slot], self._above[slot] = length, self._above[last]
        self.rows = last
        self._changed()

    def take(self, tokens: Tensor) -> None:
        """The tokens [rows] that the next step reads."""
        self._tokens[: self.rows] = tokens

    def step(self) -> Tensor:
        """Read one token a row: float32 logits [rows, V] after it. They last until the next step.

        When memory runs out, the rows are computed in two halves from then on: a row that is
        computed again writes the same numbers into the same places.
        """
        while True:
            try:
                parts = [self._compute(view) for view in self._views()]
                break
            except RuntimeError as error:
                width = min(self._width, self.rows)
                if not self._alone or width == 1 or not is_out_of_memory(error):
                    raise
                self._width = (width + 1) // 2
                self._changed()
        # Idle rows go on too, in their last entry when they have come to the end.
        full = self._capacity - 1
        self._positions += 1
        self._filled.add_(1).clamp_(max=full)
        self._lengths = [min(length + 1, full) for length in self._lengths]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _compute(self, view: _View) -> Tensor:
        if self._graphs is None:
            return self._forward(view)
        return self._graphs.run(view.key, lambda: self._forward(view))

    def _forward(self, view: _View) -> Tensor:
        """The step itself: reads `_tokens`, `_positions` and `_filled`, appends to the caches."""
        rows = slice(view.start, view.stop)
        filled = self._filled[rows]
        groups = self._model.config.kv_heads
        masks = []
        for first, after, span in view.blocks:
            seen = torch.arange(span, device=self.device) <= self._filled[first:after, None]
            mask = torch.zeros(seen.shape, dtype=self._keys[0].dtype, device=self.device)
            masks.append(mask.masked_fill_(~seen, float("-inf"))[:, None, None])  # [b, 1, 1, L]

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = self._keys[layer], self._values[layer]
            keys[view.slots, :, filled] = k
            values[view.slots, :, filled] = v
            n, heads, size = q.shape
            q = q.reshape(n, groups, heads // groups, size)  # heads that share a key side by side
            parts = [
                softmax_part(
                    q[first - view.start : after - view.start],
                    keys[first:after, :, :span],
                    values[first:after, :, :span],
                    mask,
                )
                for (first, after, span), mask in zip(view.blocks, masks, strict=True)
            ]
            out, lse = _cat(parts, dim=0)  # [n, G, H/G, D] and [n, G, H/G]
            for level in view.levels:
                chosen = q if level.rows is None else q[level.rows]
                part, part_lse = self._read(layer, level, chosen)
                if level.rows is None:
                    out, lse = join(out, lse, part, part_lse)
                else:
                    mine = join(out[level.rows], lse[level.rows], part, part_lse)
                    out[level.rows], lse[level.rows] = mine
            return out.to(q.dtype).reshape(n, heads, size)

        hidden = self._model.hidden(self._tokens[rows], self._positions[rows], attend)
        return self._model.logits(hidden)

    def _read(self, layer: int, level: _Level, q: Tensor) -> tuple[Tensor, Tensor]:
        """One level, a product a segment: q [m, G, R, D] -> [m, G, R, D] and [m, G, R]."""
        m, groups, repeats, size = q.shape
        q = q.transpose(0, 1).reshape(groups, m * repeats, size)
        parts, start = [], 0
        for segment, count in zip(level.ids, level.counts, strict=True):
            stop = start + count * repeats
            keys, values = self._shared[layer][segment]
            parts.append(softmax_part(q[None, :, start:stop], keys[None], values[None], None))
            start = stop
        out, lse = _cat(parts, dim=2)  # [1, G, m * R, D] and [1, G, m * R]
        out = out.view(groups, m, repeats, size).transpose(0, 1)
        return out, lse.reshape(groups, m, repeats).transpose(0, 1)

    def _views(self) -> Iterator[_View]:
        for start in range(0, self.rows, self._width):
            stop = min(start + self._width, self.rows)
            blocks = tuple(self._blocks(start, stop))
            slots, levels = self._layout(start, stop)
            key = (self._composition, start, stop, blocks)
            yield _View(start, stop, slots, levels, blocks, key)

    def _blocks(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        size = stop - start if self._steady else _BLOCK_ROWS
        for first in range(start, stop, size):
            after = min(first + size, stop)
            span = max(self._lengths[first:after]) + 1
            if self._steady:
                span = min(-(-span // _SPAN_STEP) * _SPAN_STEP, self._capacity)
            yield first, after, span

    def _layout(self, start: int, stop: int) -> tuple[Tensor, tuple[_Level, ...]]:
        """The slots and levels of rows `start` to `stop` - 1, kept until the rows change."""
        if (start, stop) not in self._levels:
            slots = torch.arange(start, stop, device=self.device)
            readers: list[dict[int, list[int]]] = []  # by level and segment
            for row, above in enumerate(self._above[start:stop]):
                for level, segment in enumerate(above):
                    if level == len(readers):
                        readers.append({})
                    readers[level].setdefault(segment, []).append(row)
            levels = []
            for by_segment in readers:
                order = [row for rows in by_segment.values() for row in rows]
                everyone = order == list(range(stop - start))
                levels.append(
                    _Level(
                        None if everyone else torch.tensor(order, device=self.device),
                        tuple(by_segment),
                        tuple(len(rows) for rows in by_segment.values()),
                    )
                )
            self._levels[start, stop] = slots, tuple(levels)
        return self._levels[start, stop]

    def _changed(self) -> None:
        self._composition += 1
        self._levels.clear()

    def _own_nodes(self, prompt: int) -> Tensor | slice:
        own = self._tree.own[prompt]
        if len(own) and own[-1] - own[0] == len(own) - 1:
            return slice(int(own[0]), int(own[-1]) + 1)
        return torch.from_numpy(own).to(self.device)

    def _depth(self, prompt: int) -> int:
        shared = (self._tree.segments[i] for i in self._tree.above[prompt])
        return len(self._tree.own[prompt]) + sum(s.stop - s.start for s in shared)


def _cat(parts: list[tuple[Tensor, Tensor]], dim: int) -> tuple[Tensor, Tensor]:
    if len(parts) == 1:
        return parts[0]
    outs, lses = zip(*parts, strict=True)
    return torch.cat(outs, dim), torch.cat(lses, dim)
