"""Prompts as a tree of segments: which keys are read once for many sequences, which belong to one.

A segment is a chain of a trie's nodes that the same sequences go through. Few-shot examples, a
question under them and its samples make three levels; any number is possible. Knows token ids and
counts; no tensors, no requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalsuite.engine.llama.trie import Ints, Pack

# A segment of its own saves reading its keys and values for all sequences but one, and costs some
# calls a layer. It has to save this many bytes a layer: measured on a CPU, calls of 60 to 90
# microseconds at 10 GB/s. For CUDA the same trade by its data sheet (some 8 launches of 3
# microseconds in a graph, 1 to 2 TB/s), not measured.
SAVED_BYTES = {"cpu": 2**20, "cuda": 2**25}


# A sequence's own part is a segment too where it is this many times longer than the usual one, and
# than this many tokens: in the padded caches all others would be padded to it.
_OUTLIER, _OUTLIER_TOKENS = 4, 128


@dataclass(frozen=True, slots=True)
class Segment:
    """Nodes `start` to `stop` - 1 of the trie; `level` segments stand above it."""

    start: int
    stop: int
    level: int


@dataclass(frozen=True, slots=True)
class SegmentTree:
    """Segments in preorder, and for each prompt what it reads.

    `above[i]` are the segments on prompt i's path, by number, one of each level from 0 on.
    `own[i]` are the nodes of its path outside of them: they go into a sequence's own cache.
    """

    segments: tuple[Segment, ...]
    above: tuple[tuple[int, ...], ...]
    own: tuple[Ints, ...]


def segment_tree(
    pack: Pack, samples: Sequence[int], *, together: int, token_bytes: int, worth: int
) -> SegmentTree:
    """Cut a trie of prompts into shared segments and what each sequence has for itself.

    `pack` is the trie with every prompt's whole path in `tails`; `samples[i]` sequences continue
    prompt i; at most `together` are decoded side by side. `token_bytes` are a token's keys and
    values in one layer. Chains that save less than `worth` bytes are given to their sequences.
    """
    n = len(pack)
    ends_here = np.zeros(n + 1, dtype=np.int64)  # sequences whose prompt ends in this node
    for path, count in zip(pack.tails, samples, strict=True):
        ends_here[path[-1] + 1] += count
    before = np.cumsum(ends_here)
    below = before[pack.end] - before[:n]  # sequences that go through a node

    # In preorder a node's first child stands right behind it; the chain goes on where it is the
    # only child and no prompt ends above it.
    goes_on = (pack.end[1:] == pack.end[:-1]) & (below[1:] == below[:-1])
    goes_on &= pack.positions[1:] == pack.positions[:-1] + 1
    starts = np.concatenate(([0], np.nonzero(~goes_on)[0] + 1)) if n else np.empty(0, np.int64)
    stops = np.append(starts[1:], n)
    readers = np.minimum(below[starts], together)
    lengths = stops - starts
    shared = ((readers - 1) * lengths * token_bytes >= worth) & (readers > 1)
    single = lengths[below[starts] == 1]
    if len(single):
        usual = max(float(np.median(single)), _OUTLIER_TOKENS)
        shared |= (below[starts] == 1) & (lengths > _OUTLIER * usual)
    number = np.where(shared, np.cumsum(shared) - 1, -1)  # of a chain among the shared ones
    by_node = np.repeat(number, lengths)

    above, own = [], []
    levels = np.zeros(int(shared.sum()), dtype=np.int64)
    for path in pack.tails:
        of = by_node[path]
        own.append(path[of < 0])
        mine = np.unique(of[of >= 0])  # ascending is outermost first, as in any preorder
        levels[mine] = np.arange(len(mine))
        above.append(tuple(mine.tolist()))
    segments = zip(starts[shared].tolist(), stops[shared].tolist(), levels.tolist(), strict=True)
    return SegmentTree(tuple(Segment(*fields) for fields in segments), tuple(above), tuple(own))
