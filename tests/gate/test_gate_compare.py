"""Verdicts and exit codes of `evalsuite compare` on runs written by the suite's own writers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from synthetic import TASKS, add_games, make_run

import evalsuite
from evalsuite.cli import main
from evalsuite.gate import GateResult
from evalsuite.records import Failure, UserError


def line(result: GateResult, name: str) -> Any:
    model = result.models[0]
    return next(one for one in (model.mean, *model.lines) if one and one.name == name)


def test_a_run_against_itself_has_no_drop(shared_runs: dict[str, Path]) -> None:
    result = evalsuite.compare(shared_runs["before"], shared_runs["same"], strict=True)
    assert (result.verdict, result.exit_code) == ("no drop beyond the margin", 0)
    assert line(result, "mean over tasks").difference == 0
    assert all(one.changed == (0, 0) for one in result.models[0].lines)


def test_a_worse_model_has_regressed(shared_runs: dict[str, Path], tmp_path: Path) -> None:
    code = main(["compare", *map(str, (shared_runs["before"], shared_runs["worse"])),
                 "--output", str(tmp_path / "out")])  # fmt: skip
    assert code == 1
    said = json.loads((tmp_path / "out" / "gate.json").read_text())
    assert said["verdict"] == "regressed"
    assert said["models"][0]["mean"]["difference"] < -15
    assert {one["verdict"] for one in said["models"][0]["lines"]} == {"regressed"}
    # Turned round it has got better, and nothing alarms.
    back = evalsuite.compare(shared_runs["worse"], shared_runs["before"], strict=True)
    assert back.exit_code == 0


def test_the_numbers_are_those_of_the_paired_items(shared_runs: dict[str, Path]) -> None:
    result = evalsuite.compare(shared_runs["before"], shared_runs["worse"])
    found = line(result, "piqa")
    old, new = (
        np.array([sample["acc"] for sample in evalsuite.load_run(run).samples("llama", "piqa")])
        for run in (shared_runs["before"], shared_runs["worse"])
    )
    assert found.items == 600
    assert found.difference == pytest.approx(100 * (new.mean() - old.mean()))
    assert found.p == pytest.approx(stats.ttest_rel(new, old, alternative="less").pvalue)
    assert found.changed == (int((new > old).sum()), int((new < old).sum()))


def test_too_few_items_are_said_to_be_too_few(small_run: Any) -> None:
    before, after = small_run("before"), small_run("after")
    result = evalsuite.compare(before, after)
    assert (result.verdict, result.exit_code) == ("could not have been seen", 0)
    assert line(result, "mean over tasks").visible_drop > 1
    assert evalsuite.compare(before, after, strict=True).exit_code == 3
    # A margin that these items can speak to.
    assert evalsuite.compare(before, after, margin=20, strict=True).exit_code == 0


def test_between_a_drop_and_none_it_is_not_shown(small_run: Any) -> None:
    def exactly(better: int, worse: int) -> Any:
        """Even documents right, odd ones wrong, but for the first so many of either."""

        def change(model: str, task: str, sample: dict[str, Any]) -> dict[str, Any]:
            half, odd = divmod(sample["doc_id"], 2)
            right = half < better if odd else half >= worse
            return {**sample, "acc": float(right), "acc_norm": float(right)}

        return change

    def run(name: str, better: int, worse: int) -> Path:
        tasks = (TASKS[0],)
        return small_run(name, tasks=tasks, items=5000, change=exactly(better, worse))

    before, after = run("before", 0, 0), run("after", 0, 50)
    assert evalsuite.compare(before, after, margin=0.5).verdict == "regressed"
    # As certain, and certainly smaller than what is tolerated.
    assert evalsuite.compare(before, after, margin=2.5).verdict == "no drop beyond the margin"
    result = evalsuite.compare(before, run("close", 42, 59), margin=0.65, strict=True)
    assert (result.verdict, result.exit_code) == ("not shown", 3)
    assert line(result, "piqa").changed == (42, 59)
    assert line(result, "piqa").visible_drop < 0.65
    assert line(result, "piqa").lower < -0.65


def test_a_critical_task_holds_by_itself(tmp_path: Path) -> None:
    before, after = (make_run(tmp_path / n, [("llama", 0.7)], TASKS, 300) for n in ("a", "b"))
    assert evalsuite.compare(before, after, margin=1).verdict == "no drop beyond the margin"
    result = evalsuite.compare(before, after, margin=0.7, critical=["gsm8k"])
    # The mean over six tasks is sure to 0.7 points, 300 items of one task are not.
    assert line(result, "mean over tasks").verdict == "no drop beyond the margin"
    assert line(result, "gsm8k").critical
    assert result.verdict == "could not have been seen"
    with pytest.raises(UserError, match="--critical gsm9k: the baseline has no such task"):
        evalsuite.compare(before, after, critical=["gsm9k"])


def test_several_runs_of_a_side_are_pooled_item_by_item(small_run: Any, tmp_path: Path) -> None:
    def sampled(seed: int) -> Any:
        rng = np.random.default_rng(seed)

        def change(model: str, task: str, sample: dict[str, Any]) -> dict[str, Any]:
            return {**sample, sample["metrics"][0]: float(rng.random() < 0.6)}

        return change

    runs = [small_run(f"r{i}", tasks=(TASKS[0],), change=sampled(i)) for i in range(4)]
    one = line(evalsuite.compare(runs[0], runs[1]), "piqa")
    result = evalsuite.compare(runs[:2], runs[2:])
    both = line(result, "piqa")
    scores = [[s["acc"] for s in evalsuite.load_run(r).samples("llama", "piqa")] for r in runs]
    assert both.baseline == pytest.approx(100 * np.mean(scores[:2]))
    assert both.run == pytest.approx(100 * np.mean(scores[2:]))
    assert both.stderr < one.stderr
    assert result.runs == (2, 2)
    code = main(["compare", str(runs[0]), str(runs[2]), str(runs[3]), "--more-baselines",
                 str(runs[1]), "--output", str(tmp_path / "out")])  # fmt: skip
    said = json.loads((tmp_path / "out" / "gate.json").read_text())
    assert code == result.exit_code
    assert said["models"][0]["lines"][0]["difference"] == pytest.approx(both.difference)
    with pytest.raises(UserError, match="named twice"):
        evalsuite.compare([runs[0], runs[0]], runs[1])


def test_items_on_one_passage_count_as_a_cluster(small_run: Any) -> None:
    def passages(flip: bool) -> Any:
        def change(model: str, task: str, sample: dict[str, Any]) -> dict[str, Any]:
            group = sample["doc_id"] // 6
            right = float(not (flip and group % 4 == 0))
            doc = {**sample["doc"], "passage": f"Passage {group}"}
            return {**sample, "doc": doc, "acc": right, "acc_norm": right}

        return change

    before = small_run("before", tasks=(TASKS[0],), items=240, change=passages(False))
    after = small_run("after", tasks=(TASKS[0],), items=240, change=passages(True))
    found = line(evalsuite.compare(before, after), "piqa")
    assert (found.items, found.groups, found.test) == (240, 40, "paired t, cluster-robust")
    # Whole passages changed, so there are 40 observations, not 240.
    sums = np.where(np.arange(40) % 4 == 0, -1.0, 0.0)
    assert found.p == pytest.approx(stats.ttest_1samp(sums, 0, alternative="less").pvalue)


def test_lost_items_are_counted_apart_and_are_not_wrong(small_run: Any) -> None:
    def broken(model: str, task: str, sample: dict[str, Any]) -> dict[str, Any]:
        if sample["doc_id"] >= 7 or task != "piqa":
            return sample
        return {**sample, "error": "ZeroDivisionError: division by zero"}

    before, after = small_run("before"), small_run("after", change=broken)
    result = evalsuite.compare(before, after)
    found = line(result, "piqa")
    assert (found.items, found.lost, found.difference) == (53, 7, 0)
    assert result.lost == 7
    assert any("error took" in note and "7" in note for note in result.notes)


def test_a_failed_part_is_4_and_a_regression_is_worse(small_run: Any) -> None:
    failure = Failure("llama", "gsm8k", "infer", "out of memory")
    before = small_run("before")
    half = small_run("half", skip=[("llama", "gsm8k")], failures=[failure])
    result = evalsuite.compare(before, half, strict=True)
    assert result.exit_code == 4
    assert [part for part in result.failed if "gsm8k" in part]
    bad = small_run("bad", models=[("llama", 0.1)], skip=[("llama", "gsm8k")], failures=[failure])
    assert evalsuite.compare(before, bad).exit_code == 1


def test_a_perplexity_is_not_tested_and_says_why(small_run: Any) -> None:
    def primary(path: Path) -> Path:
        board = json.loads((path / "leaderboard.json").read_text())
        board["models"][0]["tasks"]["lambada"]["primary"] = "perplexity"
        (path / "leaderboard.json").write_text(json.dumps(board))
        return path

    tasks = (TASKS[0], TASKS[5])
    before, after = (primary(small_run(name, tasks=tasks)) for name in ("before", "after"))
    board = json.loads((after / "leaderboard.json").read_text())
    board["models"][0]["tasks"]["lambada"]["metrics"]["perplexity"]["value"] = 12.5
    (after / "leaderboard.json").write_text(json.dumps(board))
    found = line(evalsuite.compare(before, after), "lambada")
    assert found.verdict == "could not have been seen"
    assert found.reason == "perplexity is not a mean over items"


def test_two_models_share_the_error_rate_and_are_paired_by_name(small_run: Any) -> None:
    models = [("alpha", 0.7), ("beta", 0.7)]
    before = small_run("before", models=models, items=400)
    after = small_run("after", models=[("beta", 0.3), ("alpha", 0.7)], items=400)
    result = evalsuite.compare(before, after)
    said = {model.name: model.verdict for model in result.models}
    assert said["beta"] == "regressed"
    assert said["alpha"] != "regressed"
    assert result.exit_code == 1


def test_judged_games_are_compared_by_question(tmp_path: Path) -> None:
    pair = [("llama", 0.7), ("other", 0.6)]
    runs = []
    for name in ("before", "after"):
        path = make_run(tmp_path / name, pair, TASKS[:1], 40)
        runs.append(add_games(path, "gpt-4", 40))
    games = [json.loads(text) for text in (runs[1] / "matches.jsonl").read_text().splitlines()]
    for game in games:  # the judge now prefers the other model wherever it prefers one
        if game["verdict"] in ("first", "second"):
            game["winner"] = "other"
            game["verdict"] = "first" if game["first"] == "other" else "second"
    (runs[1] / "matches.jsonl").write_text("".join(json.dumps(game) + "\n" for game in games))
    result = evalsuite.compare(*runs)
    llama = next(model for model in result.models if model.name == "llama")
    judged = next(one for one in llama.lines if one.kind == "judge")
    assert judged.name == "gpt-4"
    assert judged.items <= 40  # questions, not games
    assert judged.run < judged.baseline
    assert judged.verdict == "regressed"
    assert result.exit_code == 1


@pytest.mark.parametrize("margin", [-1.0, 100.0, float("nan")])
def test_a_margin_that_is_none_is_refused(small_run: Any, margin: float) -> None:
    run = small_run("run")
    with pytest.raises(UserError, match="--margin"):
        evalsuite.compare(run, small_run("again"), margin=margin)
