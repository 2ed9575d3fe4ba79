"""Names of suites and tasks, and what a person reads when a name or a file is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evalsuite.harness import catalog
from evalsuite.harness.catalog import describe, library, list_suites, list_tasks, resolve
from evalsuite.records import UserError


def test_every_task_of_ours_is_complete_and_described() -> None:
    specs = list_tasks()
    assert len(specs) >= 14
    for spec in specs:
        assert spec.capability in catalog.CAPABILITIES
        assert spec.description
        assert spec.path is not None
        config = catalog.read_yaml(spec.path)
        assert {"version", "capability"} <= config["metadata"].keys()
        assert not any("include" in definition for definition in catalog.leaves(config))


def test_suites_expand_each_task_once() -> None:
    core = next(suite for suite in list_suites() if suite.name == "core")
    names = [spec.name for spec in resolve(["piqa", "core", "piqa"])]
    assert names[0] == "piqa"
    assert sorted(names) == sorted(core.tasks)
    assert "core" in describe()


def test_listing_imports_neither_lm_eval_nor_datasets() -> None:
    code = (
        "import sys, evalsuite.harness.catalog as c; c.describe(); c.resolve(['core'])\n"
        "print([m for m in ('lm_eval', 'datasets', 'torch', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("hellaswagg", "hellaswag"),
        ("arc_esay", "arc_easy"),
        ("cor", "core"),
        ("lm-eval:piqq", "lm-eval:piqa"),
    ],
)
def test_unknown_names_come_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UserError) as error:
        resolve([name])
    lines = str(error.value).splitlines()
    assert len(lines) <= 2
    assert f"There is no task or suite {name!r}." in lines[0]
    assert near in lines[-1].replace(".", ",").replace(",", " ").split()


def test_no_name_is_an_error() -> None:
    with pytest.raises(UserError, match="No task to evaluate"):
        resolve([])


@pytest.mark.parametrize("name", ["", "  ", "lm-eval:"])
def test_an_empty_name_is_an_error(name: str) -> None:
    with pytest.raises(UserError, match="An empty task name"):
        resolve([name])


def test_the_library_by_name_by_prefix_and_by_group() -> None:
    (arc_de,) = resolve(["arc_de"])
    assert (arc_de.origin, arc_de.kind) == ("library", "task")
    (piqa,) = resolve(["lm-eval:piqa"])
    assert piqa.path == library().tasks["piqa"]
    assert resolve(["piqa"])[0].origin == "evalsuite"
    assert [(spec.origin, spec.kind) for spec in resolve(["lm-eval:mmlu", "ai2_arc"])] == [
        ("library", "collection")
    ] * 2
    assert resolve(["mmlu"])[0].origin == "evalsuite"


def test_the_fast_scan_finds_what_lm_evals_own_index_finds() -> None:
    from evalsuite.harness.tasks import _library_manager

    manager = _library_manager()  # lm-eval's own; 7 s, so one for all tests
    found = library()
    assert set(manager.all_subtasks) <= found.tasks.keys()
    assert {*manager.all_groups, *manager.all_tags} - found.tasks.keys() <= found.collections
    for name in manager.all_subtasks:
        path = manager.task_index[name].yaml_path
        assert path is None or path == found.tasks[name], name


def test_one_name_from_two_places_is_refused() -> None:
    with pytest.raises(UserError, match="Two tasks called piqa"):
        resolve(["piqa", "lm-eval:piqa"])


def test_a_path_to_one_of_our_files_is_our_task() -> None:
    (piqa,) = resolve(["piqa"])
    assert resolve([str(piqa.path)]) == [piqa]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task: [unclosed\nmore: 1\n", "not valid YAML"),
        ("- just\n- a list\n", "not a task"),
        ("dataset_path: json\n", "a line `task: NAME` is missing"),
    ],
)
def test_bad_yaml_is_one_line_that_names_the_file(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words) as error:
        resolve([str(path)])
    assert str(path) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no task file"):
        resolve([str(tmp_path / "nothing.yaml")])


def test_faults_in_suites_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "qa"
    folder.mkdir()
    (folder / "one.yaml").write_text("# A task.\ntask: one\n", encoding="utf-8")
    (tmp_path / "suites.yaml").write_text("mine:\n  tasks: [one, two]\n", encoding="utf-8")
    with pytest.raises(UserError, match="suite mine: there is no task two"):
        list_suites(tmp_path)
    (tmp_path / "suites.yaml").write_text("mine:\n  tasks: [qa/*.yaml]\n", encoding="utf-8")
    assert list_suites(tmp_path)[0].tasks == ("one",)
    (spec,) = list_tasks(tmp_path)
    assert (spec.capability, spec.description) == ("qa", "A task")
