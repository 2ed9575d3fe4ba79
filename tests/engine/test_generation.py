"""Generation: greedy text against transformers, sampling by seed, ends of text, groups."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from llama_oracle import greedy_batch, greedy_tokens
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from evalsuite.engine.base import Engine
from evalsuite.engine.llama import plan
from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.engine.llama.generation import generate_group
from evalsuite.engine.llama.plan import Limits
from evalsuite.engine.llama.text import StopTokens, StopWatch
from evalsuite.records import GenerateRequest, GenerateResponse, ScoreRequest

NEW = 12


def generate_all(engine: Engine, requests: list[GenerateRequest]) -> list[GenerateResponse]:
    answers: dict[int, GenerateResponse] = {}
    for batch in engine.plan_generation(requests):
        responses = engine.generate([requests[i] for i in batch.requests])
        answers.update(zip(batch.requests, responses, strict=True))
    return [answers[i] for i in range(len(requests))]


@pytest.fixture(scope="module")
def greedy(small_oracle: PreTrainedModel) -> dict[tuple[int, ...], list[int]]:
    """transformers' answers to at least 200 prompts that share prefixes of several depths.

    Only prompts along whose answer the two best tokens are always more than 1e-4 apart.
    """
    rng = random.Random(5)
    shared = [tuple(rng.choices(range(3, 96), k=n)) for n in (1, 8, 20)]
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for _ in range(220):
        prompt = rng.choice(shared) + tuple(rng.choices(range(3, 96), k=rng.randrange(1, 12)))
        by_length.setdefault(len(prompt), []).append(prompt)
    found: dict[tuple[int, ...], list[int]] = {}
    for group in by_length.values():
        answers = greedy_batch(small_oracle, group, NEW, eos=(2,))
        for prompt, (answer, gap) in zip(group, answers, strict=True):
            if gap > 1e-4:
                found[prompt] = answer
    assert len(found) >= 200
    return found


@pytest.fixture(scope="module")
def prompts(greedy: dict[tuple[int, ...], list[int]]) -> list[tuple[int, ...]]:
    return list(greedy)


def test_greedy_is_transformers_greedy(
    small_engine: LlamaEngine, greedy: dict[tuple[int, ...], list[int]]
) -> None:
    answers = generate_all(small_engine, [GenerateRequest(p, NEW) for p in greedy])
    ends = set()
    for wanted, answer in zip(greedy.values(), answers, strict=True):
        assert list(answer.tokens) == [t for t in wanted if t != 2]
        assert answer.finish == ("eos" if wanted[-1] == 2 else "length")
        assert answer.truncated == 0
        ends.add(answer.finish)
    assert ends == {"eos", "length"}


def test_groups_and_packs_of_any_size_give_the_same_text(
    small_engine: LlamaEngine, prompts: list[tuple[int, ...]]
) -> None:
    requests = [
        GenerateRequest(p, 3 + i % 9, temperature=i % 2, top_p=0.95, seed=i)
        for i, p in enumerate(prompts[:40])
    ]
    whole = generate_all(small_engine, requests)
    for pack_tokens, rows in ((1, 1), (30, 7), (1000, 3)):
        engine = LlamaEngine(
            small_engine.model,
            small_engine.tokenizer,
            max_length=64,
            limits=replace(small_engine.limits, pack_tokens=pack_tokens, group_requests=rows),
            attention="dense",
        )
        assert max(len(b.requests) for b in engine.plan_generation(requests)) == rows
        assert generate_all(engine, requests) == whole


def test_sampled_text_depends_on_prompt_and_seed_alone(
    small_engine: LlamaEngine, prompts: list[tuple[int, ...]]
) -> None:
    def request(prompt: tuple[int, ...], seed: int, new: int = NEW) -> GenerateRequest:
        return GenerateRequest(prompt, new, temperature=1.0, seed=seed)

    mine = request(prompts[0], 7)
    (alone,) = small_engine.generate([mine])
    crowd = [request(p, s) for p in prompts[:6] for s in range(6)]
    assert small_engine.generate([*crowd, mine])[-1] == alone
    assert small_engine.generate([mine, *crowd[::-1]])[0] == alone
    # A shorter answer is the beginning of a longer one; other seeds say other things.
    (short,) = small_engine.generate([request(prompts[0], 7, 4)])
    assert short.tokens == alone.tokens[:4]
    seeds = small_engine.generate([request(prompts[0], seed) for seed in range(-10, 10)])
    assert len({answer.tokens for answer in seeds}) > 15


def test_equal_requests_are_computed_once(
    small_engine: LlamaEngine, prompts: list[tuple[int, ...]]
) -> None:
    request = GenerateRequest(prompts[0], NEW, temperature=1.0, seed=1)
    other = GenerateRequest(prompts[0], NEW, temperature=1.0, seed=2)
    (batch,) = small_engine.plan_generation([request, other, request, other])
    assert batch.distinct_tokens == len(prompts[0]) + 2 * NEW
    assert batch.total_tokens == 4 * (len(prompts[0]) + NEW)
    a, b, c, d = small_engine.generate([request, other, request, other])
    assert (a, b) == (c, d)
    assert a != b


def test_the_same_group_gives_the_same_bits_of_text(
    small_engine: LlamaEngine, prompts: list[tuple[int, ...]]
) -> None:
    requests = [GenerateRequest(p, NEW, temperature=0.7, seed=i) for i, p in enumerate(prompts)]
    assert small_engine.plan_generation(requests) == small_engine.plan_generation(requests)
    assert generate_all(small_engine, requests) == generate_all(small_engine, requests)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_types_score_and_generate(
    small_folder: Path, small_engine: LlamaEngine, prompts: list[tuple[int, ...]], dtype: str
) -> None:
    engine = LlamaEngine.load(small_folder, small_engine.tokenizer, device="cpu", dtype=dtype)
    exact = small_engine.generate([GenerateRequest(p, 4) for p in prompts])
    rounded = engine.generate([GenerateRequest(p, 4) for p in prompts])
    same = sum(a.tokens == b.tokens for a, b in zip(exact, rounded, strict=True))
    assert same > 0.8 * len(prompts)  # rounding turns near ties, not more
    request = ScoreRequest(prompts[0], prompts[1])
    (a,), (b,) = small_engine.score([request]), engine.score([request])
    assert a.logprob == pytest.approx(b.logprob, rel=0.02)


# ---- the end of an answer -----------------------------------------------------------------------


def ids(tokenizer: PreTrainedTokenizerFast, *pieces: str) -> list[int]:
    found = tokenizer.convert_tokens_to_ids(list(pieces))
    assert 0 not in found
    return found


@pytest.mark.parametrize(
    ("pieces", "stop", "ends_after", "text"),
    [
        (["a", "<0x0A>", "b"], ["\n"], 2, "a"),
        (["a", "Q", ":", "b"], ["Q:"], 3, "a"),  # over two tokens
        (["a", "Question", ":"], ["est"], 2, "aQu"),  # within a token
        (["▁w2", "▁an", "swer", "b"], [" answer"], 3, " w2"),  # the space belongs to a piece
        (["a", "##", "#", "b"], ["###"], 3, "a"),
        (["a", "#", "##", "b"], ["###"], 3, "a"),
        (["a", "<0xC3>", "<0xA9>", "b"], ["é"], 3, "a"),  # a character over two tokens
        (["a", "<0xE2>", "<0x82>", "<0xAC>", "b"], ["€b"], 5, "a"),
        (["a", "\n\n", "b"], ["\n"], 2, "a"),
        (["a", "Q", ":", "b"], ["", "b", "Q"], 2, "a"),
        (["a", "<s>", "b"], ["<s>"], 2, "a"),  # a special token's name, which the text lacks
        (["a", "<s>", "b"], ["ab"], 3, ""),
        (["a", "b", "a"], ["ba", "ab"], 2, ""),
        (["a", "b"], ["c"], None, "ab"),
    ],
)
def test_stop_strings(
    tokenizer: PreTrainedTokenizerFast,
    pieces: list[str],
    stop: list[str],
    ends_after: int | None,
    text: str,
) -> None:
    tokens = ids(tokenizer, *pieces)
    # Alone, and behind so much text that only a window of it is decoded at each step.
    for before in ([], ids(tokenizer, "▁w1") * 40):
        watch = StopWatch(tokenizer, stop)
        reached = [n for n in range(1, len(tokens) + 1) if watch.reached(before + tokens[:n])]
        assert (reached[0] if reached else None) == ends_after
        answer = watch.text(before + tokens[: ends_after or len(tokens)])
        start = watch.text(before)
        assert answer == (start + text if before else text.removeprefix(" "))
        assert not any(s and s in answer for s in stop)


def test_only_tokens_that_can_complete_a_stop_are_looked_at(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """As if the whole answer was decoded after every token, for any tokens and stop strings."""
    rng = random.Random(7)
    skipped = reached = 0
    for _ in range(400):
        # Mostly the tokens that are hard: bytes, spaces, special ones.
        tokens = rng.choices(range(24), k=rng.randrange(1, 25))
        text = tokenizer.decode(rng.choices([tokens, tokens[::-1]])[0])
        start = rng.randrange(len(text) + 1)
        stops = [
            text[start : start + rng.randrange(1, 5)],
            rng.choice(["", "swer", " ", "€b", "é"]),
        ]
        stops = [s for s in stops if s and "\ufffd" not in s]
        watch, shared = StopWatch(tokenizer, stops), StopTokens(tokenizer, stops)
        for n in range(1, len(tokens) + 1):
            texts = [
                tokenizer.decode(tokens[:n], skip_special_tokens=skip) for skip in (True, False)
            ]
            wanted = any(s in t for s in stops for t in texts)
            assert watch.reached(tokens[:n]) == wanted
            skipped += bool(stops) and not shared.can_complete(tokens[n - 1])
            if wanted:
                reached += 1
                break
    assert skipped > 500
    assert reached > 100


def test_engine_stops_at_stop_strings(
    small_engine: LlamaEngine, prompts: list[tuple[int, ...]]
) -> None:
    free = generate_all(small_engine, [GenerateRequest(p, NEW) for p in prompts])
    checked = 0
    for prompt, answer in list(zip(prompts, free, strict=True))[:40]:
        if len(answer.tokens) < 6 or answer.text != small_engine.tokenizer.decode(answer.tokens):
            continue
        stop = answer.text[len(answer.text) // 2 :][:3]
        (stopped,) = small_engine.generate([GenerateRequest(prompt, NEW, stop=(stop,))])
        assert stopped.finish == "stop"
        assert stopped.text == answer.text.split(stop)[0]
        assert stopped.tokens == answer.tokens[: len(stopped.tokens)]
        checked += 1
    assert checked > 10


def test_truncated_prompts(small_engine: LlamaEngine, small_oracle: PreTrainedModel) -> None:
    rng = random.Random(9)
    prompt = tuple(rng.choices(range(3, 96), k=70))
    (answer,) = small_engine.generate([GenerateRequest(prompt, 10)])
    assert answer.truncated == 70 - 54
    wanted, gap = greedy_tokens(small_oracle, prompt[-54:], 10, eos=(2,))
    assert gap > 1e-4
    assert list(answer.tokens) == [t for t in wanted if t != 2]
    # lm-eval stops with an assertion here; half of the context is left to the answer.
    (answer,) = small_engine.generate([GenerateRequest(prompt, 100)])
    assert answer.truncated == (70 - 32) + (100 - 32)
    wanted, _ = greedy_tokens(small_oracle, prompt[-32:], 32, eos=(2,))
    assert list(answer.tokens) == [t for t in wanted if t != 2]


def test_requests_that_cannot_be_generated(small_engine: LlamaEngine) -> None:
    with pytest.raises(ValueError, match=r"request 1: .* at least one prompt token"):
        small_engine.plan_generation([GenerateRequest((1,), 1), GenerateRequest((), 1)])
    assert small_engine.generate([]) == []
    assert small_engine.plan_generation([]) == []


def test_groups_last_a_minute_at_most(small_engine: LlamaEngine) -> None:
    config = replace(small_engine.model.config, hidden_size=4096, intermediate_size=11_008)
    config = replace(config, layers=32, heads=32, kv_heads=32, head_dim=128)
    limits = Limits.default("cpu", 2)
    requests = [GenerateRequest(tuple(range(3, 43)), 20, seed=s) for s in range(100)]
    groups = plan.plan_generation(requests, 2048, config, limits)
    assert len(groups) > 1
    for group in groups:
        seconds = plan.generation_seconds(
            config,
            limits,
            prompt_tokens=40,
            new_tokens=20 * len(group.requests),
            steps=20,
        )
        assert seconds <= plan.GROUP_SECONDS
    # What takes longer alone is a group of its own.
    long = [GenerateRequest((3, 4), 400, seed=s) for s in range(2)]
    assert len(plan.plan_generation(long, 2048, config, limits)) == 2


def test_a_shared_prefix_counts_once_in_a_groups_memory(small_engine: LlamaEngine) -> None:
    config = small_engine.model.config
    shots = tuple(range(3, 43))
    requests = [GenerateRequest((*shots, a, b), 5) for a in range(3, 13) for b in range(3, 13)]
    nodes = 40 + 10 + 100
    token = config.kv_values * 4
    wide = replace(small_engine.limits, group_kv_bytes=2 * nodes * token)
    assert len(plan.plan_generation(requests, 64, config, wide)) == 1
    narrow = replace(wide, group_kv_bytes=wide.group_kv_bytes - 1)
    first, second = plan.plan_generation(requests, 64, config, narrow)
    assert (len(first.requests), len(second.requests)) == (99, 1)
    assert first.distinct_tokens == nodes - 1 + 5 * 99
    assert second.distinct_tokens == 42 + 5  # the second group computes its prefix again
    # Memory: within the limit, which bounds the slots, whatever the group has to generate.
    weights = config.parameters * 4
    for limits in (wide, replace(wide, group_kv_bytes=100 * token)):
        groups = plan.plan_generation(requests, 64, config, limits)
        held = plan.memory_bytes(config, limits, (), groups) - weights
        forward = plan.memory_bytes(config, replace(limits, group_kv_bytes=0), (), groups) - weights
        assert 0 < held - forward <= limits.group_kv_bytes


def test_more_sequences_than_slots_take_longer(small_engine: LlamaEngine) -> None:
    def seconds(count: int, slots: int) -> float:
        return plan.generation_seconds(
            small_engine.model.config,
            replace(small_engine.limits, group_slots=slots),
            prompt_tokens=10,
            new_tokens=20 * count,
            steps=20,
        )

    assert seconds(8, 4) > 1.9 * seconds(4, 4)
    assert seconds(8, 8) < 1.1 * seconds(4, 8)


def test_any_end_is_a_finish(small_engine: LlamaEngine, prompts: list[tuple[int, ...]]) -> None:
    """Every token an end: the answer is empty, and the text too."""
    (answer,) = generate_group(
        small_engine.model,
        small_engine.tokenizer,
        [GenerateRequest(prompts[0], 5)],
        eos_ids=frozenset(range(96)),
        max_length=64,
        pack_tokens=100,
        attention="dense",
    )
    assert answer == GenerateResponse("", (), "eos", 0)
