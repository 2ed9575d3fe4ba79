"""The training text as a stream of items, drawn from the seed, never holding a starter prompt.

Knows the share of each capability and how items stand in a document. Two callers read the same
stream: the trainer and the test that looks for starter prompts in it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from demo import arithmetic, commonsense, language, programs, world
from demo.item import SEED, Item

GENERATORS = {
    "qa": world.train_item,
    "math": arithmetic.train_item,
    "commonsense": commonsense.train_item,
    "code": programs.train_item,
    "language": language.train_item,
}
SHARES = {"qa": 0.26, "math": 0.36, "commonsense": 0.13, "code": 0.14, "language": 0.11}

CHUNK = 8192
# One document in sixteen holds several items of one capability, as a prompt with examples does.
SINGLE = 15 / 16
SEPARATOR = "\n\n"

Document = tuple[Item, ...]


def chunk(index: int) -> list[Document]:
    """Documents number `index * CHUNK` onwards; depends on the seed and the index alone."""
    rng = random.Random(f"{SEED}/corpus/{index}")
    capabilities = rng.choices(list(SHARES), list(SHARES.values()), k=CHUNK)
    documents = []
    for capability in capabilities:
        count = 1 if rng.random() < SINGLE else rng.randint(2, 4)
        make = GENERATORS[capability]
        documents.append(tuple(make(rng) for _ in range(count)))
    return documents


def stream(chunks: int) -> Iterator[Item]:
    """Every item of the first `chunks` chunks, in order."""
    for index in range(chunks):
        for document in chunk(index):
            yield from document
