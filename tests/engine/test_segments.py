"""The tree of segments, and a softmax in parts: every key is read once by whoever sees it."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from evalsuite.engine.llama.segments import SegmentTree, segment_tree
from evalsuite.engine.llama.softmax import join, softmax_part
from evalsuite.engine.llama.trie import Pack, build_pack

Prompts = list[tuple[int, ...]]


def whole(prompts: Prompts) -> Pack:
    return build_pack(prompts, [len(prompt) for prompt in prompts])


def tree_of(
    prompts: Prompts, samples: list[int], worth: int = 1, together: int = 99
) -> SegmentTree:
    return segment_tree(whole(prompts), samples, together=together, token_bytes=1, worth=worth)


def random_prompts(rng: random.Random) -> Prompts:
    """Distinct prompts over few tokens: prefixes of one another, and branches of any depth."""
    count = rng.randrange(1, 30)
    return list({tuple(rng.choices(range(2), k=rng.randrange(1, 9))): 0 for _ in range(count)})


@pytest.mark.parametrize("seed", range(60))
def test_every_path_is_its_segments_and_its_own(seed: int) -> None:
    rng = random.Random(seed)
    prompts = random_prompts(rng)
    samples = [rng.randrange(1, 4) for _ in prompts]
    worth, together = rng.choice([1, 2, 5, 20]), rng.choice([1, 2, 99])
    pack = whole(prompts)
    tree = tree_of(prompts, samples, worth, together)
    readers = np.zeros(len(tree.segments), dtype=int)
    for path, above, own, count in zip(pack.tails, tree.above, tree.own, samples, strict=True):
        shared = [tree.segments[i] for i in above]
        assert [segment.level for segment in shared] == list(range(len(shared)))
        nodes = [n for s in shared for n in range(s.start, s.stop)] + own.tolist()
        assert sorted(nodes) == path.tolist()
        readers[list(above)] += count
    for segment, count in zip(tree.segments, readers, strict=True):
        assert count >= 2
        assert (min(count, together) - 1) * (segment.stop - segment.start) >= worth


def test_a_tree_of_three_levels() -> None:
    shots, a, b = (1, 2, 3), (4, 5), (6, 7)
    prompts = [shots + a + (8,), shots + a + (9,), shots + b, shots + b + (4, 4)]
    tree = tree_of(prompts, [1, 1, 20, 1])
    cuts = [(s.start, s.stop, s.level) for s in tree.segments]
    assert cuts == [(0, 3, 0), (3, 5, 1), (7, 9, 1)]
    assert tree.above == ((0, 1), (0, 1), (0, 2), (0, 2))
    assert [own.tolist() for own in tree.own] == [[5], [6], [], [9, 10]]
    # A short segment is not worth its calls; one sequence at a time shares with nobody.
    assert [(s.start, s.stop) for s in tree_of(prompts, [1, 1, 20, 1], worth=20).segments] == [
        (0, 3),
        (7, 9),
    ]
    assert tree_of(prompts, [1, 1, 20, 1], together=1).segments == ()


def test_a_prompt_much_longer_than_the_others_is_a_segment_of_its_own() -> None:
    prompts = [(1, *range(2, 12)), (1, *range(12, 22)), (1, *range(22, 922))]
    tree = tree_of(prompts, [1, 1, 1], worth=10**6)
    assert [(s.start, s.stop, s.level) for s in tree.segments] == [(21, 921, 0)]
    assert tree.above == ((), (), (0,))
    assert [len(own) for own in tree.own] == [11, 11, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("queries", [1, 3])
def test_parts_join_to_the_whole(dtype: torch.dtype, queries: int) -> None:
    generator = torch.Generator().manual_seed(4)

    def normal(*shape: int) -> torch.Tensor:
        return 3 * torch.randn(shape, generator=generator)

    q, k, v = normal(5, 2, queries, 8), normal(5, 2, 17, 8), normal(5, 2, 17, 8)
    mask = torch.zeros(5, 1, 1, 17).masked_fill_(torch.rand(5, 1, 1, 17) < 0.4, float("-inf"))
    mask[..., [0, 9]] = 0  # each part has something to see
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    q, k, v, mask = q.to(dtype), k.to(dtype), v.to(dtype), mask.to(dtype)
    left = softmax_part(q, k[:, :, :9], v[:, :, :9], mask[..., :9])
    right = softmax_part(q, k[:, :, 9:], v[:, :, 9:], mask[..., 9:])
    out, lse = join(*left, *right)
    scores = (q.float() @ k.float().transpose(2, 3)) / 8**0.5 + mask.float()
    exact = dtype is torch.float32
    assert out.dtype is lse.dtype is torch.float32
    torch.testing.assert_close(out, wanted, atol=1e-5 if exact else 0.1, rtol=0)
    torch.testing.assert_close(lse, scores.logsumexp(-1), atol=1e-5 if exact else 0.02, rtol=0)
    # Without a mask, another way through: the same numbers.
    zeros = torch.zeros(1, 1, 1, 17, dtype=dtype)
    for a, b in zip(softmax_part(q, k, v, None), softmax_part(q, k, v, zeros), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5 if exact else 0.05, rtol=0)
