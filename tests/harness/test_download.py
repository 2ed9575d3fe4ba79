"""A data folder filled over the hub's protocol, and used without a connection afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_hub import DataHub, data_hub

from evalsuite.cli import main
from evalsuite.harness.catalog import resolve
from evalsuite.harness.tasks import load_tasks
from evalsuite.records import UserError

README = """---
configs:
- config_name: main
  data_files:
  - split: test
    path: main/test-*
  - split: train
    path: [main/train-00000.parquet]
- config_name: other
  data_files: other/*
---
# A data set
"""
TASK = """
dataset_path: {path}
{name}
test_split: test
training_split: train
output_type: multiple_choice
doc_to_text: q
doc_to_choice: [a, b]
doc_to_target: g
metric_list: [{{metric: acc}}]
"""


def rows(folder: Path, *names: str) -> None:
    import datasets

    folder.mkdir(parents=True, exist_ok=True)
    data = datasets.Dataset.from_dict({"q": ["one?", "two?", "three?"], "g": [0, 1, 0]})
    for name in names:
        data.to_parquet(folder / name)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[DataHub]:
    root = tmp_path / "hub"
    rows(root / "org/cards/main", "test-00000.parquet", "train-00000.parquet")
    rows(root / "org/cards/other", "test.parquet")
    (root / "org/cards/README.md").write_text(README)
    (root / "org/cards/cards.py").write_text("raise SystemExit")
    for name in ("plain", "mine"):
        rows(root / "org" / name / "data", "test-00000.parquet", "train-00000.parquet")
    with data_hub(root) as hub:
        yield hub


def write(folder: Path, name: str, path: str, configuration: str = "") -> str:
    file = folder / f"{name}.yaml"
    file.write_text(f"task: {name}\n" + TASK.format(path=path, name=configuration))
    return str(file)


# The command, in a process in which the hub's client tries again without its half a minute's wait.
# (A process, because the client reads its settings once, when it is imported.)
IMPATIENT = """
import sys, time
time.sleep = lambda seconds: None
from evalsuite.cli import main
sys.exit(main(sys.argv[1:]))
"""


def fetch(hub: DataHub, folder: Path, *tasks: str) -> subprocess.CompletedProcess[str]:
    hub.sent.clear()
    return subprocess.run(
        [sys.executable, "-c", IMPATIENT, "tasks", "--download", *tasks, "--data-dir", folder],
        env={**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_folder_is_filled_gone_on_with_and_read(hub: DataHub, tmp_path: Path) -> None:
    cards = write(tmp_path, "cards", "org/cards", "dataset_name: main")
    plain = write(tmp_path, "plain", "org/plain")
    gone = write(tmp_path, "gone", "org/gone")
    mine = write(tmp_path, "mine", "org/mine")
    folder = tmp_path / "data"
    own = folder / "org__mine" / "README.md"  # put there by hand
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    hub.broken.add("org/plain")
    first = fetch(hub, folder, cards, plain, gone, mine)
    assert first.returncode == 4, first.stderr
    lines = first.stdout.splitlines()
    assert lines[0] == f"org/cards: {folder}/org__cards"
    assert lines[1].startswith("org/plain: failed: ")
    assert lines[2].startswith("org/gone: failed: the hub answers 404")
    assert lines[3] == f"org/mine: {own.parent} was there already and is left as it is"
    assert (own.read_text(), list(own.parent.iterdir())) == ("mine", [own])
    assert sorted(hub.sent) == [  # no code, and no configuration that no task reads
        "org/cards/README.md",
        "org/cards/main/test-00000.parquet",
        "org/cards/main/train-00000.parquet",
    ]
    hub.broken.clear()
    second = fetch(hub, folder, cards, plain, mine)
    assert (second.returncode, len(second.stdout.splitlines())) == (0, 3), second.stdout
    # Nothing is fetched twice, nor over what was put there by hand.
    assert [name for name in hub.sent if "cards" in name or "mine" in name] == []
    task_set = load_tasks(resolve([cards, plain]), data_dir=folder, num_fewshot=1)
    assert {name: len(its) for name, its in task_set.instances.items()} == {"cards": 6, "plain": 6}


def test_a_missing_set_comes_with_the_command_that_gets_it(tmp_path: Path) -> None:
    task = write(tmp_path, "cards", "org/cards")
    with pytest.raises(UserError) as error:
        load_tasks(resolve([task]), data_dir=tmp_path)
    first, second = str(error.value).splitlines()
    assert "org/cards" in first
    assert f"evalsuite tasks --download cards --data-dir {tmp_path}" in second


def test_what_core_reads_from_the_hub() -> None:
    from evalsuite.harness.download import data_sets

    wanted = data_sets(resolve(["core"]))
    assert len(wanted["cais/mmlu"]) == 57
    assert len(wanted["EleutherAI/hendrycks_math"]) == 7
    assert wanted["allenai/ai2_arc"] == {"ARC-Easy", "ARC-Challenge"}
    assert wanted["Rowan/hellaswag"] == {None}


def test_nothing_to_fetch_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "--download", "starter", "--data-dir", str(tmp_path / "x")]) == 2
    assert "nothing to download" in capsys.readouterr().err
