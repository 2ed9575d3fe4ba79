"""The engine on a real little LLaMA, trained on short stories: it must know such text."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from llama_oracle import expected_score, greedy_tokens, load_oracle
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from evalsuite.engine.llama.engine import LlamaEngine
from evalsuite.records import GenerateRequest, ScoreRequest

ENGLISH = (
    "The committee approved the quarterly budget after a lengthy debate about infrastructure, "
    "taxation and the long-term maintenance of municipal buildings."
)


@pytest.fixture(scope="module")
def tokenizer(stories: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(stories)


@pytest.fixture(scope="module")
def engine(stories: Path, tokenizer: PreTrainedTokenizerBase) -> LlamaEngine:
    return LlamaEngine.load(stories, tokenizer, device="cpu")


@pytest.fixture(scope="module")
def oracle(stories: Path) -> PreTrainedModel:
    return load_oracle(stories)


def loss(engine: LlamaEngine, tokens: list[int]) -> float:
    """Negative log-likelihood a token, given the first."""
    (answer,) = engine.score([ScoreRequest(tuple(tokens[:1]), tuple(tokens[1:]))])
    return -answer.logprob / (len(tokens) - 1)


def test_it_knows_stories(engine: LlamaEngine, tokenizer: PreTrainedTokenizerBase) -> None:
    (story,) = engine.generate([GenerateRequest((1,), 200)])  # its own kind of story
    assert story.text.startswith("Once upon a time")
    assert loss(engine, [1, *story.tokens]) < 0.7
    english = loss(engine, tokenizer(ENGLISH).input_ids)
    assert english == pytest.approx(4.45, abs=0.7)
    letters = list(ENGLISH)
    random.Random(0).shuffle(letters)
    assert loss(engine, tokenizer("".join(letters)).input_ids) > english


def test_scores_and_text_equal_transformers(
    engine: LlamaEngine, oracle: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    beginnings = ["Once upon a time", "Lily and Tom went to", "The dog was", "One day, a big"]
    compared = 0
    for text in beginnings:
        prompt = tuple(tokenizer(text).input_ids)
        wanted, gap = greedy_tokens(oracle, prompt, 80, eos=(2,))
        (answer,) = engine.generate([GenerateRequest(prompt, 80)])
        if gap > 1e-4:
            compared += 1
            assert list(answer.tokens) == [t for t in wanted if t != 2]
            assert answer.text == tokenizer.decode(wanted, skip_special_tokens=True)
            (line,) = engine.generate([GenerateRequest(prompt, 80, stop=(".",))])
            assert line.text == answer.text.split(".")[0]
        continuation = tuple(tokenizer(" there was a ship.").input_ids[1:])
        (score,) = engine.score([ScoreRequest(prompt, continuation)])
        expected = expected_score(oracle, prompt, continuation, engine.max_length)
        assert score.logprob == pytest.approx(expected.logprob, abs=1e-4)
    assert compared >= 2
