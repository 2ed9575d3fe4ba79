"""The paper's values stand beside the measured ones they belong to, and nowhere else."""

from __future__ import annotations

from evalsuite.leaderboard.forms import from_json, to_json
from evalsuite.leaderboard.paper import paper_values, with_paper
from evalsuite.records import Estimate, Leaderboard, MetricScore, ModelScore, TaskScore

NONE = Estimate(None, None)


def board(name: str = "mine", **values: tuple[str, float]) -> Leaderboard:
    tasks = {
        task: TaskScore(
            metric,
            {metric: MetricScore(value, (value - 0.02, value + 0.02), 100, 0.01, "share", True)},
            0,
            0,
        )
        for task, (metric, value) in values.items()
    }
    return Leaderboard((ModelScore(name, None, NONE, {}, tasks),))


def test_difference_and_interval() -> None:
    measured = board(piqa=("acc_norm", 0.791), hellaswag=("acc_norm", 0.70), race=("acc", 0.4))
    shots = {"piqa": 0, "hellaswag": 0, "race": 0}
    got = with_paper(measured, {"mine": "llama-7b"}, shots).models[0].tasks
    piqa, hellaswag = got["piqa"].paper, got["hellaswag"].paper
    assert piqa is not None
    assert hellaswag is not None
    assert (round(piqa.value, 6), round(piqa.difference, 6), piqa.inside) == (0.798, -0.007, True)
    assert (round(hellaswag.value, 6), round(hellaswag.difference, 6), hellaswag.inside) == (
        0.761,
        -0.061,
        False,
    )
    assert "table 3" in piqa.source
    assert got["race"].paper is None  # not what the paper measured


def test_other_models_shots_and_metrics_have_none() -> None:
    measured = board(piqa=("acc_norm", 0.8))
    for model, shots in (("vicuna-7b", 0), ("llama-7b", 5), ("", 0)):
        same = with_paper(measured, {"mine": model}, {"piqa": shots})
        assert same.models[0].tasks["piqa"].paper is None
    other = with_paper(board(piqa=("acc", 0.8)), {"mine": "llama-7b"}, {"piqa": 0})
    assert other.models[0].tasks["piqa"].paper is None


def test_30b_is_the_papers_33b_and_json_keeps_it() -> None:
    got = with_paper(board(mmlu=("acc", 0.5)), {"mine": "llama-30b"}, {"mmlu": 5})
    paper = got.models[0].tasks["mmlu"].paper
    assert paper is not None
    assert round(paper.value, 6) == 0.578
    assert from_json(to_json(got)) == got
    assert "paper" not in to_json(board(mmlu=("acc", 0.5)))["models"][0]["tasks"]["mmlu"]


def test_the_table_is_whole() -> None:
    from evalsuite.harness.catalog import list_suites

    assert set(paper_values()) == {"llama-7b", "llama-13b", "llama-33b", "llama-65b"}
    (suite,) = [suite for suite in list_suites() if suite.name == "llama-paper"]
    known = {task for task, _ in paper_values()["llama-65b"]}
    assert set(suite.tasks) <= known
    assert {task for task in known - set(suite.tasks) if "humaneval" not in task} <= {
        "llama_paper_mbpp",
        "llama_paper_mbpp_t08",
    }
