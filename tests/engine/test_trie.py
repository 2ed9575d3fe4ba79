"""Tries: nodes, subtrees and packs against the plainest possible computation."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from evalsuite.engine.llama import attention
from evalsuite.engine.llama.attention import DenseAttend, FlexAttend
from evalsuite.engine.llama.trie import Pack, build_pack, preorder, split

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


def masked_attention(pack: Pack, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention over a pack as its definition has it: every pair, those not on a path masked."""
    index = torch.arange(len(pack))
    seen = (index <= index[:, None]) & (index[:, None] < torch.from_numpy(pack.end))
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, k) / q.shape[-1] ** 0.5
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights, v)


def random_heads(n: int, groups: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(n, 2 * groups, size, generator=generator)
    return q, *(torch.randn(n, 2, size, generator=generator) for _ in range(2))


@settings(max_examples=25, deadline=None)
@given(SEQUENCES, st.integers(1, 7), st.sampled_from([1, 2]))
def test_blockwise_attention_is_masked_attention(
    sequences: list[tuple[int, ...]], block: int, groups: int
) -> None:
    pack = build_pack(sequences, [1] * len(sequences))
    q, k, v = random_heads(len(pack), groups, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "_block", lambda end: block)
        got = DenseAttend(pack.end, torch.float32, torch.device("cpu"))(0, q, k, v)
    torch.testing.assert_close(got, masked_attention(pack, q, k, v), atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("groups", [1, 2])
def test_flex_attention_is_masked_attention(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mask and padding of the CUDA path; run here by FlexAttention's own uncompiled form."""
    monkeypatch.setattr(attention, "_compiled_flex", lambda: flex_attention)
    rng = random.Random(0)
    sequences = [tuple(rng.choices((3, 4), k=rng.randrange(1, 30))) for _ in range(12)]
    pack = build_pack(sequences, [1] * len(sequences))
    assert len(pack) > 128  # more than a block of FlexAttention's mask
    q, k, v = random_heads(len(pack), groups, 16)
    got = FlexAttend(pack.end, torch.device("cpu"))(0, q, k, v)
    torch.testing.assert_close(got, masked_attention(pack, q, k, v), atol=1e-5, rtol=0)


def test_choices_of_a_long_question_share_a_pack() -> None:
    question = tuple(range(100))
    choices = [(*question, 200 + n, 7) for n in range(4)]
    ((members, nodes),) = split(*preorder(choices), [102] * 4, limit=50)
    assert sorted(members) == [0, 1, 2, 3]
    assert nodes == 100 + 4 * 2
