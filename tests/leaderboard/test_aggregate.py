"""Values by hand: capabilities, overall, intervals, ranks, and what is left out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from evalsuite.leaderboard import aggregate, explain
from evalsuite.records import Failure, MetricResult, TaskInfo, TaskResult
from evalsuite.stats import bootstrap_mean, mean_of_estimates, normal, wilson


def result(
    model: str,
    task: str,
    items: Sequence[float] | None,
    capability: str = "qa",
    *,
    value: float | None = None,
    stderr: float | None = None,
    unit: str = "share",
    higher: bool = True,
    ids: Sequence[str] | None = None,
    metric: str = "acc",
) -> TaskResult:
    info = TaskInfo(task, capability, "1", "multiple_choice", 0, "acc")
    mean = float(np.mean(items)) if items is not None else float(value or 0.0)
    one = MetricResult(metric, mean, stderr, higher, unit, None if items is None else tuple(items))
    n = len(items) if items is not None else 50
    return TaskResult(model, info, (one,), n, tuple(ids or (f"{task}-{i}" for i in range(n))))


def ones(right: int, n: int) -> list[float]:
    return [1.0] * right + [0.0] * (n - right)


def test_capability_and_overall_by_hand() -> None:
    board = aggregate(
        [
            result("m", "piqa", ones(6, 10), "commonsense"),
            result("m", "arc", ones(8, 10), "qa"),
            result("m", "boolq", ones(4, 10), "qa"),
        ],
        [],
        ["m"],
    )
    (model,) = board.models
    assert list(model.capabilities) == ["commonsense", "qa"]
    assert model.capabilities["commonsense"].value == pytest.approx(0.6)
    assert model.capabilities["qa"].value == pytest.approx(0.6)
    assert model.overall.value == pytest.approx(0.6)
    assert model.capabilities["commonsense"].ci == pytest.approx(wilson(6, 10))
    qa = mean_of_estimates([0.8, 0.4], [wilson(8, 10), wilson(4, 10)])
    assert model.capabilities["qa"].ci == pytest.approx(qa)
    assert model.overall.ci == pytest.approx(mean_of_estimates([0.6, 0.6], [wilson(6, 10), qa]))
    assert model.rank == (1, 1)
    assert explain(board, {"piqa": "commonsense", "arc": "qa", "boolq": "qa"}) == ()


def test_which_interval_a_metric_gets() -> None:
    parts = [0.1, 0.5, 0.25, 0.9, 0.3]
    board = aggregate(
        [
            result("m", "binary", ones(3, 4)),
            result("m", "f1", parts),
            result("m", "corpus", None, value=0.4, stderr=0.05),
            result("m", "bare", None, value=0.4),
            result("m", "nan", None, value=math.nan, stderr=0.1),
        ],
        [],
        ["m"],
        seed=3,
    )
    cis = {name: task.metrics["acc"].ci for name, task in board.models[0].tasks.items()}
    assert cis["binary"] == wilson(3, 4)
    assert cis["f1"] == bootstrap_mean(parts, 3, share=True)
    assert cis["corpus"] == normal(0.4, 0.05)
    assert cis["bare"] is None
    assert cis["nan"] is None
    assert board.models[0].tasks["corpus"].metrics["acc"].n == 50


def test_order_and_ranks() -> None:
    items = {"weak": ones(60, 200), "strong": ones(160, 200), "same": ones(158, 200)}
    results = [result(name, "arc", its) for name, its in items.items()]
    board = aggregate(results, [], ["weak", "strong", "same"])
    assert [(m.name, m.rank) for m in board.models] == [
        ("strong", (1, 2)),
        ("same", (1, 2)),
        ("weak", (3, 3)),
    ]
    again = aggregate(results[::-1], [], ["same", "weak", "strong"])
    assert {m.name: m.rank for m in again.models} == {m.name: m.rank for m in board.models}


def test_items_are_paired_by_id_not_by_place() -> None:
    """The same answers in another order, and one item that only one model has."""
    ids = [f"doc{i}" for i in range(100)]
    scores = ones(50, 100)
    better = [1.0] * 60 + [0.0] * 40
    board = aggregate(
        [
            result("a", "arc", scores, ids=ids),
            result("b", "arc", [*better[::-1], 1.0], ids=[*ids[::-1], "extra"]),
        ],
        [],
        ["a", "b"],
    )
    assert [(m.name, m.rank) for m in board.models] == [("b", (1, 1)), ("a", (2, 2))]


def test_a_document_that_stands_twice_in_its_data() -> None:
    ids = ["same", "same", "other"]
    board = aggregate(
        [result("a", "arc", ones(1, 3), ids=ids), result("b", "arc", ones(3, 3), ids=ids)],
        [],
        ["a", "b"],
    )
    assert [m.rank for m in board.models] == [(1, 2), (1, 2)]


def test_without_shared_items_standard_errors_decide() -> None:
    board = aggregate(
        [
            result("a", "arc", ones(90, 100), ids=[f"a{i}" for i in range(100)]),
            result("b", "arc", ones(20, 100), ids=[f"b{i}" for i in range(100)]),
        ],
        [],
        ["a", "b"],
    )
    assert [m.rank for m in board.models] == [(1, 1), (2, 2)]


def test_unknown_spread_means_no_ranks() -> None:
    board = aggregate(
        [result("a", "t", None, value=0.5), result("b", "t", None, value=0.4)], [], ["a", "b"]
    )
    assert [m.rank for m in board.models] == [None, None]
    assert board.models[0].overall.value == 0.5
    assert any("no ranks" in note for note in explain(board, {"t": "qa"}))


def test_a_missing_task_is_null_and_said() -> None:
    failure = Failure("b", "gsm8k", "infer", "out of memory")
    board = aggregate(
        [
            result("a", "arc", ones(5, 10), "qa"),
            result("a", "gsm8k", ones(5, 10), "math"),
            result("b", "arc", ones(9, 10), "qa"),
        ],
        [failure],
        ["b", "a"],
    )
    first, second = board.models
    assert (first.name, first.rank) == ("a", (1, 1))
    assert (second.name, second.rank, second.overall.value) == ("b", None, None)
    assert second.capabilities["math"].value is None
    assert second.capabilities["qa"].value == pytest.approx(0.9)
    assert board.failed == (failure,)
    (note,) = explain(board, {"arc": "qa", "gsm8k": "math"})
    assert "b has no result for gsm8k" in note
    assert "math" in note


def test_a_model_without_results_comes_last_and_is_named() -> None:
    failures = [Failure("b", "", "load", "no weights"), Failure("a", "mbpp", "plan", "no sandbox")]
    board = aggregate([result("a", "arc", ones(5, 10))], failures, ["b", "a"])
    assert [m.name for m in board.models] == ["a", "b"]
    assert board.models[0].rank == (1, 1)
    notes = explain(board, {"arc": "qa"})
    assert any(note.startswith("b has no result at all") for note in notes)
    assert any("No model has a result for mbpp" in note for note in notes)


@pytest.mark.parametrize(
    ("unit", "higher", "words"),
    [("perplexity", False, "in perplexity"), ("share", False, "is better when lower")],
)
def test_what_is_no_share_enters_no_mean(unit: str, higher: bool, words: str) -> None:
    results = [
        result("m", "wikitext", [9.0, 11.0, 10.0], "language", unit=unit, higher=higher),
        result("m", "lambada", ones(5, 10), "language"),
        result("m", "arc", ones(6, 10), "qa"),
    ]
    board = aggregate(results, [], ["m"])
    (model,) = board.models
    assert model.capabilities["language"].value is None
    assert model.overall.value == pytest.approx(0.6)
    assert model.rank == (1, 1)
    (note,) = explain(board, {"wikitext": "language", "lambada": "language", "arc": "qa"})
    assert words in note
    assert "wikitext" in note


def test_a_main_metric_that_was_not_measured() -> None:
    board = aggregate([result("m", "arc", ones(5, 10), metric="acc_norm")], [], ["m"])
    assert board.models[0].capabilities["qa"].value is None
    assert "was not measured" in explain(board, {"arc": "qa"})[0]


def test_nothing_at_all() -> None:
    board = aggregate([], [Failure("m", "", "load", "gone")], ["m"])
    assert board.models[0].overall.value is None
    assert explain(board, {})[0].startswith("m has no result")


def test_refuses_what_contradicts_itself() -> None:
    one = result("m", "arc", ones(1, 2))
    with pytest.raises(ValueError, match="two results"):
        aggregate([one, one], [], ["m"])
    with pytest.raises(ValueError, match="not among"):
        aggregate([one], [], ["other"])
