"""Documents from local copies: both layouts, declared features, clear errors, never the network."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evalsuite.harness import datasets as data
from evalsuite.harness.catalog import resolve
from evalsuite.harness.tasks import load_tasks
from evalsuite.records import UserError


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*address: Any) -> None:
        raise AssertionError(f"reached for the network: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def load(folder: Path, path: str, name: str | None = None) -> Any:
    import datasets

    return data.load(path, name, data.Source(data_dir=folder), datasets.load_dataset, {})


def test_every_copy_reads_as_datasets_reads_it(benchmarks: Path, tmp_path: Path) -> None:
    """Rows and features, for two configurations at most of every data set at hand."""
    import datasets

    for folder in sorted(path for path in benchmarks.iterdir() if path.is_dir()):
        path = folder.name.replace("__", "/", 1)
        for config in sorted(path.name for path in folder.iterdir() if path.is_dir())[:2]:
            mine = load(benchmarks, path, config)
            theirs = datasets.load_dataset(str(folder), config, cache_dir=str(tmp_path))
            assert mine.keys() == theirs.keys()
            for split in theirs:
                assert mine[split].features == theirs[split].features, (path, config, split)
                assert mine[split][:] == theirs[split][:], (path, config, split)


def test_declared_features_hold_where_values_say_nothing(benchmarks: Path) -> None:
    """MBPP's challenge_test_list is empty in these rows: text by its header, null by its values."""
    rows = load(benchmarks, "google-research-datasets/mbpp", "full")["prompt"]
    assert rows.features["challenge_test_list"].feature.dtype == "string"
    file = benchmarks / "google-research-datasets__mbpp" / "full" / "prompt.jsonl"
    undeclared = data.build([file], None)
    assert undeclared.features["challenge_test_list"].feature.dtype == "null"


def test_a_hub_snapshot_serves_as_well(benchmarks: Path, tmp_path: Path) -> None:
    (tmp_path / "baber").mkdir()
    (tmp_path / "baber" / "piqa").symlink_to(benchmarks / "baber__piqa")
    assert load(tmp_path, "baber/piqa")["validation"].num_rows == 1838


def test_a_snapshot_of_parquet_files_serves_as_well(benchmarks: Path, tmp_path: Path) -> None:
    rows = load(benchmarks, "baber/piqa")
    folder = tmp_path / "baber" / "piqa" / "data"
    folder.mkdir(parents=True)
    for split in rows:
        rows[split].to_parquet(str(folder / f"{split}-00000-of-00001.parquet"))
    again = load(tmp_path, "baber/piqa")
    assert again["validation"][:] == rows["validation"][:]
    task_set = load_tasks(resolve(["piqa"]), data_dir=tmp_path, limit=2)
    assert len(task_set.instances["piqa"]) == 4
    assert task_set.tasks["piqa"].config.dataset_path == "baber/piqa"
    assert task_set.infos["piqa"].source == "baber/piqa"


def test_a_missing_set_is_named_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        load_tasks(resolve(["piqa"]), data_dir=tmp_path)
    first, second = str(error.value).splitlines()
    assert "baber/piqa" in first
    assert str(tmp_path / "baber__piqa") in first
    assert "--data-dir" in second


def test_a_missing_folder_configuration_split_or_file_is_named(
    benchmarks: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load_tasks(resolve(["piqa"]), data_dir=tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no configuration nothing; it has ARC-Easy, ARC-Chall"):
        load(benchmarks, "allenai/ai2_arc", "nothing")
    with pytest.raises(UserError, match="no split 'train'"):
        load_tasks(resolve(["hendrycks_math_geometry"]), data_dir=benchmarks)
    copy = tmp_path / "baber__piqa"
    copy.mkdir()
    (copy / "README.md").write_text((benchmarks / "baber__piqa" / "README.md").read_text())
    with pytest.raises(UserError, match=r"not complete: .*validation\.jsonl is missing"):
        load(tmp_path, "baber/piqa")


def test_faults_in_json_are_named_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": 1}\n\n{"a": }\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"rows\.jsonl, line 3: not valid JSON"):
        data.build([file], None)
    file.write_text('{"a": 1}\n{"a": [1]}\n', encoding="utf-8")
    with pytest.raises(UserError, match="mixed types"):
        data.build([file], None)
    file.write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(UserError, match="one JSON object a line"):
        data.build([file], None)


def test_only_line_feeds_end_a_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    text = "one\u2028two\x85three"
    file.write_text(json.dumps({"a": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert data.build([file], None)[0] == {"a": text}


def test_a_task_finds_the_files_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.json").write_text('[{"q": "Tom", "c": ["a", "b"], "g": 1}]')
    path = tmp_path / "own.yaml"
    path.write_text(
        "task: own\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.json}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: q\ndoc_to_choice: c\n"
        "doc_to_target: g\nmetric_list: [{metric: acc}]\n"
    )
    monkeypatch.chdir("/")
    assert load_tasks(resolve([str(path)])).infos["own"].source == "rows.json"
    (tmp_path / "rows.json").unlink()
    with pytest.raises(UserError, match=r"data file .*rows\.json is missing"):
        load_tasks(resolve([str(path)]))
    # What datasets itself reads, for it is no .json, and can't.
    path.write_text(path.read_text().replace("rows.json", "own.yaml"))
    with pytest.raises(UserError, match=r"data set json can't be read: "):
        load_tasks(resolve([str(path)]))


def test_the_wrapper_is_gone_afterwards(benchmarks: Path) -> None:
    import datasets

    before = datasets.load_dataset
    load_tasks(resolve(["piqa"]), data_dir=benchmarks, limit=1)
    assert datasets.load_dataset is before


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "0", **environment},
        timeout=120,
    )


def test_without_a_connection_the_error_comes_soon_and_names_the_set(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from evalsuite.harness.catalog import resolve\n"
        "from evalsuite.harness.tasks import load_tasks\n"
        "from evalsuite.records import UserError\n"
        "import lm_eval.tasks\n"
        "began = time.monotonic()\n"
        "try: load_tasks(resolve(['piqa']))\n"
        "except UserError as error: print(error)\n"
        "print(time.monotonic() - began)\n"
    )
    done = run(code, HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path))
    first, second, seconds = done.stdout.splitlines()
    assert "baber/piqa" in first
    assert "--data-dir" in second
    assert float(seconds) < 10
    assert "Retry" not in done.stderr


def test_an_unwritable_home_does_not_matter(benchmarks: Path) -> None:
    code = (
        "from evalsuite.harness.catalog import resolve\n"
        "from evalsuite.harness.tasks import load_tasks\n"
        f"folder = {str(benchmarks)!r}\n"
        "tasks = load_tasks(resolve(['hellaswag', 'arc_easy']), data_dir=folder, limit=3)\n"
        "print(sum(map(len, tasks.instances.values())))\n"
    )
    began = time.monotonic()
    done = run(code, HF_HOME="/dev/null/nothing", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.stdout.strip() == "24", done.stderr
    assert done.stderr == ""
    assert time.monotonic() - began < 60
