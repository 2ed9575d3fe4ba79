"""Our task files are lm-eval's tasks of the same name; shots, seeds and errors follow its rules."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from evalsuite.harness.catalog import library, list_tasks, resolve
from evalsuite.harness.tasks import load_tasks
from evalsuite.records import UserError

# Families (MMLU, MATH) are compared in test_families.py, code tasks beside their sandbox.
SHARED = [
    spec.name
    for spec in list_tasks()
    if not spec.name.startswith(("starter_", "llama_paper_"))
    and spec.kind == "task"
    and spec.capability != "code"
]


@pytest.mark.parametrize(
    ("names", "shots"), [(SHARED, 2), (["gsm8k", "nq_open", "winogrande", "truthfulqa_mc1"], None)]
)
def test_our_files_equal_lm_evals_library(
    names: list[str], shots: int | None, benchmarks: Path
) -> None:
    """With examples for all; without the option where a task's own number matters."""
    options: dict[str, Any] = {"data_dir": benchmarks, "limit": 20, "num_fewshot": shots}
    mine = load_tasks(resolve(names), **options)
    theirs = load_tasks(resolve([f"lm-eval:{name}" for name in names]), **options)
    assert set(names) <= library().tasks.keys()
    for name in names:
        ours, lm_evals = mine.instances[name], theirs.instances[name]
        assert [(i.request_type, i.arguments, i.repeats, i.doc_id) for i in ours] == [
            (i.request_type, i.arguments, i.repeats, i.doc_id) for i in lm_evals
        ]
        a, b = mine.tasks[name], theirs.tasks[name]
        assert [a.doc_to_target(i.doc) for i in ours] == [b.doc_to_target(i.doc) for i in lm_evals]
        assert a.aggregation() == b.aggregation()
        assert a.higher_is_better() == b.higher_is_better()
        assert [f.name for f in a._filters] == [f.name for f in b._filters]
        assert a.config.filter_list == b.config.filter_list
        assert a.config.metric_list == b.config.metric_list or name == "boolq"
        assert a.config.generation_kwargs == b.config.generation_kwargs
        info, other = mine.infos[name], theirs.infos[name]
        assert (info.version, info.output_type, info.num_fewshot, info.source) == (
            other.version,
            other.output_type,
            other.num_fewshot,
            other.source,
        )
    warned = [w for w in mine.warnings if "sets 0 few-shot examples itself" in w]
    assert len(warned) == (0 if shots is None else 2)  # both forms of truthfulqa


def test_starter_tasks_load_from_their_own_files() -> None:
    task_set = load_tasks(resolve(["starter"]), limit=2)
    assert {info.capability for info in task_set.infos.values()} == {
        "commonsense",
        "qa",
        "math",
        "code",
        "language",
    }
    assert all(info.source.endswith(".jsonl") for info in task_set.infos.values())


def test_a_tag_of_the_library_loads_with_its_tasks(benchmarks: Path) -> None:
    task_set = load_tasks(resolve(["ai2_arc"]), data_dir=benchmarks, limit=3)
    assert set(task_set.tasks) == {"arc_easy", "arc_challenge"}
    assert {info.capability for info in task_set.infos.values()} == {"commonsense"}


def test_the_global_generators_are_left_alone(benchmarks: Path) -> None:
    random.seed(5)
    expected = random.random()
    random.seed(5)
    load_tasks(resolve(["piqa"]), data_dir=benchmarks, limit=1)
    assert random.random() == expected


def test_few_shot_examples_follow_the_seed(benchmarks: Path) -> None:
    def prompts(seed: int) -> list[str]:
        options: dict[str, Any] = {"num_fewshot": 3, "limit": 2, "seed": seed}
        task_set = load_tasks(resolve(["arc_easy"]), data_dir=benchmarks, **options)
        return [instance.arguments[0] for instance in task_set.instances["arc_easy"]]

    assert prompts(1234) == prompts(1234)
    assert prompts(1234) != prompts(1)


def test_a_process_docs_that_shuffles_is_asked_once(tmp_path: Path) -> None:
    """Requests and scores must see the same documents."""
    (tmp_path / "mix.py").write_text(
        "import random\n"
        "def process_docs(split):\n"
        "    return split.map(lambda doc: {'c': random.sample(doc['c'], len(doc['c']))})\n"
    )
    rows = [{"q": f"Item {i}", "c": [str(j) for j in range(20)]} for i in range(3)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = write(tmp_path, "process_docs: !function mix.process_docs\n")
    task_set = load_tasks(resolve([str(path)]))
    task = task_set.tasks["own"]
    asked = [instance.arguments[1].strip() for instance in task_set.instances["own"]]
    assert asked == [choice for doc in task.eval_docs for choice in doc["c"]]
    assert "random.sample" in task.dump_config()["process_docs"]


def write(folder: Path, more: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(
        "task: own\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: c\n"
        f"doc_to_target: 0\nmetric_list: [{{metric: acc}}]\n{more}"
    )
    return path


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("no_such_key: 1\n", "no_such_key"),
        ("doc_to_text: '{{nothing}}'\n", "'nothing' is undefined"),
        ("doc_to_text: '{{q'\n", "own can't be prepared"),
        ("doc_to_text: '{{nothing}}'\n", "doc_to_text, document 0"),
        ("validation_split: dev\n", "no split 'dev'"),
        ("process_docs: !function nowhere.f\n", "nowhere"),
        ("metadata: {primary: f1}\n", "declares the primary metric f1, but has acc"),
        ("unsafe_code: true\n", "own runs the model's code in a way of its own"),
        (
            "num_fewshot: 9\n",
            "own: its few-shot split has 1 example: --num-fewshot must be at most 1",
        ),
        ("metric_list: [{metric: accc}]\n", "The task own: no metric accc; nearest: acc"),
        ("metric_list: [{metric: acc, aggregation: meen}]\n", "no aggregation meen; nearest: mean"),
        ("metric_list: [{metric: qqq}]\n", "no metric qqq; there are acc, "),
        (
            "metric_list: [{metric: mine}]\nprocess_results: !function own.results\n",
            "the metric mine needs a line `aggregation:`",
        ),
        ("process_docs: !function own.docs\n", "own can't be prepared: KeyError: 'absent'"),
        ("doc_to_target: 5\n", "document 0: doc_to_target is 5, but the choices are 2"),
    ],
)
def test_faulty_tasks_are_one_line_that_names_them(more: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"q": "Tom", "c": ["a", "b"]}\n')
    (tmp_path / "own.py").write_text(
        "def results(doc, answers):\n    return {'mine': 1}\n"
        "def docs(split):\n    return split.map(lambda doc: {'q': doc['absent']})\n"
    )
    path = write(tmp_path, more)
    with pytest.raises(UserError) as error:
        load_tasks(resolve([str(path)]))
    assert words in str(error.value)
    assert "own" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_metric_of_the_tasks_own_needs_no_registry(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"q": "Tom", "c": ["a", "b"]}\n')
    (tmp_path / "own.py").write_text(
        "def results(doc, answers):\n    return {'mine': 1}\n"
        "def right(*args):\n    return 1\n"
        "def total(items):\n    return sum(items)\n"
    )
    given = "metric_list: [{metric: mine, aggregation: mean, higher_is_better: true}]\n"
    path = write(tmp_path, f"{given}process_results: !function own.results\n")
    assert load_tasks(resolve([str(path)])).infos["own"].primary == "mine"
    function = (
        "metric_list:\n  - metric: !function own.right\n    aggregation: !function own.total\n"
        "    higher_is_better: true\n"
    )
    path = write(tmp_path, function)
    assert load_tasks(resolve([str(path)])).infos["own"].primary == "right"


def test_no_network_is_asked_for_an_unknown_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lm_eval.api.task

    def never(*_: Any) -> None:
        raise AssertionError("lm-eval would ask the hub")

    monkeypatch.setattr(lm_eval.api.task, "get_metric", never)
    with pytest.raises(UserError, match="no metric accc; nearest: acc"):
        load_tasks(resolve([str(write(tmp_path, "metric_list: [{metric: accc}]\n"))]))


def test_a_metric_that_evaluate_cannot_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"q": "Tom", "c": ["a", "b"]}\n')
    entry = "{metric: zzz, hf_evaluate: true, aggregation: mean, higher_is_better: true}"
    path = write(tmp_path, f"metric_list: [{entry}]\n")
    path.write_text(
        path.read_text()
        .replace("multiple_choice", "generate_until")
        .replace("doc_to_choice: c\n", "")
    )
    with pytest.raises(UserError, match="the metric zzz can't be loaded from the evaluate library"):
        load_tasks(resolve([str(path)]))


def test_no_documents_are_said(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("")
    with pytest.raises(UserError, match="task own can't be prepared: its data holds no documents"):
        load_tasks(resolve([str(write(tmp_path, ""))]))


def test_the_faulty_document_and_field_are_named(tmp_path: Path) -> None:
    good, bad = {"q": "Tom", "c": ["a", "b"], "g": 1, "n": 1}, {"q": "Ann", "c": ["a"], "g": 1}
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"n": 0, **row}) + "\n" for row in (good, good, bad))
    )
    path = write(tmp_path, "doc_to_text: '{{1 // n}}'\n")
    with pytest.raises(UserError, match="doc_to_text, document 2: ZeroDivisionError"):
        load_tasks(resolve([str(path)]))
    path = write(tmp_path, "doc_to_target: g\nnum_fewshot: 3\n")
    with pytest.raises(
        UserError, match="few-shot example of document 0: doc_to_target is 1, but the choices are 1"
    ):
        load_tasks(resolve([str(path)]))


def test_more_examples_than_there_are(tmp_path: Path) -> None:
    rows = [{"q": f"Item {i}", "c": ["a", "b"]} for i in range(4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for more, most in (
        ("", 4),
        ("fewshot_split: test\n", 3),
        ("fewshot_split: test\nfewshot_config: {sampler: first_n}\n", 3),
        ("fewshot_config: {sampler: first_n, samples: [{q: A, c: [a, b]}]}\n", 1),
    ):
        specs = resolve([str(write(tmp_path, more))])
        assert load_tasks(specs, num_fewshot=most).infos["own"].num_fewshot == most
        with pytest.raises(UserError, match=f"--num-fewshot must be at most {most}, not 5000"):
            load_tasks(specs, num_fewshot=5000)
        with pytest.raises(UserError, match=f"at most {most}, not {most + 1}"):
            load_tasks(specs, num_fewshot=most + 1)


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": -1}, {"num_fewshot": -1}])
def test_numbers_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UserError, match="must be"):
        load_tasks(resolve(["piqa"]), **options)  # type: ignore[arg-type]


def test_a_missing_package_is_named(benchmarks: Path) -> None:
    pytest.importorskip("lm_eval")
    try:
        import math_verify  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match="minerva_math_algebra needs what is not installed"):
            load_tasks(resolve(["minerva_math_algebra"]), data_dir=benchmarks)
    else:
        pytest.skip("math_verify is installed here")
