"""Families: one line for many of lm-eval's tasks, with lm-eval's prompts and numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from asked import Asked

from evalsuite.harness.adapter import EngineLM
from evalsuite.harness.catalog import list_suites, resolve
from evalsuite.harness.evaluate import Evaluation, evaluate
from evalsuite.harness.planning import token_plan
from evalsuite.harness.remote import ServerLM
from evalsuite.harness.task_set import TaskSet
from evalsuite.harness.tasks import load_tasks
from evalsuite.records import NoReply, TextReply, TextRequest, UserError


def run(task_set: TaskSet, asked: Asked, tokenizer: Any) -> Evaluation:
    lm = EngineLM(tokenizer, asked.max_length, asked.score, asked.generate)
    return evaluate(task_set, lm, model="stories260k")


@pytest.mark.parametrize(("name", "members"), [("mmlu", 57), ("minerva_math", 7)])
def test_our_families_are_lm_evals_groups(name: str, members: int, benchmarks: Path) -> None:
    options: dict[str, Any] = {"data_dir": benchmarks, "limit": 2}
    shots = 5 if name == "mmlu" else None
    mine = load_tasks(resolve([name]), num_fewshot=shots, **options)
    theirs = load_tasks(resolve([f"lm-eval:{name}"]), num_fewshot=shots, **options)
    assert set(mine.tasks) == set(theirs.tasks)
    assert len(mine.tasks) == members
    for task in mine.tasks:
        ours, lm_evals = mine.instances[task], theirs.instances[task]
        assert [i.arguments for i in ours] == [i.arguments for i in lm_evals]
        a, b = mine.tasks[task], theirs.tasks[task]
        assert (a.VERSION, a.config.metric_list) == (b.VERSION, b.config.metric_list)
        assert a.config.task_alias == b.config.task_alias
    groups = {n: (g.version, g.aggregate_metric_list) for n, g in mine.groups.items()}
    assert groups == {n: (g.version, g.aggregate_metric_list) for n, g in theirs.groups.items()}
    (ours_info,), (their_info,) = mine.infos.values(), theirs.infos.values()
    assert ours_info.members == their_info.members
    assert ours_info.capability == their_info.capability != "other"
    assert ours_info.num_fewshot == their_info.num_fewshot > 0


def test_a_family_is_one_result_equal_to_lm_evals(
    asked: Any, tokenizer: Any, benchmarks: Path
) -> None:
    task_set = load_tasks(resolve(["mmlu"]), data_dir=benchmarks, limit=2)
    evaluation = run(task_set, asked, tokenizer)
    (result,) = evaluation.results
    (metric,) = result.metrics
    group = evaluation.raw["groups"]["mmlu"]
    assert metric.value == pytest.approx(group["acc,none"], abs=1e-12)
    assert metric.stderr == group["acc_stderr,none"]
    assert (result.n, len(metric.items or ()), len(result.item_ids)) == (114, 114, 114)
    assert metric.value == pytest.approx(sum(metric.items or ()) / 114)
    assert set(evaluation.samples) == set(result.info.members)


def test_quick_draws_the_same_documents_in_any_order(benchmarks: Path) -> None:
    (quick,) = [suite for suite in list_suites() if suite.name == "quick"]
    assert quick.documents == 200
    specs = [spec for spec in quick.specs if spec.name in ("mmlu", "piqa", "openbookqa")]
    drawn = load_tasks(specs, data_dir=benchmarks)
    again = load_tasks(specs[::-1], data_dir=benchmarks)
    assert drawn.drawn is not None
    assert drawn.drawn == again.drawn
    count = {name: len(drawn.drawn[name]) for name in ("piqa", "openbookqa")}
    assert count == {"piqa": 200, "openbookqa": 200}
    members = [n for n in drawn.drawn if n.startswith("mmlu_")]
    assert sum(len(drawn.drawn[n]) for n in members) == 200
    assert list(drawn.drawn["piqa"]) != list(range(200))
    piqa = [spec for spec in specs if spec.name == "piqa"]
    fewer = load_tasks(piqa, data_dir=benchmarks, limit=50)
    assert set((fewer.drawn or {})["piqa"]) < set(drawn.drawn["piqa"])
    assert "9 where both" in drawn.warnings[0]
    assert "14 points" in drawn.warnings[0]


def test_drawn_documents_keep_their_numbers_and_prompts(
    asked: Any, tokenizer: Any, benchmarks: Path
) -> None:
    (quick,) = [suite for suite in list_suites() if suite.name == "quick"]
    specs = [spec for spec in quick.specs if spec.name in ("race", "mmlu")]
    task_set = load_tasks(specs, data_dir=benchmarks, limit=12)
    whole = load_tasks(resolve(["race"]), data_dir=benchmarks)
    evaluation = run(task_set, asked, tokenizer)
    assert [result.n for result in evaluation.results] == [12, 12]
    prompts = {i.doc_id: i.args[0] for i in whole.instances["race"]}
    for sample in evaluation.samples["race"]:
        assert sample["arguments"][0][0] == prompts[sample["doc_id"]]
        lengths = [len(tokenizer.encode(a + b)) for a, b in sample["arguments"]]
        assert sample["truncated"] == sum(n > asked.max_length + 1 for n in lengths)


def test_two_settings_of_one_task_are_refused() -> None:
    with pytest.raises(UserError, match=r"shots 5.*shots of its own"):
        resolve(["core", "mmlu"])


# ---- what fails is a line of its own -------------------------------------------------------------


def test_a_task_too_long_for_the_context_does_not_stop_others(
    asked: Any, tokenizer: Any, benchmarks: Path
) -> None:
    task_set = load_tasks(resolve(["piqa", "mmlu"]), data_dir=benchmarks, limit=3)
    lm = EngineLM(tokenizer, 20, asked.score, asked.generate)
    evaluation = evaluate(task_set, lm, model="m")
    assert [result.info.name for result in evaluation.results] == ["mmlu"]
    (failure,) = evaluation.failures
    assert (failure.model, failure.task, failure.stage) == ("m", "piqa", "plan")
    assert "--max-length" in failure.error


def test_a_family_with_a_member_that_is_too_long_is_not_asked(
    asked: Any, tokenizer: Any, benchmarks: Path
) -> None:
    task_set = load_tasks(resolve(["piqa", "mmlu"]), data_dir=benchmarks, limit=2)
    member = task_set.infos["mmlu"].members[3]
    (long, *rest) = task_set.fresh()[member]
    long.arguments = (long.args[0], " a" * 600)
    changed = {**task_set.instances, member: (long, *rest)}
    task_set = dataclasses.replace(task_set, instances=changed)
    planned = token_plan(task_set, tokenizer, asked.max_length)
    evaluation = run(task_set, asked, tokenizer)
    assert asked.score_calls == [planned.score]
    assert len(planned.score) == len(task_set.instances["piqa"])
    assert [result.info.name for result in evaluation.results] == ["piqa"]
    (failure,) = evaluation.failures
    assert (failure.task, failure.stage) == ("mmlu", "plan")
    assert member in failure.error


@pytest.mark.parametrize("whole", [False, True])
def test_a_family_goes_on_without_what_a_server_left_unanswered(
    whole: bool, benchmarks: Path
) -> None:
    (quick,) = [suite for suite in list_suites() if suite.name == "quick"]
    specs = [spec for spec in quick.specs if spec.name in ("piqa", "mmlu")]
    task_set = load_tasks(specs, data_dir=benchmarks, limit=80)
    mine = {n: i for n, i in task_set.instances.items() if n.startswith("mmlu_")}
    member = next(name for name, items in mine.items() if items[-1].doc_id >= 1)
    lost = {i.args[0].rstrip() for i in mine[member] if whole or i.doc_id == 1}
    piqa = task_set.instances["piqa"][0].args[0].rstrip()

    def ask(requests: Sequence[TextRequest]) -> list[TextReply | NoReply]:
        return [
            NoReply("gone")
            if request.prompt in {piqa, *lost}
            else TextReply(logprob=-float(len(request.prompt) % 7), is_greedy=False)
            for request in requests
        ]

    evaluation = evaluate(task_set, ServerLM(ask), model="far")
    results = {result.info.name: result for result in evaluation.results}
    assert (results["piqa"].n, results["piqa"].errors) == (79, 1)
    mmlu = results["mmlu"]
    assert (mmlu.n, mmlu.errors) == (80 - len(lost), len(lost))
    (metric,) = mmlu.metrics
    assert metric.value == pytest.approx(sum(metric.items or ()) / mmlu.n)
    assert (member in evaluation.samples) != whole
    samples = [s for name in mine for s in evaluation.samples.get(name, ())]
    assert [s["acc"] for s in samples] == list(metric.items or ())
    drawn = task_set.drawn or {}
    told = {(name, s["doc_id"]) for name in mine for s in evaluation.samples.get(name, ())}
    wanted = {(name, number) for name in mine for number in drawn[name]}
    assert told < wanted
    if not whole:
        assert wanted - told == {(member, drawn[member][1])}


class Broken:
    """A scorer that can't take some documents."""

    def __init__(self, task: Any, bad: Sequence[str]) -> None:
        self.score, self.bad = task.process_results, bad

    def __call__(self, doc: Any, results: Any) -> Any:
        if doc["goal"] in self.bad:
            raise ZeroDivisionError("no such answer")
        return self.score(doc, results)


@pytest.mark.parametrize("lost", [1, 4])
def test_an_item_that_its_scorer_refuses_is_no_wrong_answer(
    lost: int, asked: Any, tokenizer: Any, benchmarks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_set = load_tasks(resolve(["piqa", "arc_easy"]), data_dir=benchmarks, limit=4)
    plain = run(task_set, asked, tokenizer)
    task = task_set.tasks["piqa"]
    bad = [sample["doc"]["goal"] for sample in plain.samples["piqa"]][:lost]
    # The class, since an evaluation puts its own function over the task's.
    monkeypatch.setattr(type(task), "process_results", _by_task(task, Broken(task, bad)))
    broken = run(task_set, asked, tokenizer)
    errors = [s.get("error") for s in broken.samples["piqa"]]
    assert [e is not None for e in errors] == [True] * lost + [False] * (4 - lost)
    assert errors[0] == "ZeroDivisionError: no such answer"
    results = {result.info.name: result for result in broken.results}
    assert results["arc_easy"] == plain.results[1]
    if lost == 4:
        assert "piqa" not in results
        assert broken.failures[0].stage == "score"
        return
    assert (results["piqa"].errors, results["piqa"].n) == (1, 3)
    for before, after in zip(plain.results[0].metrics, results["piqa"].metrics, strict=True):
        assert after.items == (before.items or ())[1:]
        assert after.value == pytest.approx(sum(after.items or ()) / 3)
    assert results["piqa"].item_ids == plain.results[0].item_ids[1:]


def _by_task(task: Any, broken: Broken) -> Any:
    plain = type(task).process_results
    return lambda self, doc, results: (
        broken(doc, results) if self is task else plain(self, doc, results)
    )
