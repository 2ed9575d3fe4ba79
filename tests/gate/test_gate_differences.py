"""Runs that can't be compared are refused, exit 2, with everything that differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic import TASKS, add_games

import evalsuite
from evalsuite.cli import main
from evalsuite.records import Failure

Sample = dict[str, Any]


def edit_prompt(model: str, task: str, sample: Sample) -> Sample:
    if task != "piqa":
        return sample
    first, *rest = sample["arguments"]
    return {**sample, "arguments": [("Think. " + first[0], first[1]), *rest]}


def edit_target(model: str, task: str, sample: Sample) -> Sample:
    return {**sample, "target": "something else"} if task == "piqa" else sample


def edit_decoding(model: str, task: str, sample: Sample) -> Sample:
    if task != "gsm8k":
        return sample
    ((prompt, settings),) = sample["arguments"]
    return {**sample, "arguments": [(prompt, {**settings, "temperature": 0.7})]}


def edit_items(model: str, task: str, sample: Sample) -> Sample:
    other = task == "piqa" and sample["doc_id"] < 5
    return {**sample, "doc_hash": "new" + sample["doc_hash"]} if other else sample


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit_prompt, "piqa: other prompts"),
        (edit_target, "piqa: other targets"),
        (edit_decoding, "gsm8k: other decoding settings"),
        (edit_items, "piqa: other items: 5 only in the baseline, 5 only in the run"),
    ],
)
def test_what_was_asked_differs(
    small_run: Any, change: Callable[..., Sample], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = small_run("before"), small_run("after", change=change)
    result = evalsuite.compare(before, after)
    assert result.differences == (said,)
    assert (result.verdict, result.exit_code) == (None, 2)
    assert main(["compare", str(before), str(after)]) == 2
    assert said in capsys.readouterr().out
    assert json.loads((after / "gate.json").read_text())["differences"] == [said]


def change_manifest(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    change(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_versions_of_metrics_and_of_lm_eval_differ(small_run: Any) -> None:
    before, after = small_run("before"), small_run("after")
    change_manifest(after, lambda m: m["tasks"]["piqa"].update(version="2.0"))
    change_manifest(after, lambda m: m["versions"].update(lm_eval="0.5.0"))
    assert set(evalsuite.compare(before, after).differences) == {
        "piqa: metric version: 1.0 in the baseline, 2.0 in the run",
        "lm-eval: 0.4.13 in the baseline, 0.5.0 in the run",
    }


def test_another_judge_or_its_model_differs(small_run: Any) -> None:
    models = [("llama", 0.7), ("other", 0.5)]
    runs = {}
    for name, judge in (("before", "gpt-4"), ("after", "gpt-5"), ("moved", "gpt-4")):
        runs[name] = add_games(small_run(name, models=models), judge, 8)
        change_manifest(runs[name], lambda m, j=judge: m.update(judging={"judge": j}))
    said = evalsuite.compare(runs["before"], runs["after"]).differences
    assert "judge: gpt-4 in the baseline, gpt-5 in the run" in said
    moved = (runs["moved"] / "matches.jsonl").read_text().replace("gpt-4-0613", "gpt-4-turbo")
    (runs["moved"] / "matches.jsonl").write_text(moved)
    (only,) = evalsuite.compare(runs["before"], runs["moved"]).differences
    assert only == (
        "judge gpt-4: judge's model: gpt-4-0613 in the baseline, gpt-4-turbo in the run"
    )


def test_the_judges_prompts_count_by_their_content(small_run: Any) -> None:
    models = [("llama", 0.7), ("other", 0.5)]
    runs = [add_games(small_run(n, models=models), "gpt-4", 8) for n in ("before", "after")]
    for run, digest in zip(runs, ("a" * 64, "b" * 64), strict=True):
        judges = [{"judge": "gpt-4", "preset": "pair-v2", "prompts_sha256": digest}]
        change_manifest(run, lambda m, its=judges: m.update(judging={"judges": its}))
    assert evalsuite.compare(*runs).differences == (
        "judge gpt-4: judge's prompts: aaaaaaaaaaaa in the baseline, bbbbbbbbbbbb in the run",
    )


def test_a_judge_more_is_no_obstacle_and_one_less_is(small_run: Any) -> None:
    models = [("llama", 0.7), ("other", 0.5)]
    one = add_games(small_run("one", models=models), "gpt-4", 12)
    two = add_games(small_run("two", models=models), "gpt-4", 12)
    games = (two / "matches.jsonl").read_text()
    (two / "matches.jsonl").write_text(games + games.replace('"gpt-4"', '"reference"'))
    result = evalsuite.compare(one, two)
    assert result.differences == ()
    assert "llama: no baseline for judge reference, so not compared." in result.notes
    assert [line.name for line in result.models[0].lines if line.kind == "judge"] == ["gpt-4"]
    assert evalsuite.compare(two, one).differences == (
        "judge: reference in the baseline, gpt-4 in the run",
    )


def test_games_without_an_opponent_that_failed_are_counted_apart(small_run: Any) -> None:
    models = [("llama", 0.7), ("other", 0.5)]
    before = add_games(small_run("before", models=models), "gpt-4", 12)
    failure = Failure("other", "", "load", "boom")
    result = evalsuite.compare(before, small_run("alone", models=models[:1], failures=[failure]))
    assert (result.differences, result.exit_code) == ((), 4)


def test_games_that_were_not_played(small_run: Any) -> None:
    models = [("llama", 0.7), ("other", 0.5)]
    before = add_games(small_run("before", models=models), "gpt-4", 12)
    silent = small_run("silent", models=models)
    said = evalsuite.compare(before, silent).differences
    assert said == ("judge: gpt-4 in the baseline, no games in the run",)
    # Where judging failed, what was judged is compared, and the failure is the exit code.
    failure = Failure("", "", "judge", "gpt-4: 18 games are missing: budget")
    half = small_run("half", models=models, failures=[failure])
    add_games(half, "gpt-4", 12)
    lines = (half / "matches.jsonl").read_text().splitlines(keepends=True)
    (half / "matches.jsonl").write_text("".join(lines[:14]))  # six questions, both orders of each
    result = evalsuite.compare(before, half)
    assert (result.differences, result.exit_code) == ((), 4)
    judged = [one for model in result.models for one in model.lines if one.kind == "judge"]
    assert [0 < one.items <= 6 and one.difference == 0 for one in judged] == [True, True]


def test_an_opponent_with_other_weights_is_no_measure(small_run: Any) -> None:
    models = [("llama", 0.7), ("other", 0.5)]
    before, after = (add_games(small_run(n, models=models), "gpt-4", 8) for n in ("a", "b"))
    change_manifest(after, lambda m: [one.update(weights_sha256="f" * 64) for one in m["models"]])
    result = evalsuite.compare(before, after)
    assert not any(one.kind == "judge" for model in result.models for one in model.lines)
    assert sum("no opponent with the same weights" in note for note in result.notes) == 2


def test_a_task_or_a_model_is_missing_without_having_failed(small_run: Any) -> None:
    models = [("llama", 0.7), ("other", 0.5)]
    before = small_run("before", models=models)
    fewer = small_run("fewer", models=models, tasks=(TASKS[0],))
    assert evalsuite.compare(before, fewer).differences == ("gsm8k: measured in the baseline only",)
    alone = small_run("alone", models=models[:1])
    assert evalsuite.compare(before, alone).differences == (
        "other: a model of the baseline that the run does not have (it has llama; "
        "--models NAME=MODEL gives a model the name it had)",
    )
    # More than the baseline has is no obstacle, and is said.
    more = evalsuite.compare(fewer, before)
    assert more.differences == ()
    assert any("no baseline for gsm8k" in note for note in more.notes)


def not_a_number(model: str, task: str, sample: Sample) -> Sample:
    return {**sample, "acc": float("nan")} if task == "piqa" and sample["doc_id"] < 9 else sample


def test_a_task_that_lost_its_items_without_an_error_is_no_pass(small_run: Any) -> None:
    before = small_run("before")
    broken = small_run("broken", change=not_a_number)
    assert evalsuite.compare(before, broken).differences == (
        "piqa: compared item by item in the baseline, but acc is not finite for every item "
        "in the run",
    )
    bare = small_run("bare")
    for path in bare.glob("*/samples_piqa_*"):
        path.unlink()
    assert evalsuite.compare(before, bare).differences == (
        "piqa: compared item by item in the baseline, but no samples were kept in the run",
    )
    # What the baseline never had is named, and no obstacle.
    back = evalsuite.compare(bare, before)
    assert back.differences == ()
    assert [one.reason for one in back.models[0].lines if one.name == "piqa"] == [
        "no samples were kept"
    ]


def test_single_models_are_compared_whatever_they_are_called(small_run: Any) -> None:
    before = small_run("before", models=[("llama", 0.7)])
    after = small_run("after", models=[("llama-int8", 0.7)])
    result = evalsuite.compare(before, after)
    assert result.differences == ()
    assert "llama-int8 is compared with llama." in result.notes


def test_runs_of_one_side_must_be_of_the_same_thing(small_run: Any, tmp_path: Path) -> None:
    before, other = small_run("before"), small_run("other", change=edit_prompt)
    result = evalsuite.compare([before, other], small_run("after"))
    assert result.exit_code == 2
    assert result.differences == ("piqa: other prompts",)
    assert main(["baseline", str(before), str(other), str(tmp_path / "b.json")]) == 2
    assert not (tmp_path / "b.json").exists()
