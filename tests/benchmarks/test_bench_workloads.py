"""The benchmark's workloads have the lengths they claim, and their cost is the trie's."""

from __future__ import annotations

import pytest
from engine_workloads import SIZES, SUBJECT, Cost, Sizes, Workload, cost_of, make_workload, middle

from evalsuite.records import GenerateRequest, ScoreRequest

VOCABULARY = 32_000


def lengths(workload: Workload) -> list[tuple[int, int]]:
    return [(len(r.context), len(r.continuation)) for r in workload.score]


@pytest.mark.parametrize(
    ("name", "context", "continuation"), [("a", (30, 100), (12, 38)), ("b", (1000, 1300), (2, 10))]
)
def test_choices_of_a_document_share_its_context(
    name: str, context: tuple[int, int], continuation: tuple[int, int]
) -> None:
    workload = make_workload(name, Sizes(200), VOCABULARY)
    assert len(workload.score) == 800
    assert len({request.context for request in workload.score}) == 200
    contexts, continuations = zip(*lengths(workload), strict=True)
    # With this many draws both ends of each range are close.
    assert context[0] <= min(contexts) <= context[0] + 12
    assert context[1] - 12 <= max(contexts) <= context[1]
    assert (min(continuations), max(continuations)) == continuation


def test_mmlu_documents_share_their_subject_only() -> None:
    workload = make_workload("c", Sizes(2 * SUBJECT), VOCABULARY)
    contexts = [request.context for request in workload.score[::4]]
    first, second = contexts[:SUBJECT], contexts[SUBJECT:]
    for subject in (first, second):
        shared = common(subject)
        assert 400 <= shared <= 800
        own = [len(context) - shared for context in subject]
        assert min(own) >= 60
        assert max(own) <= 160
    assert common([first[0], second[0]]) == 0
    assert {request.continuation for request in workload.score} == {
        request.continuation for request in workload.score[:4]
    }
    assert all(len(request.continuation) == 1 for request in workload.score)


def test_gsm8k_prompts_share_800_tokens() -> None:
    workload = make_workload("d", SIZES["cpu"]["d"], VOCABULARY)
    prompts = [request.prompt for request in workload.generate]
    assert len(prompts) == 64
    assert common(prompts) == 800
    assert all(860 <= len(prompt) <= 920 for prompt in prompts)
    assert {(r.max_new_tokens, r.temperature) for r in workload.generate} == {(64, 0.0)}


def test_pass_at_k_draws_each_prompt_with_seeds_of_its_own() -> None:
    workload = make_workload("e", SIZES["cpu"]["e"], VOCABULARY)
    assert len(set(workload.generate)) == 100
    prompts = {request.prompt for request in workload.generate}
    assert [len(prompt) for prompt in prompts] == [150] * 5
    for prompt in prompts:
        seeds = [r.seed for r in workload.generate if r.prompt == prompt]
        assert sorted(seeds) == list(range(20))


def test_the_same_arguments_give_the_same_tokens() -> None:
    first, again = (make_workload("a", Sizes(3), VOCABULARY, seed=5) for _ in range(2))
    assert first == again
    assert first != make_workload("a", Sizes(3), VOCABULARY, seed=6)


def test_special_ids_at_both_ends_are_left_out() -> None:
    workload = make_workload("b", Sizes(20), 100)
    seen = {token for request in workload.score for token in request.context}
    assert seen == set(range(16, 84))


def test_unknown_workloads_and_tiny_vocabularies_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown workload 'f'"):
        make_workload("f", Sizes(1), VOCABULARY)
    with pytest.raises(ValueError, match="too small"):
        make_workload("a", Sizes(1), 64)


def test_cost_of_a_small_trie_counted_by_hand() -> None:
    # The tree: 1-2-3-4 and 1-2-5; the sequence 1-2 ends inside. Logits: at 3 and 4 for (6, 7),
    # at 5 for (8,), at 2 for (3,).
    workload = Workload(
        "x",
        "by hand",
        3,
        score=(
            ScoreRequest((1, 2, 3), (4, 7)),
            ScoreRequest((1, 2, 5), (8,)),
            ScoreRequest((1, 2), (3,)),
        ),
    )
    assert cost_of(workload) == Cost(tokens=5, logits=4, attended=1 + 2 + 3 + 4 + 3)
    assert workload.total_tokens == 4 + 3 + 2
    assert workload.longest == 5


def test_cost_of_generating_counts_all_steps_but_the_last_token() -> None:
    # Two answers of three tokens after 1-2 (one prompt, two seeds), one of one token after 1-9.
    asked = [GenerateRequest((1, 2), 3, temperature=1.0, seed=seed) for seed in range(2)]
    workload = Workload("x", "by hand", 2, generate=(*asked, GenerateRequest((1, 9), 1)))
    assert cost_of(workload) == Cost(
        tokens=3 + 2 * 2, logits=2 + 2 * 2, attended=(1 + 2 + 2) + 2 * (3 + 4)
    )
    assert workload.total_tokens == 2 * 5 + 3


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_cost_equals_the_set_of_prefixes(name: str) -> None:
    workload = make_workload(name, Sizes(2), VOCABULARY)
    nodes: set[tuple[int, ...]] = set()
    needed: set[tuple[int, ...]] = set()
    for request in workload.score:
        tokens = (request.context + request.continuation)[:-1]
        prefixes = [tokens[:end] for end in range(1, len(tokens) + 1)]
        nodes.update(prefixes)
        needed.update(prefixes[-len(request.continuation) :])
    cost = cost_of(workload)
    assert (cost.tokens, cost.logits) == (len(nodes), len(needed))
    assert cost.attended == sum(len(node) for node in nodes)


def test_flops_of_a_dense_model() -> None:
    flops = Cost(10, 2, 55).flops(layer_parameters=1000, vocabulary=50, hidden=8, layers=3)
    assert flops == 2 * 10 * 1000 + 2 * 2 * 8 * 50 + 4 * 55 * 8 * 3


def test_the_middle_keeps_documents_whole() -> None:
    assert list(middle(range(10), 4)) == [3, 4, 5, 6]
    assert list(middle(range(12), 8, alike=4)) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert list(middle(range(20), 4, alike=4)) == [8, 9, 10, 11]
    assert list(middle(range(3), 8)) == [0, 1, 2]


def common(sequences: list[tuple[int, ...]]) -> int:
    """How many tokens all sequences begin with."""
    columns = zip(*sequences, strict=False)
    return next((i for i, column in enumerate(columns) if len(set(column)) > 1), 0)
