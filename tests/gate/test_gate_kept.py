"""items.json: what samples say, said faster, and never against the samples."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalsuite.gate import Side, keep_items, load_side
from evalsuite.gate.kept import FILE
from evalsuite.gate.packing import packed, unpacked
from evalsuite.leaderboard import load_run
from evalsuite.records import UserError


@pytest.fixture
def run(small_run: Any) -> Path:
    """A run of 60 items a task with passages and lost items, its items kept."""

    def change(model: str, task: str, sample: dict[str, Any]) -> dict[str, Any]:
        doc = {**sample["doc"], "passage": f"Passage {sample['doc_id'] // 3}"}
        lost = {"error": "KeyError: 'x'"} if sample["doc_id"] == 4 and task == "piqa" else {}
        return {**sample, "doc": doc, **lost}

    path: Path = small_run("run", change=change)
    keep_items(load_run(path))
    return path


def mean(run: Path, task: str = "piqa") -> float:
    return float(np.nanmean(load_side([run]).models[0].tasks[task].scores))


def kept_as_zero(run: Path) -> None:
    """Says in items.json that every answer was wrong, which the samples do not."""

    def wrong(entry: dict[str, Any]) -> None:
        items = unpacked(entry["items"])
        entry["items"] = packed(dataclasses.replace(items, scores=np.zeros(len(items.keys))))

    edit(run / FILE, lambda content: [wrong(e) for e in content["models"]["llama"].values()])


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def samples(run: Path, task: str = "piqa") -> Path:
    path = load_run(run).samples_file("llama", task)
    assert path is not None
    return path


def assert_equal(one: Side, other: Side) -> None:
    for ours, theirs in zip(one.models, other.models, strict=True):
        assert list(ours.tasks) == list(theirs.tasks)
        assert ours.untested == theirs.untested
        for task, items in ours.tasks.items():
            for field in dataclasses.fields(items):
                left, right = (getattr(its, field.name) for its in (items, theirs.tasks[task]))
                np.testing.assert_array_equal(left, right, err_msg=f"{task} {field.name}")


def test_it_says_what_the_samples_say(run: Path) -> None:
    kept = load_side([run])
    assert kept.models[0].tasks["piqa"].groups is not None
    assert kept.models[0].tasks["piqa"].lost == 1
    first = (run / FILE).read_bytes()
    keep_items(load_run(run))
    assert (run / FILE).read_bytes() == first
    (run / FILE).unlink()
    assert_equal(kept, load_side([run]))


def test_it_is_what_is_read_and_holds_no_text(run: Path) -> None:
    before = mean(run)
    sample = json.loads(samples(run).read_text().splitlines()[0])
    assert sample["doc"]["question"] not in (run / FILE).read_text()
    kept_as_zero(run)
    assert (before > 0.3, mean(run)) == (True, 0)


def test_a_copy_of_the_folder_still_has_it(run: Path, tmp_path: Path) -> None:
    kept_as_zero(run)
    shutil.copytree(run, tmp_path / "copy", copy_function=shutil.copyfile)
    assert mean(tmp_path / "copy") == 0


def edit_a_sample(run: Path) -> None:
    path = samples(run)
    text = path.read_text()
    assert '"acc": 1.0' in text
    path.write_text(text.replace('"acc": 1.0', '"acc": 0.9', 1))  # the same size


def other_metric(run: Path) -> None:
    def change(board: Any) -> None:
        board["models"][0]["tasks"]["piqa"]["primary"] = "acc_norm"

    edit(run / "leaderboard.json", change)


def other_version(run: Path) -> None:
    edit(run / "manifest.json", lambda manifest: manifest["tasks"]["piqa"].update(version="2.0"))


def newer_samples(run: Path) -> None:
    path = samples(run)
    shutil.copyfile(path, path.with_name(path.name.replace("2026", "2027")))


def made_by_another_version(run: Path) -> None:
    edit(run / FILE, lambda content: content.update(evalsuite="0.0.1"))


def another_schema(run: Path) -> None:
    edit(run / FILE, lambda content: content.update(schema=99))


def cut(run: Path) -> None:
    (run / FILE).write_text((run / FILE).read_text()[:-300])


def damaged(run: Path) -> None:
    edit(run / FILE, lambda c: c["models"]["llama"]["piqa"]["items"].update(keys="AAAA"))


def no_object(run: Path) -> None:
    (run / FILE).write_text("[]")


@pytest.mark.parametrize(
    "change",
    [edit_a_sample, other_metric, other_version, newer_samples, made_by_another_version,
     another_schema, cut, damaged, no_object],
)  # fmt: skip
def test_what_no_longer_holds_is_read_from_the_samples(
    run: Path, change: Callable[[Path], None]
) -> None:
    kept_as_zero(run)
    assert mean(run) == 0
    change(run)
    assert mean(run) > 0.3
    left = load_side([run])
    (run / FILE).unlink()
    # The other task's items stay kept where only this one's basis has changed.
    assert left.models[0].tasks["piqa"].asked == load_side([run]).models[0].tasks["piqa"].asked
    assert mean(run) == float(np.nanmean(left.models[0].tasks["piqa"].scores))


def test_only_the_task_that_changed_is_read_again(run: Path) -> None:
    kept_as_zero(run)
    edit_a_sample(run)
    assert (mean(run) > 0.3, mean(run, "gsm8k")) == (True, 0)


def test_samples_that_are_gone_or_damaged_are_told(run: Path) -> None:
    path = samples(run)
    path.write_text(path.read_text() + "{\n")
    with pytest.raises(UserError, match="no sample"):
        load_side([run])
    path.unlink()
    assert load_side([run]).models[0].untested == {"piqa": "no samples were kept"}


def test_why_a_task_is_not_tested_is_kept(run: Path) -> None:
    def perplexity(board: Any) -> None:
        task = board["models"][0]["tasks"]["piqa"]
        task["primary"], task["metrics"]["nll"] = "nll", {**task["metrics"]["acc"], "unit": "nats"}

    edit(run / "leaderboard.json", perplexity)
    keep_items(load_run(run))
    assert json.loads((run / FILE).read_text())["models"]["llama"]["piqa"]["untested"]
    kept = load_side([run])
    (run / FILE).unlink()
    assert kept.models[0].untested == load_side([run]).models[0].untested != {}


def test_a_task_of_several_members_has_all_their_files(small_run: Any) -> None:
    run: Path = small_run("run")
    members = ("piqa", "gsm8k")

    def group(board: Any) -> None:
        tasks = board["models"][0]["tasks"]
        tasks["both"] = {**tasks["piqa"], "primary": "acc"}

    edit(run / "leaderboard.json", group)
    edit(run / "manifest.json", lambda m: m["tasks"].update(both={"members": members}))
    keep_items(load_run(run))
    entry = json.loads((run / FILE).read_text())["models"]["llama"]["both"]
    assert set(entry["files"]) == {samples(run, one).relative_to(run).as_posix() for one in members}
