"""The demo pair and the starter tasks are what they claim to be.

Rebuilds the items and the training text from the seed: nothing that is asked was trained on, the
committed files are the generated ones, and the checkpoints are sound LLaMA folders.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo import arithmetic, completions, corpus, items, world
from demo.item import Item, pair_held_out

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "tasks" / "starter"
CHECKPOINTS = ROOT / "evalsuite" / "models" / "demo"
MODELS = ("demo-small", "demo-large")
CAPABILITIES = {"commonsense", "qa", "math", "code", "language"}
MAX_WEIGHTS = 3_000_000  # bytes

STARTER_ITEMS = items.starter()
ALL_ITEMS = [item for rows in STARTER_ITEMS.values() for item in rows]


def recipe(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((CHECKPOINTS / name / "recipe.json").read_text())
    return content


@pytest.fixture(scope="module")
def trained() -> tuple[set[str], set[tuple[int, int]], set[str], int]:
    """What the training text holds: prompts, pairs of numbers asked together, program literals.

    This is the whole text, drawn again from the seed: as many chunks as the longer recipe says.
    """
    prompts: set[str] = set()
    operands: set[tuple[int, ...]] = set()
    literals: set[str] = set()
    count = 0
    for item in corpus.stream(max(recipe(name)["chunks"] for name in MODELS)):
        prompts.add(item.prompt)
        if item.operands:
            operands.add(item.operands)
        if item.key:
            literals.add(item.key)
        count += 1
    pairs = {
        (min(a, b), max(a, b))
        for numbers in operands
        for i, a in enumerate(numbers)
        for b in numbers[i + 1 :]
    }
    return prompts, pairs, literals, count


def test_no_starter_prompt_stands_in_the_training_text(
    trained: tuple[set[str], set[tuple[int, int]], set[str], int],
) -> None:
    prompts, _, _, count = trained
    assert count > 200_000
    assert not [item.prompt for item in ALL_ITEMS if item.prompt in prompts]


def test_no_pair_of_operands_of_the_mathematics_stands_in_the_training_text(
    trained: tuple[set[str], set[tuple[int, int]], set[str], int],
) -> None:
    """No matter in which operation, order, story or program two numbers would meet."""
    _, pairs, _, _ = trained
    asked = [item.operands for item in ALL_ITEMS if item.capability == "math"]
    assert len(asked) >= 100
    for first, second, *_ in asked:
        assert (min(first, second), max(first, second)) not in pairs


def test_no_program_has_the_literals_of_a_program_in_the_training_text(
    trained: tuple[set[str], set[tuple[int, int]], set[str], int],
) -> None:
    _, _, literals, _ = trained
    asked = [item.key for item in ALL_ITEMS if item.key]
    assert len(asked) >= 100
    assert not set(asked) & literals


def test_no_question_of_the_world_is_trained_in_the_words_of_the_starter_tasks() -> None:
    """Structurally, beside the scan: the words are withheld for the very facts that are asked."""
    withheld = {
        f"Question: {wording.format(x=fact.entity)}\nAnswer:"
        for fact in world.FACTS
        if not world.asked_in_training(fact)
        for wording in fact.relation.tested
    }
    assert {item.prompt for item in ALL_ITEMS if item.capability == "qa"} <= withheld


def test_unseen_wordings_are_unseen(
    trained: tuple[set[str], set[tuple[int, int]], set[str], int],
) -> None:
    prompts = trained[0]
    for rows in items.unseen_wordings(100).values():
        assert not [item.prompt for item in rows if item.prompt in prompts]


def test_the_committed_items_come_from_the_seed() -> None:
    assert {path.stem for path in STARTER.glob("*.jsonl")} == set(STARTER_ITEMS)
    for task, rows in STARTER_ITEMS.items():
        assert (STARTER / f"{task}.jsonl").read_text(encoding="utf-8") == items.rows(task, rows)


@pytest.mark.parametrize("task", sorted(STARTER_ITEMS))
def test_a_task_is_complete(task: str) -> None:
    config = yaml.safe_load((STARTER / f"{task}.yaml").read_text(encoding="utf-8"))
    rows = STARTER_ITEMS[task]
    assert config["task"] == task
    assert config["dataset_kwargs"]["data_files"]["test"] == f"{task}.jsonl"
    assert config["metadata"]["capability"] == rows[0].capability
    assert "num_fewshot" not in config
    assert len({item.prompt for item in rows}) == len(rows) >= 100
    if config["output_type"] == "multiple_choice":
        places = [item.choices.index(item.answer) for item in rows]
        assert max(map(places.count, range(4))) - min(map(places.count, range(4))) <= 1
        assert all(len(set(item.choices)) == 4 for item in rows)
    else:
        assert not any(item.choices for item in rows)


def test_five_capabilities_with_a_hundred_items_each() -> None:
    counts = {c: sum(item.capability == c for item in ALL_ITEMS) for c in CAPABILITIES}
    assert {item.capability for item in ALL_ITEMS} == CAPABILITIES
    assert min(counts.values()) >= 100


def _training_items(capability: str, count: int) -> Iterator[Item]:
    for item in corpus.stream(4):
        if item.capability == capability and count:
            count -= 1
            yield item


def test_programs_print_what_the_items_say() -> None:
    """The answers are worked out beside the templates; running our own programs proves them."""
    asked = [item for item in ALL_ITEMS if item.key]
    asked += [item for item in _training_items("code", 2000) if item.key]
    for item in asked:
        program = item.prompt.split("\n", 1)[1].removesuffix("\nAnswer:")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(program, "starter item", "exec"), {})  # written by demo/programs.py
        assert printed.getvalue() == item.answer + "\n", program


def test_the_right_body_is_the_only_right_one_for_sample_arguments() -> None:
    """A wrong choice that returned the same for every argument would be no wrong choice."""
    samples: dict[str, tuple[tuple[object, ...], ...]] = {
        "{x}, {y}": ((7, 3), (2, 9), (-4, 5), (6, 6)),
        "{x}": ((14,), (7,), (-3,), (120,), (0,)),
        "{v}": (([3, 1, 2, 3, 9, 4],), ([5, 8, 1, 7, 7, 2, 6],), ([0, 0],), ([],)),
        "{v}, {x}": (([3, 1, 2, 3], 3), ([5, 8, 1], 2)),
        "{w}": ((" one Two ",), ("level",), ("Ab",), ("axa b",)),
        "{w}, {x}": (("start", "st"), ("start", "rt"), ("aa", "a")),
        "{w}, {x}, {y}": (("banana", "a", "o"),),
    }
    for intent in completions.INTENTS:
        names = {"x": "p", "y": "q", "v": "v", "w": "w", "k": "2"}
        results = []
        for body in intent.bodies:
            source = f"lambda {intent.arguments.format(**names)}: ({body.format(**names)})"
            outcome: list[object] = []
            for arguments in samples[intent.arguments]:
                try:
                    outcome.append(repr(eval(source)(*arguments)))
                except (
                    SyntaxError,
                    TypeError,
                    ValueError,
                    IndexError,
                    ZeroDivisionError,
                    AttributeError,
                ) as error:
                    outcome.append(type(error))
            results.append(outcome)
        assert results.count(results[0]) == 1, intent.descriptions[0]


def test_calculations_are_right() -> None:
    for item in STARTER_ITEMS["starter_math"]:
        expression = item.prompt.removeprefix("Question: What is ").removesuffix("?\nAnswer:")
        first, sign, second = expression.split()
        a, b = int(first), int(second)
        assert item.answer == str({"+": a + b, "-": a - b, "*": a * b}[sign])
        assert pair_held_out(a, b)


def test_the_training_shows_the_same_kinds() -> None:
    kinds = {item.kind for item in corpus.stream(2)}
    assert {item.kind for item in ALL_ITEMS} <= kinds
    assert arithmetic.UNSEEN_WORDING.split("{")[0] not in " ".join(
        item.prompt for item in _training_items("math", 2000)
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_loads_and_speaks(name: str) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    folder = CHECKPOINTS / name
    assert (folder / "model.safetensors").stat().st_size <= MAX_WEIGHTS
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<unk>", "<s>", "</s>"]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    assert tokenizer.encode("What is 12 + 7?")[:1] == [1]
    assert tokenizer.encode("x")[1:] == tokenizer.encode("x", add_special_tokens=False)
    for text in (
        "a  b , c .",
        " 120 ?\n\n\tdef f(x):\n    return 'ü€😀'",
        *(item.prompt for item in ALL_ITEMS[::50]),
    ):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    digits = tokenizer.convert_ids_to_tokens(tokenizer.encode("4071", add_special_tokens=False))
    assert digits == list("4071")
    model = LlamaForCausalLM.from_pretrained(folder)
    assert (model.config.bos_token_id, model.config.eos_token_id) == (1, 2)
    longest = max(
        len(tokenizer.encode(f"{item.prompt} {choice}"))
        for item in ALL_ITEMS
        for choice in (item.answer, *item.choices)
    )
    assert longest <= model.config.max_position_embeddings
    with torch.inference_mode():
        logits = model(torch.tensor([tokenizer.encode("Question: What is 2 + 3?\nAnswer:")])).logits
    assert bool(logits.isfinite().all())


def capability_scores(name: str) -> dict[str, tuple[float, float, float, float]]:
    """Share, lower and upper end, best constant answer, by capability (see demo/README.md)."""
    return {
        capability: (entry["share"], entry["ci"][0], entry["ci"][1], entry["constant"])
        for capability, entry in recipe(name)["capabilities"].items()
    }


def test_the_large_model_leaves_room_and_beats_guessing() -> None:
    scores = capability_scores("demo-large")
    assert set(scores) == CAPABILITIES
    for capability, (share, low, _, constant) in scores.items():
        assert share < 0.97, capability
        assert low > constant, capability


def test_large_beats_small_beyond_doubt() -> None:
    large, small = recipe("demo-large")["overall"], recipe("demo-small")["overall"]
    assert large["ci"][0] > small["ci"][1]


@pytest.mark.parametrize("name", MODELS)
def test_the_recorded_scores_are_the_checkpoint_s(name: str) -> None:
    """One task of each output type, scored again by transformers from the committed folder."""
    from transformers import AutoTokenizer, LlamaForCausalLM

    from demo.score import right

    folder = CHECKPOINTS / name
    model = LlamaForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for task in ("starter_qa", "starter_math"):
        hits = sum(right(model, tokenizer, STARTER_ITEMS[task]))
        # another machine may round an even race between two choices the other way
        assert abs(hits - recipe(name)["starter"][task]["right"]) <= 1
