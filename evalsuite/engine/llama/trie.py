"""Token sequences as a trie, laid out flat so that each distinct token is computed once.

Sorted sequences are a preorder of their trie: each token after the prefix that a sequence shares
with the one before it is a new node. `end[k]` is where node k's subtree ends, so node q stands on
a path through k exactly when k <= q < end[k]: one integer a node is the whole attention mask.
Knows sequences of token ids; no requests, no torch.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

# A shorter prefix costs less to repeat than a forward pass of its own.
SHORTEST_PREFIX = 256


@dataclass(frozen=True, slots=True)
class Pack:
    """A trie's nodes in preorder.

    `tokens`, `positions` and `end` have one entry a node, [n]. `tails[i]` are the nodes of the
    last tokens of the i-th sequence handed to `build_pack`, as many as were asked for.
    """

    tokens: Ints
    positions: Ints
    end: Ints
    tails: tuple[Ints, ...]

    def __len__(self) -> int:
        return len(self.tokens)


def preorder(sequences: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Sort sequences of token ids; a sequence sorts before those it is a prefix of.

    Returns the order (indices; equal sequences keep theirs) and, for each sequence in that order,
    how many tokens it shares with the one before it.
    """
    # Big-endian bytes compare like the tuples they come from, by memcmp: a benchmark's millions of
    # tokens sort in a second or two where tuples take ten.
    keys = [_big_endian(tokens) for tokens in sequences]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    shared = [0] * len(order)
    for place, (before, after) in enumerate(pairwise(order), start=1):
        shared[place] = _common_prefix(keys[before], keys[after])
    return order, shared


def split(
    order: Sequence[int], shared: Sequence[int], lengths: Sequence[int], limit: int
) -> list[tuple[list[int], int]]:
    """Cut sorted sequences into packs of about `limit` nodes, where least is computed twice.

    `order` and `shared` come from `preorder`, `lengths` are the sequences' own. A new pack computes
    again what its first sequence shares with the one before it, so a full pack is cut within its
    second half, at the place where the two sides share least. What a sequence shares with the one
    before it does not count against the limit: choices of a question longer than `limit` stay
    together, and a pack has at most `limit` nodes more than its longest sequence. Returns for each
    pack its sequences' indices, in sorted order, and its number of nodes. Equal sequences always
    share a pack.
    """
    new = [lengths[index] - common for index, common in zip(order, shared, strict=True)]
    packs: list[tuple[list[int], int]] = []
    start = size = 0
    for place, index in enumerate(order):
        while place > start and new[place] and size + new[place] - shared[place] > limit:
            cut, before = _best_cut(start, place, lengths[order[start]], new, shared, limit)
            packs.append((list(order[start:cut]), before))
            # What was new to the sequence at the cut, and what it shared: all is computed now.
            size = size - before + shared[cut] if cut < place else 0
            start = cut
        size += lengths[index] if place == start else new[place]
    if start < len(order):
        packs.append((list(order[start:]), size))
    return packs


def _best_cut(
    start: int, stop: int, first: int, new: Sequence[int], shared: Sequence[int], limit: int
) -> tuple[int, int]:
    """Where to end a pack that begins at `start` and cannot take `stop`; and its nodes so far."""
    best, nodes_at_best = stop, first + sum(new[start + 1 : stop])
    nodes = first
    for place in range(start + 1, stop):
        if 2 * nodes >= limit and new[place] and shared[place] < shared[best]:
            best, nodes_at_best = place, nodes
        nodes += new[place]
    return best, nodes_at_best


def shared_prefix(sequences: Sequence[Sequence[int]], keep: Sequence[int], nodes: int) -> int:
    """How many tokens to compute once for a pack and its neighbours; 0 where it does not pay.

    The sequences are in sorted order, `nodes` is their pack's number of nodes. All begin with these
    tokens, and none of them is among the `keep[i]` last ones of the i-th, whose output is wanted.
    It depends on the pack alone: a pack has the same numbers whoever came before it.
    """
    low, high = sequences[0], sequences[-1]
    common = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    common = min(common, *(len(s) - kept for s, kept in zip(sequences, keep, strict=True)))
    # A pack of its own for a prefix pays when several packs share it; one that is most of its pack
    # (a long question and its choices) is not shared.
    return common if SHORTEST_PREFIX <= common <= 4 * (nodes - common) else 0


def build_pack(sequences: Sequence[Sequence[int]], keep: Sequence[int]) -> Pack:
    """Lay `sequences` out as one pack; `keep[i]` says how many of the i-th's last nodes to return.

    The pack does not depend on the order in which the sequences are given.
    """
    order, shared = preorder(sequences)
    lengths = [len(tokens) for tokens in sequences]
    total = sum(lengths) - sum(shared)
    tokens, positions, end = (np.empty(total, dtype=np.int64) for _ in range(3))
    path = np.empty(max(lengths, default=0), dtype=np.int64)  # nodes from the root to here
    tails: list[Ints] = [path] * len(sequences)
    n = depth = 0
    for index, common in zip(order, shared, strict=True):
        length = lengths[index]
        after = n + length - common
        end[path[common:depth]] = n
        path[common:length] = np.arange(n, after)
        tokens[n:after] = sequences[index][common:]
        positions[n:after] = np.arange(common, length)
        tails[index] = path[length - keep[index] : length].copy()
        n, depth = after, length
    end[path[:depth]] = n
    return Pack(tokens, positions, end, tuple(tails))


def _big_endian(tokens: Sequence[int]) -> bytes:
    # array("I") has four bytes wherever CPython runs; 2**32 token ids are enough.
    return np.frombuffer(array("I", tokens), dtype=np.uint32).astype(">u4").tobytes()


def _common_prefix(left: bytes, right: bytes) -> int:
    """How many 4-byte tokens two keys have in common from the start."""
    size = min(len(left), len(right))
    if left[:size] == right[:size]:
        return size // 4
    a = np.frombuffer(left, dtype=np.uint32, count=size // 4)
    b = np.frombuffer(right, dtype=np.uint32, count=size // 4)
    return int((a != b).argmax())
