"""Metrics, samples and prompts equal lm-eval's own hf backend on the same model and rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from evalsuite.harness.catalog import library, resolve
from evalsuite.harness.tasks import load_tasks

LOGPROB = 1e-3


def ours(asked: Any, tokenizer: Any, names: list[str], **options: Any) -> Any:
    from evalsuite.harness.adapter import EngineLM
    from evalsuite.harness.evaluate import evaluate

    task_set = load_tasks(resolve(names), **options)
    lm = EngineLM(tokenizer, asked.max_length, asked.score, asked.generate)
    return evaluate(task_set, lm, model="stories260k")


def assert_equal(
    evaluation: Any,
    theirs: Mapping[str, Any],
    name: str,
    absolute: float = 1e-12,
    relative: float = 0,
) -> None:
    """Metrics and their standard errors, every sample's prompt to the byte, every logprob."""
    mine = evaluation.raw["results"][name]
    want = theirs["results"][name]
    numbers = {key: value for key, value in want.items() if "," in key}
    assert {key: value for key, value in mine.items() if "," in key} == pytest.approx(
        numbers, abs=absolute, rel=relative
    )
    assert mine["sample_len"] == want["sample_len"]
    for field in ("versions", "n-shot", "higher_is_better", "n-samples"):
        assert evaluation.raw[field][name] == theirs[field][name]
    samples = theirs["samples"][name]
    assert len(evaluation.samples[name]) == len(samples)
    for got, expected in zip(evaluation.samples[name], samples, strict=True):
        for field in ("arguments", "doc", "target", "doc_hash", "prompt_hash", "target_hash"):
            assert got[field] == expected[field], field
        for a, b in zip(_flat(got["resps"]), _flat(expected["resps"]), strict=True):
            assert a == (pytest.approx(b, abs=LOGPROB) if isinstance(b, float) else b)


def _flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in _flat(part)]
    return [value]


@pytest.mark.parametrize(
    ("name", "limit", "shots"),
    [
        ("piqa", 40, None),
        ("arc_easy", 40, None),
        ("winogrande", 40, None),
        ("openbookqa", 40, None),
        ("arc_easy", 5, 5),
        ("winogrande", 10, 2),
        ("nq_open", 10, None),
        ("nq_open", 5, 5),
        ("race", 5, None),  # longer than the model's context: truncated on the left
    ],
)
def test_equals_lm_evals_hf_backend(
    name: str,
    limit: int,
    shots: int | None,
    asked: Any,
    tokenizer: Any,
    oracle: Callable,
    benchmarks: Path,
) -> None:
    mine = ours(asked, tokenizer, [name], data_dir=benchmarks, limit=limit, num_fewshot=shots)
    theirs = oracle(library().tasks[name], limit=limit, num_fewshot=shots)
    assert_equal(mine, theirs, name)


def test_lm_evals_own_simple_evaluate_takes_the_adapter(
    asked: Any, tokenizer: Any, tmp_path: Path
) -> None:
    """Without our evaluate there is nothing prefetched, and the answers are the same."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    from evalsuite.harness.adapter import EngineLM

    rows = [{"q": "Once upon a", "c": ["time", "cat"], "g": i} for i in (0, 1)]
    path = write_task(
        tmp_path,
        rows,
        "output_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: c\ndoc_to_target: g\n"
        "metric_list: [{metric: acc}]\n",
    )
    theirs = lm_eval.simple_evaluate(
        model=EngineLM(tokenizer, asked.max_length, asked.score, asked.generate),
        tasks=[str(path)],
        task_manager=TaskManager(include_defaults=False),
    )
    assert_equal(ours(asked, tokenizer, [str(path)]), theirs, "own")


def test_a_metric_of_probabilities_is_as_near_as_they_are(
    asked: Any, tokenizer: Any, oracle: Callable, benchmarks: Path
) -> None:
    """truthfulqa_mc2 is a share of probability, not a count: float32 shows in its last digits."""
    mine = ours(asked, tokenizer, ["truthfulqa_mc2"], data_dir=benchmarks, limit=4)
    theirs = oracle(library().tasks["truthfulqa_mc2"], limit=4)
    assert_equal(mine, theirs, "truthfulqa_mc2", absolute=1e-5)


def test_truncated_requests_are_counted(asked: Any, tokenizer: Any, benchmarks: Path) -> None:
    mine = ours(asked, tokenizer, ["race", "piqa"], data_dir=benchmarks, limit=5)
    too_long = 0
    for sample in mine.samples["race"]:
        lengths = [len(tokenizer.encode(a + b)) for a, b in sample["arguments"]]
        cut = sum(length > asked.max_length + 1 for length in lengths)
        assert sample["truncated"] == cut
        too_long += cut
    assert too_long > 0
    counts = {result.info.name: result.truncated for result in mine.results}
    assert counts == {"race": too_long, "piqa": 0}


def test_rolling_likelihood_equals_hf(
    asked: Any, tokenizer: Any, oracle: Callable, tmp_path: Path
) -> None:
    """Short texts and one of several windows, of a task file of one's own."""
    texts = [
        "Once upon a time there was a little girl called Lily.",
        "The cat sat.\n\nIt was happy.",
        "One day, a big dog ran to the park to play with a red ball. " * 40,
    ]
    path = write_task(
        tmp_path,
        [{"text": text} for text in texts],
        'output_type: loglikelihood_rolling\ndoc_to_text: ""\ndoc_to_target: "{{text}}"\n'
        "metric_list:\n"
        "  [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]\n",
    )
    mine = ours(asked, tokenizer, [str(path)])
    theirs = oracle(path)
    assert len(asked.score_calls[0]) > len(texts)
    for key, value in theirs["results"]["own"].items():
        if isinstance(value, float):
            assert mine.raw["results"]["own"][key] == pytest.approx(value, rel=1e-5)
    for got, want in zip(mine.samples["own"], theirs["samples"]["own"], strict=True):
        assert got["arguments"] == want["arguments"]
        assert _flat(got["resps"]) == pytest.approx(_flat(want["resps"]), rel=1e-5)
    (result,) = mine.results
    assert {metric.name: metric.unit for metric in result.metrics} == {
        "word_perplexity": "perplexity",
        "byte_perplexity": "perplexity",
        "bits_per_byte": "bits_per_byte",
    }
    assert not any(metric.higher_is_better for metric in result.metrics)
    assert all(metric.items is None for metric in result.metrics)
    assert result.info.primary == "word_perplexity"


def test_empty_contexts_equal_hf(
    asked: Any, tokenizer: Any, oracle: Callable, tmp_path: Path
) -> None:
    """acc_mutual_info scores the choices after an empty context as well."""
    rows = [
        {"q": f"{subject} went to the", "c": ["park.", "moon.", "bed."], "gold": i % 3}
        for i, subject in enumerate(["Tom", "Lily", "The dog", "Mom", "A bird", "Ben"])
    ]
    path = write_task(
        tmp_path,
        rows,
        "output_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: c\ndoc_to_target: gold\n"
        "metric_list: [{metric: acc_mutual_info}, {metric: acc}]\n",
    )
    mine = ours(asked, tokenizer, [str(path)])
    assert_equal(mine, oracle(path), "own")
    assert {m.name for m in mine.results[0].metrics} == {"acc_mutual_info", "acc"}
    assert mine.results[0].info.primary == "acc_mutual_info"
    assert all(len(m.items or ()) == len(rows) for m in mine.results[0].metrics)


def test_bootstrapped_errors_equal_lm_evals(
    asked: Any,
    tokenizer: Any,
    oracle: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from evalsuite.harness.evaluate import BOOTSTRAP_ITERS

    rows = [{"q": "Once upon a", "a": word} for word in ("time", "cat", "girl", "big red ball")]
    path = write_task(
        tmp_path,
        rows,
        "output_type: loglikelihood\ndoc_to_text: q\ndoc_to_target: a\n"
        "metric_list: [{metric: perplexity}, {metric: acc}]\n",
    )
    mine = ours(asked, tokenizer, [str(path)])
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    theirs = oracle(path, bootstrap_iters=BOOTSTRAP_ITERS)
    assert_equal(mine, theirs, "own", relative=1e-5)
    perplexity = mine.results[0].metrics[0]
    assert perplexity.items is None
    assert (perplexity.stderr or 0) > 0


def write_task(folder: Path, rows: list[dict[str, Any]], definition: str) -> Path:
    """A task called "own" over rows of its own; absolute data files, which lm-eval needs."""
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    path = folder / "own.yaml"
    path.write_text(
        f"task: own\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {data}}}}}\n"
        f"test_split: test\n{definition}",
        encoding="utf-8",
    )
    return path
