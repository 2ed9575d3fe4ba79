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
SHARES = {"qa": 0.19, "math": 0.46, "commonsense": 0.12, "code": 0.12, "language": 0.11}
# Sums are learned late and suddenly, so the text opens with little else.
OPENING = 10  # chunks
OPENING_SHARES = {"qa": 0.02, "math": 0.92, "commonsense": 0.02, "code": 0.02, "language": 0.02}

CHUNK = 8192
# One document in sixteen holds several items of one capability, as a prompt with examples does.
SINGLE = 15 / 16
SEPARATOR = "\n\n"

Document = tuple[Item, ...]


def chunk(index: int) -> list[Document]:
    """Documents number `index * CHUNK` onwards; depends on the seed and the index alone."""
    rng = random.Random(f"{SEED}/corpus/{index}")
    shares = OPENING_SHARES if index < OPENING else SHARES
    capabilities = rng.choices(list(shares), list(shares.values()), k=CHUNK)
    documents = []
    for capability in capabilities:
        count = 1 if rng.random() < SINGLE else rng.randint(2, 4)
        make = GENERATORS[capability]
        documents.append(tuple(make(rng) for _ in range(count)))
    return documents


def stream(chunks: int, start: int = 0) -> Iterator[Item]:
    """Every item of `chunks` chunks from the one numbered `start`, in order."""
    for index in range(start, start + chunks):
        for document in chunk(index):
            yield from document
