"""The files of a run are lm-eval's: the same lines as its own tracker writes, and `truncated`."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evalsuite.harness.adapter import EngineLM
from evalsuite.harness.catalog import resolve
from evalsuite.harness.evaluate import Evaluation, evaluate, unit_of
from evalsuite.harness.results import write_results
from evalsuite.harness.tasks import load_tasks
from evalsuite.records import UserError

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def evaluation(engine: Any, tokenizer: Any, benchmarks: Path) -> Evaluation:
    from asked import Asked

    asked = Asked(engine)
    task_set = load_tasks(resolve(["piqa", "nq_open"]), data_dir=benchmarks, limit=3)
    lm = EngineLM(tokenizer, asked.max_length, asked.score, asked.generate)
    return evaluate(task_set, lm, model="org/model")


def test_files_equal_lm_evals_tracker(evaluation: Evaluation, tmp_path: Path) -> None:
    from lm_eval.loggers import EvaluationTracker

    folder = write_results(tmp_path / "ours", "org/model", evaluation, created=CREATED)
    assert folder == tmp_path / "ours" / "org__model"
    assert sorted(path.name for path in folder.iterdir()) == [
        "results_2026-01-02T03-04-05.000000.json",
        "samples_nq_open_2026-01-02T03-04-05.000000.jsonl",
        "samples_piqa_2026-01-02T03-04-05.000000.jsonl",
    ]
    tracker = EvaluationTracker(output_path=str(tmp_path / "theirs"))
    tracker.general_config_tracker.log_experiment_args(
        "evalsuite", "pretrained=org/model", None, None, False
    )
    samples: Any = copy.deepcopy(evaluation.samples)
    tracker.save_results_aggregated(results=copy.deepcopy(dict(evaluation.raw)), samples=samples)
    for name in samples:
        tracker.save_results_samples(task_name=name, samples=samples[name])
    their_folder = tmp_path / "theirs" / "org__model"
    for name in samples:
        (theirs,) = their_folder.glob(f"samples_{name}_*.jsonl")
        (mine,) = folder.glob(f"samples_{name}_*.jsonl")
        assert mine.read_bytes() == theirs.read_bytes()
        assert all("truncated" in json.loads(line) for line in mine.read_text().splitlines())
    (path,) = folder.glob("results_*.json")
    (theirs,) = their_folder.glob("results_*.json")
    mine_results, their_results = json.loads(path.read_text()), json.loads(theirs.read_text())
    assert their_results.keys() <= mine_results.keys()
    for field in ("results", "configs", "versions", "n-shot", "n-samples", "task_hashes"):
        assert mine_results[field] == their_results[field]


def test_results_carry_items_and_stable_names(evaluation: Evaluation) -> None:
    for result in evaluation.results:
        samples = evaluation.samples[result.info.name]
        assert result.n == len(samples) == 3
        assert [s["doc_hash"][:16] for s in samples] == list(result.item_ids)
        for metric in result.metrics:
            assert metric.unit == "share"
            assert metric.items == tuple(s[metric.name.partition(",")[0]] for s in samples)
            assert metric.value == pytest.approx(sum(metric.items or ()) / 3)
        assert result.info.primary in {metric.name for metric in result.metrics}


def test_repeated_documents_get_names_of_their_own(
    engine: Any, tokenizer: Any, tmp_path: Path
) -> None:
    from asked import Asked

    row = {"q": "Tom went to the", "c": ["park.", "moon."], "g": 0}
    (tmp_path / "rows.jsonl").write_text((json.dumps(row) + "\n") * 3)
    path = tmp_path / "own.yaml"
    path.write_text(
        "task: own\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: c\n"
        "doc_to_target: g\nmetric_list: [{metric: acc}]\n"
    )
    asked = Asked(engine)
    lm = EngineLM(tokenizer, asked.max_length, asked.score, asked.generate)
    (result,) = evaluate(load_tasks(resolve([str(path)])), lm, model="m").results
    first, second, third = result.item_ids
    assert (second, third) == (f"{first}-1", f"{first}-2")


@pytest.mark.parametrize(
    ("metric", "items", "unit"),
    [
        ("acc_norm", (0.0, 1.0), "share"),
        ("word_perplexity", None, "perplexity"),
        ("bits_per_byte", None, "bits_per_byte"),
        ("rouge1", (0.2, 0.9), "share"),
        ("length", (3.0, 12.0), "length"),
        ("bleu", (0.2, 0.3), "bleu"),
    ],
)
def test_units(metric: str, items: tuple[float, ...] | None, unit: str) -> None:
    assert unit_of(metric, items) == unit


def test_a_folder_that_cannot_be_written_is_an_error(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        write_results(tmp_path / "file", "m", evaluation, created=CREATED)
