"""Drawing tokens: against the distribution, and against the plain form of the same inversion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from evalsuite.engine.llama.sampling import most_likely, next_tokens, uniforms


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (2.0, 0.8), (1.0, 0.6)])
def test_draws_follow_the_distribution(temperature: float, top_p: float) -> None:
    logits = torch.tensor([1.0, -1.0, 0.5, 2.0, 0.0, -3.0])
    p = (logits.double() / temperature).softmax(-1).numpy()
    order = np.argsort(-p)
    kept = order[: int(np.searchsorted(np.cumsum(p[order]), top_p)) + 1]
    wanted = np.zeros(6)
    wanted[kept] = p[kept] / p[kept].sum()

    n = 20_000
    draws = torch.from_numpy(uniforms(11, n))
    column = torch.ones(n, dtype=torch.float64)
    tokens = next_tokens(logits.expand(n, -1), temperature * column, top_p * column, draws)
    counts = np.bincount(tokens.numpy(), minlength=6)
    assert not counts[wanted == 0].any()
    possible = wanted > 0
    assert chisquare(counts[possible], n * wanted[possible]).pvalue > 0.001


def test_seeds_draw_independently() -> None:
    """First draws over many seeds are uniform too: n samples of a prompt have n seeds."""
    first = np.array([uniforms(seed, 1)[0] for seed in range(4000)])
    assert chisquare(np.histogram(first, bins=20, range=(0, 1))[0]).pvalue > 0.001
    assert np.array_equal(uniforms(3, 5), uniforms(3, 9)[:5])


def test_edges_of_drawing() -> None:
    logits = torch.tensor([[0.0, 3.0, 3.0, float("-inf")]]).expand(4, -1)
    number = torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    top_p = torch.tensor([1.0, 0.0, 1.0, 0.5], dtype=torch.float64)
    nearly_one = torch.full((4,), 1 - 2**-53, dtype=torch.float64)
    # Greedy takes the first of a tie; top_p 0 keeps one token; nothing impossible is drawn.
    assert next_tokens(logits, number, top_p, nearly_one).tolist() == [1, 1, 2, 2]
    assert next_tokens(logits, number, top_p, 0 * nearly_one).tolist() == [1, 1, 0, 1]


@pytest.mark.parametrize("vocabulary", [5, 128, 300])
def test_blocks_of_the_vocabulary_change_no_draw(vocabulary: int) -> None:
    """Against the plain form in float64: sort, cut, running sum, first place above the draw."""
    generator = torch.Generator().manual_seed(vocabulary)
    n = 400
    # Rounded, so that there are ties, also at the edge of a nucleus.
    logits = (4 * torch.randn(n, vocabulary, generator=generator)).round(decimals=1)
    temperature = torch.rand(n, generator=generator, dtype=torch.float64) + 0.3
    top_p = torch.rand(n, generator=generator, dtype=torch.float64)
    top_p[::4] = 1.0
    uniform = torch.rand(n, generator=generator, dtype=torch.float64)
    tokens = next_tokens(logits, temperature, top_p, uniform).tolist()
    close = 0
    for i, token in enumerate(tokens):
        p = (logits[i].double() / temperature[i]).softmax(-1)
        ordered, ids = p.sort(descending=True, stable=True)
        outside = ordered.cumsum(0) - ordered >= top_p[i]
        outside[0] = False
        if top_p[i] < 1:
            p[ids[outside]] = 0
        cumulated = p.cumsum(0)
        wanted = uniform[i] * cumulated[-1]
        if token != int(torch.searchsorted(cumulated, wanted, right=True)):
            close += 1
            assert float((cumulated - wanted).abs().min()) < 1e-5
    assert close <= 2
    assert torch.equal(most_likely(logits), torch.from_numpy(logits.numpy().argmax(-1)))


def test_a_nucleus_wider_than_the_likely_tokens() -> None:
    """A flat distribution: nearly the whole vocabulary is inside, all of it equal."""
    n = 3000
    uniform = torch.linspace(0.001, 0.999, 101, dtype=torch.float64)
    ones = torch.ones(101, dtype=torch.float64)
    tokens = next_tokens(torch.zeros(101, n), ones, 0.9 * ones, uniform)
    assert tokens.tolist() == [int(u * 2700) for u in uniform]
