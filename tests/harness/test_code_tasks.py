"""Code tasks: lm-eval's prompts, texts and arithmetic, with the programs run in the sandbox."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalsuite.harness import code_eval
from evalsuite.harness.adapter import EngineLM
from evalsuite.harness.catalog import library, resolve
from evalsuite.harness.evaluate import Evaluation, evaluate
from evalsuite.harness.task_set import TaskSet
from evalsuite.harness.tasks import CodePolicy, load_tasks
from evalsuite.records import GenerateResponse, UserError
from evalsuite.sandbox import Case, Outcome, Protection, Sandbox
from evalsuite.stats import pass_at_k

CONTEXT = 8192


class Programs:
    """The sandbox without a store, with a record of what it was given."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.protection = sandbox.protection
        self.ran: list[Case] = []
        self._sandbox = sandbox

    def run(self, cases: Sequence[Case]) -> list[Outcome]:
        self.ran += cases
        return list(self._sandbox.run_many(cases))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        if not sandbox.protection.contained:
            pytest.skip(f"no sandbox: {'; '.join(sandbox.protection.reasons)}")
        yield sandbox


@pytest.fixture
def programs(sandbox: Sandbox) -> Programs:
    return Programs(sandbox)


def answered(
    task_set: TaskSet, tokenizer: Any, programs: Any, answer: Callable[[Any, int], str]
) -> Evaluation:
    """An evaluation whose model gives `answer(document, repeat)`: no model knows all answers."""
    texts = [
        answer(instance.doc, repeat)
        for items in task_set.instances.values()
        for instance in items
        for repeat in range(instance.repeats)
    ]

    def generate(requests: Sequence[Any]) -> list[GenerateResponse]:
        assert len(requests) == len(texts)
        return [GenerateResponse(text, (), "stop") for text in texts]

    lm = EngineLM(tokenizer, CONTEXT, lambda requests: [], generate)
    return evaluate(task_set, lm, model="knows", programs=programs)


# ---- lm-eval's tasks -----------------------------------------------------------------------------


def named(value: Any) -> Any:
    """A definition with its functions by their names."""
    if isinstance(value, dict):
        return {key: named(part) for key, part in value.items()}
    if isinstance(value, list):
        return [named(part) for part in value]
    return f"{value.__module__}.{value.__name__}" if callable(value) else value


@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_our_files_equal_lm_evals_library(name: str, benchmarks: Path) -> None:
    mine = load_tasks(resolve([name]), data_dir=benchmarks, limit=20)
    theirs = load_tasks(resolve([f"lm-eval:{name}"]), data_dir=benchmarks, limit=20)
    ours, lm_evals = mine.instances[name], theirs.instances[name]
    assert [(i.arguments, i.repeats, i.doc_id) for i in ours] == [
        (i.arguments, i.repeats, i.doc_id) for i in lm_evals
    ]
    a, b = mine.tasks[name], theirs.tasks[name]
    assert [a.doc_to_target(i.doc) for i in ours] == [b.doc_to_target(i.doc) for i in lm_evals]
    assert a.aggregation() == b.aggregation()
    assert a._metric_fn_kwargs == b._metric_fn_kwargs
    # lm-eval imports a module of its library once more when a file of its own names it.
    assert named(a.config.filter_list) == named(b.config.filter_list)
    assert a.config.generation_kwargs == b.config.generation_kwargs
    assert mine.infos[name].version == theirs.infos[name].version
    assert mine.code == {name}


def test_a_tasks_worked_examples_are_the_data_sets_own(benchmarks: Path) -> None:
    """Those that lm-eval's library carries are rows 2 to 4 of MBPP, character for character."""
    task = load_tasks(resolve(["mbpp"]), data_dir=benchmarks, limit=1).tasks["mbpp"]
    path = benchmarks / "google-research-datasets__mbpp" / "full" / "prompt.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()][1:4]
    shown = task.config.fewshot_config.samples()
    for field in ("task_id", "text", "code", "test_list"):
        assert [example[field] for example in shown] == [row[field] for row in rows]


@pytest.mark.parametrize("name", ["humaneval", "mbpp"])
def test_prompts_and_texts_equal_lm_evals_hf_backend(
    name: str, model_folder: Path, tokenizer: Any, benchmarks: Path, programs: Programs
) -> None:
    import torch
    from asked import Asked
    from lm_eval.evaluator import evaluate as lm_evaluate
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM

    from evalsuite.engine.llama.engine import LlamaEngine

    some = load_tasks(resolve([f"lm-eval:{name}"]), data_dir=benchmarks, limit=5)
    for instance in some.instances[name]:  # long answers are slow, and no more of a comparison
        instance.arguments[1]["max_gen_toks"] = 48
    engine = LlamaEngine.load(
        model_folder, tokenizer, dtype="float32", device="cpu", max_length=CONTEXT
    )
    asked = Asked(engine)
    lm = EngineLM(tokenizer, CONTEXT, asked.score, asked.generate)
    mine = evaluate(some, lm, model="stories260k", programs=programs)

    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    hf = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, device="cpu", max_length=CONTEXT)
    passed = {case.candidate: False for case in programs.ran}
    task = some.tasks[name]
    task._instances = some.fresh()[name]
    task.build_all_requests = lambda **_: None
    with code_eval.judging(lambda case: passed[case.candidate]):
        theirs = lm_evaluate(
            hf, {"tasks": {name: task}}, limit=5, confirm_run_unsafe_code=True, bootstrap_iters=0
        )
    for got, want in zip(mine.samples[name], theirs["samples"][name], strict=True):
        for field in ("arguments", "resps", "filtered_resps", "prompt_hash", "target_hash"):
            assert got[field] == want[field], field
        assert got["metrics"] == want["metrics"]
    numbers = {key: value for key, value in theirs["results"][name].items() if "," in key}
    for key, value in numbers.items():
        if "stderr" not in key:
            assert mine.raw["results"][name][key] == value


def test_nothing_of_evaluate_is_needed_or_imported(benchmarks: Path) -> None:
    """Its import takes seconds, and its code_eval comes from the network and runs programs bare."""
    before = sys.modules.get("evaluate")
    task_set = load_tasks(resolve(["humaneval", "mbpp"]), data_dir=benchmarks, limit=1)
    assert sys.modules.get("evaluate") is before
    assert task_set.code == {"humaneval", "mbpp"}
    with pytest.raises(RuntimeError, match="no programs are judged"):
        code_eval.CODE_EVAL.compute(predictions=[["x = 1"]], references=["assert x"], k=[1])


def test_a_metric_that_was_loaded_elsewhere_is_replaced(benchmarks: Path) -> None:
    """A module that already holds the library's own metric would run programs in this process."""

    class TheirMetric:
        name = "code_eval"

        def compute(self, **_: Any) -> Any:
            raise AssertionError("programs are run bare")

    load_tasks(resolve(["humaneval"]), data_dir=benchmarks, limit=1)
    utils = sys.modules["lm_eval.tasks.humaneval.utils"]
    utils.compute_ = TheirMetric()  # type: ignore[attr-defined]
    task_set = load_tasks(resolve(["humaneval"]), data_dir=benchmarks, limit=1)
    assert task_set.code == {"humaneval"}
    assert utils.compute_ is code_eval.CODE_EVAL  # type: ignore[attr-defined]


def test_humaneval_instruct_is_contained_too(
    benchmarks: Path, tokenizer: Any, programs: Programs
) -> None:
    """A task of the library that we have no file for, with an extractor of its own."""
    task_set = load_tasks(resolve(["humaneval_instruct"]), data_dir=benchmarks, limit=4)
    fenced = answered(
        task_set,
        tokenizer,
        programs,
        lambda doc, _: doc["canonical_solution"] + "\n```\nThat's it.",
    )
    assert fenced.results[0].metrics[0].value == 1.0
    assert len(programs.ran) == 4


# ---- gold answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "column", "every"),
    [("humaneval", "canonical_solution", 20), ("mbpp", "code", 50)],
)
def test_gold_answers_are_right_and_broken_ones_wrong(
    name: str, column: str, every: int, benchmarks: Path, tokenizer: Any, programs: Programs
) -> None:
    """Every so many rows; the tests of the sandbox run them all."""
    whole = load_tasks(resolve([name]), data_dir=benchmarks)
    special = {"HumanEval/32", "HumanEval/38", "HumanEval/50", 367}
    kept = [
        i
        for n, i in enumerate(whole.instances[name])
        if n % every == 0 or i.doc["task_id"] in special
    ]
    assert {i.doc["task_id"] for i in kept} & special

    def text(instance: Any) -> str:
        gold: str = instance.doc[column]
        return f"{instance.doc['prompt']}{gold}" if name == "humaneval" else gold

    from evalsuite.harness.code import _case

    task = whole.tasks[name]
    right = [_case(Case(text(i), task.doc_to_target(i.doc)), i.doc) for i in kept]
    broken = [
        _case(Case(f"{text(i)}\nraise ValueError", task.doc_to_target(i.doc)), i.doc) for i in kept
    ]
    assert {o.status for o in programs.run(right)} == {"passed"}
    assert {o.status for o in programs.run(broken)} == {"failed"}


# ---- samples, pass@k, votes ----------------------------------------------------------------------


def write_code_task(folder: Path, more: str = "", name: str = "own_code") -> Path:
    rows = [
        {"prompt": f"def f{n}(x):\n", "want": f"assert f{n}(2) == {n}", "n": n} for n in range(3)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / f"{name}.yaml"
    path.write_text(
        f"task: {name}\ndataset_path: json\ndataset_kwargs:\n  data_files: {{test: rows.jsonl}}\n"
        "test_split: test\nunsafe_code: true\noutput_type: generate_until\n"
        "doc_to_text: '{{prompt}}'\ndoc_to_target: '{{want}}'\n"
        "generation_kwargs: {until: ['\\ndef'], max_gen_toks: 8, do_sample: true, "
        "temperature: 0.8}\nrepeats: 5\n"
        "metric_list:\n  - metric: !function lm_eval.tasks.humaneval.utils.pass_at_k\n"
        "    aggregation: mean\n    higher_is_better: true\n    k: [1, 2, 5, 9]\n"
        "filter_list:\n  - name: programs\n    filter:\n      - function: custom\n"
        "        filter_fn: !function lm_eval.tasks.humaneval.utils.build_predictions\n"
        "metadata: {version: 1, primary: 'pass@2,programs'}\n" + more
    )
    return path


def test_pass_at_several_k_from_one_set_of_samples(
    tmp_path: Path, tokenizer: Any, programs: Programs
) -> None:
    task_set = load_tasks(resolve([str(write_code_task(tmp_path))]))

    def answer(doc: Any, repeat: int) -> str:  # document n: n of its five samples are right
        return f"    return {doc['n'] if repeat < doc['n'] else -1}"

    its = answered(task_set, tokenizer, programs, answer)
    metrics = {metric.name: metric for metric in its.results[0].metrics}
    assert set(metrics) == {"pass@1,programs", "pass@2,programs", "pass@5,programs"}  # 9 > 5
    assert its.results[0].info.primary == "pass@2,programs"
    for k in (1, 2, 5):
        want = [pass_at_k(5, right, k) for right in range(3)]
        assert metrics[f"pass@{k},programs"].items == pytest.approx(want)
        assert metrics[f"pass@{k},programs"].value == pytest.approx(sum(want) / 3)
    assert len(programs.ran) == len(set(programs.ran)) == 5  # equal programs are run once
    sample = its.samples["own_code"][2]
    assert [p["status"] for p in sample["programs"]] == ["passed"] * 2 + ["failed"] * 3
    assert "AssertionError" in sample["programs"][4]["detail"]
    assert len(sample["resps"][0]) == len(set(sample["seeds"][0])) == 5
    assert sample["code_execution"] == programs.protection.mode


def test_more_samples_extend_those_that_are_there(
    tmp_path: Path, tokenizer: Any, asked: Any, programs: Programs
) -> None:
    def texts(n: int) -> list[Any]:
        path = write_code_task(tmp_path)
        path.write_text(path.read_text().replace("repeats: 5", f"repeats: {n}"))
        lm = EngineLM(tokenizer, asked.max_length, asked.score, asked.generate)
        its = evaluate(load_tasks(resolve([str(path)])), lm, model="m", programs=programs)
        return [(s["resps"][0], s["seeds"][0]) for s in its.samples["own_code"]]

    few, again, many = texts(3), texts(3), texts(8)
    assert few == again
    first, last = asked.generate_calls[0], asked.generate_calls[2]
    assert set(first) <= set(last)  # the store answers these by their key
    assert len(set(last)) == 24
    for (a, seeds), (b, more) in zip(few, many, strict=True):
        assert (a, seeds) == (b[:3], more[:3])
    assert any(len(set(b)) > 1 for b, _ in many)


def test_majority_votes_over_the_first_k_samples(tmp_path: Path, tokenizer: Any) -> None:
    path = write_code_task(tmp_path, name="votes")
    text = path.read_text().replace("unsafe_code: true\n", "")
    filters = "".join(
        f"  - name: maj@{k}\n    filter:\n      - {{function: take_first_k, k: {k}}}\n"
        "      - {function: majority_vote}\n      - {function: take_first}\n"
        for k in (1, 3, 5)
    )
    text = text[: text.index("metric_list:")] + (
        f"metric_list: [{{metric: exact_match}}]\nfilter_list:\n{filters}"
    )
    path.write_text(text.replace("'{{want}}'", "'yes'"))
    said = ["no", "yes", "yes", "no", "no"]
    task_set = load_tasks(resolve([str(path)]))
    assert not task_set.code
    its = answered(task_set, tokenizer, None, lambda doc, repeat: said[repeat])
    values = {metric.name: metric.value for metric in its.results[0].metrics}
    assert values == {
        "exact_match,maj@1": 0.0,
        "exact_match,maj@3": 1.0,
        "exact_match,maj@5": 0.0,
    }
    assert its.samples["votes"][0]["resps"] == [said]


# ---- what can't be run ---------------------------------------------------------------------------


class Broken:
    """A machine on which some programs can't be run: those that match `words`."""

    protection = Protection("landlock+seccomp")

    def __init__(self, words: str) -> None:
        self._words = words

    def run(self, cases: Sequence[Case]) -> list[Outcome]:
        return [
            Outcome("infra_error", "no space left", 0.0)
            if self._words in case.candidate
            else Outcome("passed", "", 0.1)
            for case in cases
        ]


def test_a_program_that_could_not_be_run_is_not_wrong(tmp_path: Path, tokenizer: Any) -> None:
    task_set = load_tasks(resolve([str(write_code_task(tmp_path))]))
    its = answered(task_set, tokenizer, Broken("def f1"), lambda doc, repeat: "    pass")
    result = its.results[0]
    assert (result.n, result.errors) == (2, 1)
    assert {metric.value for metric in result.metrics} == {1.0}
    assert len(result.item_ids) == 2
    lost = its.samples["own_code"][1]
    assert {p["status"] for p in lost["programs"]} == {"infra_error"}
    assert lost["error"] == "NoVerdictError: a program could not be run: no space left"
    assert "pass@1" not in lost
    assert its.raw["results"]["own_code"]["pass@1,programs"] == 1.0


def test_no_program_run_at_all_is_a_failed_task(tmp_path: Path, tokenizer: Any) -> None:
    task_set = load_tasks(resolve([str(write_code_task(tmp_path))]))
    its = answered(task_set, tokenizer, Broken("def"), lambda doc, repeat: "    pass")
    assert its.results == ()
    assert [(f.task, f.stage) for f in its.failures] == [("own_code", "score")]
    assert "no space left" in its.failures[0].error


def test_without_a_sandbox_tasks_that_run_code_are_skipped(
    tmp_path: Path, benchmarks: Path
) -> None:
    policy = CodePolicy(lambda: "no sandbox works here")
    path = str(write_code_task(tmp_path))
    task_set = load_tasks(resolve(["piqa", path]), data_dir=benchmarks, limit=1, code=policy)
    assert set(task_set.tasks) == {"piqa"}
    assert task_set.skipped[0].task == "own_code"
    assert task_set.skipped[0].error == "own_code is skipped: no sandbox works here"
    with pytest.raises(UserError, match="own_code is skipped") as error:
        load_tasks(resolve([path]), code=policy)
    assert error.value.exit_code == 4


def test_code_that_no_sandbox_can_hold_is_not_run_unless_asked(tmp_path: Path) -> None:
    """A task may run programs itself, as the library's cruxeval does."""
    path = write_code_task(tmp_path)
    text = path.read_text()
    where = text.index("metric_list:"), text.index("filter_list:")
    path.write_text(
        text[: where[0]]
        + "metric_list: [{metric: exact_match}]\n"
        + text[where[1] :].replace("primary: 'pass@2,programs'", "capability: code")
    )
    with pytest.raises(UserError, match="in a way of its own") as error:
        load_tasks(resolve([str(path)]))
    assert error.value.exit_code == 4
    assert load_tasks(resolve([str(path)]), code=CodePolicy(bare=True)).code == {"own_code"}
    assert "cruxeval" in "".join(library().tasks)


def test_answers_longer_than_the_context_get_what_is_left_of_it(
    tokenizer: Any, asked: Any, benchmarks: Path, programs: Programs
) -> None:
    """HumanEval asks for 1,024 tokens, this model has 512; lm-eval asserts that it fits."""
    task_set = load_tasks(resolve(["humaneval"]), data_dir=benchmarks, limit=2)
    assert asked.max_length == 512
    lm = EngineLM(tokenizer, asked.max_length, asked.score, asked.generate)
    result = evaluate(task_set, lm, model="short", programs=programs).results[0]
    assert (result.n, result.errors, result.truncated) == (2, 0, 2)
