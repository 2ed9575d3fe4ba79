"""Token requests: the plan is the run, seeds differ by sample, what can't be asked is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalsuite.harness.adapter import EngineLM
from evalsuite.harness.catalog import resolve
from evalsuite.harness.evaluate import evaluate
from evalsuite.harness.planning import token_requests
from evalsuite.harness.sampling import generation_settings
from evalsuite.harness.tasks import load_tasks
from evalsuite.records import UserError


def write_task(folder: Path, settings: str, name: str = "sampling") -> Path:
    rows = [{"q": "Once upon a time,"}, {"q": "The cat"}]
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    path = folder / f"{name}.yaml"
    path.write_text(
        f"task: {name}\ndataset_path: json\n"
        f"dataset_kwargs:\n  data_files: {{test: {name}.jsonl}}\n"
        "test_split: test\noutput_type: generate_until\ndoc_to_text: q\ndoc_to_target: q\n"
        "metric_list:\n  - metric: exact_match\n    aggregation: mean\n    higher_is_better: true\n"
        + settings,
        encoding="utf-8",
    )
    return path


SAMPLED = (
    'repeats: 3\ngeneration_kwargs:\n  until: ["\\n"]\n  max_gen_toks: 12\n'
    "  do_sample: true\n  temperature: 0.8\n  top_p: 0.95\n"
)


def test_the_plan_is_the_run(asked: Any, tokenizer: Any, benchmarks: Path, tmp_path: Path) -> None:
    names = ["piqa", "nq_open", "arc_easy", str(write_task(tmp_path, SAMPLED))]
    task_set = load_tasks(resolve(names), data_dir=benchmarks, limit=3)
    planned = token_requests(task_set, tokenizer, asked.max_length, run_seed=7)
    lm = EngineLM(tokenizer, asked.max_length, asked.score, asked.generate, run_seed=7)
    first = evaluate(task_set, lm, model="a")
    assert asked.score_calls == [planned[0]]
    assert asked.generate_calls == [planned[1]]
    # A second model on the same task set starts from nothing and gets its own answers.
    second = evaluate(task_set, lm, model="b")
    assert asked.score_calls[1] == planned[0]
    assert [r.metrics for r in first.results] == [r.metrics for r in second.results]
    assert all(len(resp) == 1 for s in second.samples["piqa"] for resp in s["resps"])
    assert {r.model for r in second.results} == {"b"}


def test_repeats_have_seeds_of_their_own(
    asked: Any, tokenizer: Any, benchmarks: Path, tmp_path: Path
) -> None:
    task_set = load_tasks(resolve([str(write_task(tmp_path, SAMPLED))]))
    _, generate = token_requests(task_set, tokenizer, 512, run_seed=1)
    assert len(generate) == 6
    assert len({request.seed for request in generate}) == 6
    assert {(r.temperature, r.top_p, r.max_new_tokens) for r in generate} == {(0.8, 0.95, 12)}
    assert generate[0].stop == ("\n", "</s>")
    assert [r.seed for r in token_requests(task_set, tokenizer, 512, run_seed=1)[1]] == [
        r.seed for r in generate
    ]
    assert not {r.seed for r in token_requests(task_set, tokenizer, 512, run_seed=2)[1]} & {
        r.seed for r in generate
    }
    lm = EngineLM(tokenizer, asked.max_length, asked.score, asked.generate, run_seed=1)
    samples = evaluate(task_set, lm, model="a").samples["sampling"]
    assert all(len(sample["resps"][0]) == 3 for sample in samples)
    assert any(len(set(sample["resps"][0])) > 1 for sample in samples)


def test_greedy_requests_do_not_depend_on_the_seed(tokenizer: Any, benchmarks: Path) -> None:
    task_set = load_tasks(resolve(["nq_open"]), data_dir=benchmarks, limit=2)
    runs = [token_requests(task_set, tokenizer, 512, run_seed=seed)[1] for seed in (1, 2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("line", "word"), [("top_k: 40", "top_k"), ("num_beams: 4", "num_beams"), ("foo: 1", "foo")]
)
def test_settings_without_effect_here_are_refused(
    line: str, word: str, tokenizer: Any, tmp_path: Path
) -> None:
    path = write_task(tmp_path, f"{SAMPLED}  {line}\n")
    task_set = load_tasks(resolve([str(path)]))
    with pytest.raises(UserError, match=f"sampling asks for generation with {word}"):
        token_requests(task_set, tokenizer, 512)


def test_neutral_settings_pass(tokenizer: Any, tmp_path: Path) -> None:
    path = write_task(tmp_path, f"{SAMPLED}  top_k: 0\n  num_beams: 1\n")
    (instance, *_) = load_tasks(resolve([str(path)])).instances["sampling"]
    assert generation_settings(instance).top_p == 0.95


def test_choices_share_one_context(tokenizer: Any, benchmarks: Path) -> None:
    task_set = load_tasks(resolve(["arc_easy"]), data_dir=benchmarks, limit=1)
    score, _ = token_requests(task_set, tokenizer, 512)
    assert len(score) == 4
    assert len({id(request.context) for request in score}) == 1
    assert score[0].context[0] == tokenizer.bos_token_id


def test_text_that_begins_with_bos_gets_no_second_one(tokenizer: Any) -> None:
    lm = EngineLM(tokenizer, 512, lambda _: [], lambda _: [])
    assert lm.tok_encode("<s>Tom ran.").count(tokenizer.bos_token_id) == 1
    assert lm.tok_encode("Tom ran.").count(tokenizer.bos_token_id) == 1


def test_every_task_whose_continuations_do_not_fit_is_named(
    tokenizer: Any, benchmarks: Path
) -> None:
    task_set = load_tasks(resolve(["piqa", "arc_easy", "nq_open"]), data_dir=benchmarks, limit=20)
    with pytest.raises(UserError) as error:
        token_requests(task_set, tokenizer, 8)
    lines = str(error.value).splitlines()
    longest: dict[str, dict[int, int]] = {"piqa": {}, "arc_easy": {}}
    for name, documents in longest.items():
        for instance in task_set.instances[name]:
            length = len(continuation(tokenizer, instance))
            if length > 8:
                documents[instance.doc_id] = max(length, documents.get(instance.doc_id, 0))
    for name, documents in longest.items():
        said = f"{name} ({len(documents)} documents, up to {max(documents.values())} tok"
        assert any(said in line and "--max-length" in line for line in lines)
    assert len(lines) == 2


def continuation(tokenizer: Any, instance: Any) -> list[int]:
    """The tokens of an instance's continuation."""
    lm = EngineLM(tokenizer, 512, lambda _: [], lambda _: [])
    return lm._encode_pair(*instance.args)[1]
