"""Which family a model is of, by its name."""

from __future__ import annotations

import pytest

from evalsuite.models.family import Lineage, lineage, relation, relations
from evalsuite.models.registry import registry


@pytest.mark.parametrize(
    ("name", "weights", "taught_by"),
    [
        ("gpt-4", "gpt", ()),
        ("gpt-4o-mini-2024-07-18", "gpt", ()),
        ("openai:gpt-4.1@https://api.example.org/v1", "gpt", ()),
        ("text_davinci_003", "gpt", ()),
        ("o3-mini", "gpt", ()),
        ("gpt-neox-20b", None, ()),
        ("alpaca_eval_gpt4_turbo_fn", "gpt", ()),
        ("openai:judge@http://llama.example.org:8000/v1", None, ()),
        ("claude-3-opus", "claude", ()),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama", ()),
        ("local:vicuna-13b-v1.5", "llama", ("gpt",)),
        ("gpt4-x-alpaca-13b", "llama", ("gpt",)),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "tinyllama", ()),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistral", ()),
        ("WizardLM-2-8x22B", "mistral", ()),
        ("wizardlm-7b", "llama", ("gpt",)),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen", ()),
        ("DeepSeek-R1-Distill-Llama-8B", "deepseek", ("llama",)),
        ("demo-large", None, ()),
        ("my-checkpoint-500", None, ()),
        ("", None, ()),
    ],
)
def test_names(name: str, weights: str | None, taught_by: tuple[str, ...]) -> None:
    assert lineage(name) == Lineage(weights, taught_by)


def test_every_model_of_the_registry_has_the_family_that_its_licence_names() -> None:
    # Meta's licence follows the weights, whoever trained them further.
    for entry in registry().models.values():
        found = lineage(entry.name)
        assert found.weights is not None, entry.name
        of_meta = "llama" in f"{entry.licence.short} {entry.licence.text}".lower()
        assert (found.weights == "llama") == of_meta, entry.name


def test_the_surest_name_comes_first() -> None:
    assert lineage("gpt-4-0613", "llama-judge").weights == "gpt"
    assert lineage("", "judge-0001", "llama-judge").weights == "llama"


def test_relatives_are_those_of_its_weights_or_its_answers() -> None:
    gpt, vicuna, llama = lineage("gpt-4"), lineage("vicuna-7b"), lineage("llama-2-7b-chat")
    assert relation(gpt, lineage("gpt-3.5-turbo")) == "weights"
    assert relation(gpt, vicuna) == "answers"
    assert relation(gpt, llama) is None
    assert relation(llama, vicuna) == "weights"
    assert relation(vicuna, lineage("zephyr-7b")) is None  # they share a teacher, nothing else
    assert relation(lineage("unknown"), lineage("unknown too")) is None
    names = {"a": ("vicuna-7b-v1.5",), "b": ("llama-7b",), "c": ("", "mine")}
    assert relations(("gpt-4-0613", "gpt-4"), names) == ("gpt", {"a": "answers"})
