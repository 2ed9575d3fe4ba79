"""The workloads of the engine benchmark: random token ids with the lengths of real evaluations.

Also what a workload costs at least: its distinct tokens and the floating point operations that
computing each of them once takes. Knows requests and sizes; no torch, no engine, no peer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from evalsuite.records import GenerateRequest, ScoreRequest

# Ids at both ends of a vocabulary are left out: special tokens and bytes stand there.
MARGIN = 16

TEMPERATURE = 0.8


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload: either `score` or `generate` holds requests.

    `documents` counts documents or prompts, `alike` how many requests differ only in their last
    token (lm-eval computes those once).
    """

    name: str
    title: str
    documents: int
    score: tuple[ScoreRequest, ...] = ()
    generate: tuple[GenerateRequest, ...] = ()
    alike: int = 1

    @property
    def total_tokens(self) -> int:
        """Tokens that a tool without any sharing computes, those it generates included."""
        scored = sum(len(r.context) + len(r.continuation) - 1 for r in self.score)
        return scored + sum(len(r.prompt) + r.max_new_tokens for r in self.generate)

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence, what is generated included."""
        scored = (len(r.context) + len(r.continuation) for r in self.score)
        generated = (len(r.prompt) + r.max_new_tokens for r in self.generate)
        return max((*scored, *generated))


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a workload is: documents (prompts), samples of each prompt, new tokens of each."""

    documents: int
    samples: int = 1
    new_tokens: int = 0


# On a CPU as few documents as give a stable ratio: two to three minutes a workload with the peer,
# where two cores reach 300 GFLOP/s.
SIZES = {
    "cpu": {"a": Sizes(64), "b": Sizes(6), "c": Sizes(64)}
    | {"d": Sizes(64, 1, 64), "e": Sizes(5, 20, 64)},
    "cuda": {"a": Sizes(2000), "b": Sizes(200), "c": Sizes(800)}
    | {"d": Sizes(256, 1, 192), "e": Sizes(20, 50, 128)},
}

# Documents of one subject in (c); a smaller workload is a part of one subject.
SUBJECT = 200


def make_workload(name: str, sizes: Sizes, vocabulary: int, seed: int = 0) -> Workload:
    """The workload a, b, c, d or e; the same arguments give the same tokens.

    a: HellaSwag 0-shot, b: ARC 25-shot, c: MMLU 5-shot, d: GSM8K 8-shot, greedy, e: pass@k,
    sampled. Raises ValueError for another name or a vocabulary that is too small.
    """
    if vocabulary <= 4 * MARGIN:
        raise ValueError(f"a vocabulary of {vocabulary} is too small for random tokens")
    if name not in _MAKERS:
        raise ValueError(f"unknown workload {name!r}: a, b, c, d and e are known")
    rng = random.Random(f"{name} {seed}")

    def tokens(low: int, high: int | None = None) -> tuple[int, ...]:
        """Between `low` and `high` random ids."""
        length = low if high is None else rng.randint(low, high)
        return tuple(rng.randrange(MARGIN, vocabulary - MARGIN) for _ in range(length))

    return _MAKERS[name](name, sizes, tokens)


Tokens = Callable[..., tuple[int, ...]]


def _hellaswag(name: str, sizes: Sizes, tokens: Tokens) -> Workload:
    asked = []
    for _ in range(sizes.documents):
        context = tokens(30, 100)
        asked += [ScoreRequest(context, tokens(12, 38)) for _ in range(4)]
    return Workload(name, "HellaSwag 0-shot", sizes.documents, score=tuple(asked))


def _arc(name: str, sizes: Sizes, tokens: Tokens) -> Workload:
    asked = []
    for _ in range(sizes.documents):
        context = tokens(1000, 1300)
        asked += [ScoreRequest(context, tokens(2, 10)) for _ in range(4)]
    return Workload(name, "ARC 25-shot", sizes.documents, score=tuple(asked))


def _mmlu(name: str, sizes: Sizes, tokens: Tokens) -> Workload:
    choices = tokens(4)
    asked = []
    shared: tuple[int, ...] = ()
    for document in range(sizes.documents):
        if document % SUBJECT == 0:
            shared = tokens(400, 800)
        context = shared + tokens(60, 160)
        asked += [ScoreRequest(context, (choice,)) for choice in choices]
    return Workload(name, "MMLU 5-shot", sizes.documents, score=tuple(asked), alike=4)


def _gsm8k(name: str, sizes: Sizes, tokens: Tokens) -> Workload:
    shared = tokens(800)
    asked = tuple(
        GenerateRequest(shared + tokens(60, 120), sizes.new_tokens) for _ in range(sizes.documents)
    )
    return Workload(name, "GSM8K 8-shot", sizes.documents, generate=asked)


def _pass_at_k(name: str, sizes: Sizes, tokens: Tokens) -> Workload:
    prompts = [tokens(150) for _ in range(sizes.documents)]
    asked = tuple(
        GenerateRequest(prompt, sizes.new_tokens, temperature=TEMPERATURE, seed=seed)
        for prompt in prompts
        for seed in range(sizes.samples)
    )
    return Workload(name, "pass@k", sizes.documents, generate=asked)


_MAKERS = {"a": _hellaswag, "b": _arc, "c": _mmlu, "d": _gsm8k, "e": _pass_at_k}


@dataclass(frozen=True, slots=True)
class Cost:
    """What must be computed when each distinct token is computed once.

    `tokens` pass through the layers, `logits` of them through the output matrix, and `attended`
    is the sum, over the tokens, of how many keys each looks at.
    """

    tokens: int
    logits: int
    attended: int

    def flops(self, *, layer_parameters: int, vocabulary: int, hidden: int, layers: int) -> float:
        """Floating point operations; `layer_parameters` counts the matrices of all layers.

        Attention takes four a key, channel and layer: two for the scores, two for the values.
        """
        return (
            2.0 * self.tokens * layer_parameters
            + 2.0 * self.logits * hidden * vocabulary
            + 4.0 * self.attended * hidden * layers
        )


def cost_of(workload: Workload) -> Cost:
    """The least a workload costs, counted by walking its trie.

    The last token of a continuation or of an answer is predicted, never computed.
    """
    scored = [((r.context + r.continuation)[:-1], len(r.continuation)) for r in workload.score]
    prompts = [(r.prompt, 1) for r in workload.generate]
    cost = _trie_cost(scored + prompts)
    tokens, logits, attended = cost.tokens, cost.logits, cost.attended
    for request in set(workload.generate):
        steps = request.max_new_tokens - 1
        tokens += steps
        logits += steps
        attended += sum(len(request.prompt) + step + 1 for step in range(steps))
    return Cost(tokens, logits, attended)


def _trie_cost(sequences: Sequence[tuple[tuple[int, ...], int]]) -> Cost:
    """The cost of sequences, each with the number of its last nodes that need logits."""
    nodes, attended, needed = 0, 0, set()
    path: list[int] = []  # the nodes of the sequence before, which in sorted order is the closest
    before: tuple[int, ...] = ()
    for tokens, read in sorted(sequences):
        common = 0
        for one, other in zip(tokens, before, strict=False):
            if one != other:
                break
            common += 1
        fresh = len(tokens) - common
        path = path[:common] + list(range(nodes, nodes + fresh))
        nodes += fresh
        attended += sum(range(common + 1, len(tokens) + 1))
        needed.update(path[-read:])
        before = tokens
    return Cost(nodes, len(needed), attended)


def tokens_of(request: Any) -> int:
    """Tokens that a request takes without sharing."""
    if isinstance(request, ScoreRequest):
        return len(request.context) + len(request.continuation) - 1
    return len(request.prompt) + request.max_new_tokens


def middle(order: Sequence[Any], count: int, alike: int = 1) -> Sequence[Any]:
    """`count` requests from the middle of those sorted by length; all where there are fewer.

    Sorting keeps the `alike` requests of a document together, and so does the cut.
    """
    start = max(0, (len(order) - count) // 2) // alike * alike
    return order[start : start + count]
