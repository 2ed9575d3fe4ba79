"""Prompts for tests: random trees of them."""

from __future__ import annotations

import random

Prompt = tuple[int, ...]


def deep_prompts(rng: random.Random, count: int) -> list[Prompt]:
    """Prompts from a tree of several levels; some are prefixes of others, some one token."""

    def some(least: int, most: int) -> Prompt:
        return tuple(rng.choices(range(3, 96), k=rng.randrange(least, most)))

    pool: list[Prompt] = [some(1, 2), some(6, 9)]
    while len(pool) < count:
        parent = rng.choice(pool)
        if len(parent) < 30:
            pool.append(parent + some(1, 5))
    return pool[:count]
