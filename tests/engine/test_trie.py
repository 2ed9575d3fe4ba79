"""Tries: nodes, subtrees and packs against the plainest possible computation."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite.engine.llama import attention
from evalsuite.engine.llama.attention import DenseAttend
from evalsuite.engine.llama.trie import build_pack, preorder, split

# Three token ids make shared prefixes, prefixes of one another and duplicates likely.
TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple)
SEQUENCES = st.lists(TOKENS, min_size=1, max_size=12)


@given(SEQUENCES)
def test_nodes_are_the_distinct_prefixes(sequences: list[tuple[int, ...]]) -> None:
    pack = build_pack(sequences, [len(s) for s in sequences])
    prefixes = {s[:n] for s in sequences for n in range(1, len(s) + 1)}
    assert len(pack) == len(prefixes)
    for sequence, path in zip(sequences, pack.tails, strict=True):
        assert pack.tokens[path].tolist() == list(sequence)
        assert pack.positions[path].tolist() == list(range(len(sequence)))
        # `end` says of every node whether it is on the path of this sequence's last node.
        last = path[-1]
        on_path = [k for k in range(len(pack)) if k <= last < pack.end[k]]
        assert on_path == path.tolist()


@given(SEQUENCES, st.integers(1, 20))
def test_split_keeps_every_sequence_and_the_limit(
    sequences: list[tuple[int, ...]], limit: int
) -> None:
    lengths = [len(s) for s in sequences]
    packs = split(*preorder(sequences), lengths, limit)
    assert sorted(i for members, _ in packs for i in members) == list(range(len(sequences)))
    for members, nodes in packs:
        pack = build_pack([sequences[i] for i in members], [1] * len(members))
        assert len(pack) == nodes
        # Beyond the limit only by what its sequences share.
        assert nodes < limit + max(lengths[i] for i in members)
    home = {}
    for number, (members, _) in enumerate(packs):
        for i in members:
            assert home.setdefault(sequences[i], number) == number  # equal ones share a pack


@given(SEQUENCES)
def test_order_is_that_of_the_tuples(sequences: list[tuple[int, ...]]) -> None:
    wide = [tuple(t * 70_000 + 200 for t in s) for s in sequences]  # ids of more than two bytes
    order, shared = preorder(wide)
    assert [wide[i] for i in order] == sorted(wide)
    for before, after, common in zip(order, order[1:], shared[1:], strict=False):
        a, b = wide[before], wide[after]
        assert a[:common] == b[:common]
        assert common == min(len(a), len(b)) or a[common] != b[common]


def test_a_pack_does_not_depend_on_the_order_of_requests() -> None:
    sequences = [(1, 2, 3), (1, 2), (4,), (1, 2, 5, 6)]
    first, second = build_pack(sequences, [1] * 4), build_pack(sequences[::-1], [1] * 4)
    assert np.array_equal(first.tokens, second.tokens)
    assert np.array_equal(first.end, second.end)
    assert [t.tolist() for t in first.tails] == [t.tolist() for t in second.tails[::-1]]


@settings(max_examples=25, deadline=None)
@given(SEQUENCES, st.integers(1, 7), st.sampled_from([1, 2]))
def test_blockwise_attention_is_masked_attention(
    sequences: list[tuple[int, ...]], block: int, groups: int
) -> None:
    pack = build_pack(sequences, [1] * len(sequences))
    n = len(pack)
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(n, 2 * groups, 4, generator=generator)
    k, v = (torch.randn(n, 2, 4, generator=generator) for _ in range(2))

    index = torch.arange(n)
    seen = (index <= index[:, None]) & (index[:, None] < torch.from_numpy(pack.end))
    wide_k, wide_v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, wide_k) / 2
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    wanted = torch.einsum("hqk,khd->qhd", weights, wide_v)

    before, attention.BLOCK = attention.BLOCK, block
    try:
        got = DenseAttend(pack.end, torch.float32, torch.device("cpu"))(0, q, k, v)
    finally:
        attention.BLOCK = before
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)


def test_choices_of_a_long_question_share_a_pack() -> None:
    question = tuple(range(100))
    choices = [(*question, 200 + n, 7) for n in range(4)]
    ((members, nodes),) = split(*preorder(choices), [102] * 4, limit=50)
    assert sorted(members) == [0, 1, 2, 3]
    assert nodes == 100 + 4 * 2
