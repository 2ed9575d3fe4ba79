"""The page as a file: what it says, its policy, its size, several runs in one, bad input."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import time
from pathlib import Path

import pytest
from synthetic import TASKS, make_run

from evalsuite.leaderboard import load_run
from evalsuite.leaderboard.merge import merge_runs
from evalsuite.records import Failure, UserError
from evalsuite.report import build_report
from evalsuite.report.html import render
from evalsuite.report.page import build_page


def test_policy_names_what_is_in_the_page(pair_page: Path) -> None:
    text = pair_page.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    rules = policy[1].replace("&#39;", "'")
    assert rules.startswith("default-src 'none'; style-src 'sha256-")
    for tag in ("style", "script"):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in rules
    assert not re.findall(r"https?://|\son\w+=|\sstyle=|innerHTML", text)


def test_the_same_run_gives_the_same_bytes(pair_run: Path, pair_page: Path, tmp_path: Path) -> None:
    again = build_report([pair_run], tmp_path / "new" / "folder")
    assert again == tmp_path / "new" / "folder" / "report.html"
    assert again.read_bytes() == pair_page.read_bytes()


def test_size_and_time_of_a_large_table(many_run: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    page = build_report([many_run], tmp_path)
    assert time.monotonic() - began < 20  # 1 s by itself; others may want the processor too
    assert page.stat().st_size < 1_500_000


def test_what_failed_is_said(many_run: Path) -> None:
    page = build_page([load_run(many_run)])
    assert page.problems[0] == (
        "Llama-4-Instruct: gsm8k stopped while it was computed: out of memory"
    )
    assert "no result for gsm8k" in page.problems[1]
    (row,) = [row for row in page.models if row.name == "Llama-4-Instruct"]
    assert (row.place, row.overall.text) == ("–", "–")
    assert page.models[-1] == row


def test_all_samples_are_there(pair_run: Path) -> None:
    page = build_page([load_run(pair_run)])
    assert page.samples_shown == 2400
    assert page.samples_note.startswith("All 2,400 samples are here; as files:")
    assert "samples_<task>_<date>.jsonl" in page.samples_note


def test_a_manifest_without_its_optional_parts(pair_run: Path, tmp_path: Path) -> None:
    for manifest in (None, {}, {"schema": 1, "models": [{"name": "demo-large"}], "usage": None}):
        run = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(pair_run, run, ignore=shutil.ignore_patterns("manifest.json"))
        if manifest is not None:
            (run / "manifest.json").write_text(json.dumps(manifest))
        text = build_report([run]).read_text(encoding="utf-8")
        assert "demo-large is first" in text


def test_a_run_without_any_number(tmp_path: Path) -> None:
    failure = Failure("m", "", "load", "no config.json")
    run = make_run(tmp_path, [("m", 0.5)], tasks=(), failures=[failure])
    page = build_page([load_run(run)])
    assert page.verdict == "No model has an overall score."
    assert page.problems == (
        "m could not be loaded: no config.json",
        "m has no result at all, so it has no place in the order.",
    )
    assert "m could not be loaded" in render(page)


def test_several_runs_compare_models_on_shared_items(tmp_path: Path, pair_run: Path) -> None:
    third = make_run(tmp_path / "later", [("demo-huge", 0.95)])
    again = make_run(tmp_path / "again", [("demo-small", 0.52)], items=100)
    runs = [load_run(path) for path in (pair_run, third, again)]
    board, origins = merge_runs(runs)
    names = [model.name for model in board.models]
    assert names == ["demo-huge", "demo-large", *names[2:]]
    assert set(names[2:]) == {"demo-small (pair)", "demo-small (again)"}
    assert board.models[0].rank == (1, 1)
    assert board.models[2].rank == board.models[3].rank == (3, 4)
    assert origins["demo-small (again)"].name == "demo-small"
    single = {model.name: model for model in runs[0].leaderboard.models}
    assert board.models[1].overall == single["demo-large"].overall
    assert board.models[1].tasks == single["demo-large"].tasks
    text = build_report([pair_run, third, again], tmp_path / "all").read_text(encoding="utf-8")
    assert "3 runs" in text
    assert "demo-small (again)" in text


def test_runs_of_different_tasks_leave_gaps(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", [("a", 0.6)], TASKS[:3], 20)
    two = make_run(tmp_path / "two", [("b", 0.8)], TASKS[2:], 20)
    board, _ = merge_runs([load_run(one), load_run(two)])
    assert [model.overall.value for model in board.models] == [None, None]
    by_name = {model.name: model for model in board.models}
    assert by_name["a"].capabilities["qa"].value is not None
    assert by_name["b"].capabilities["commonsense"].value is None
    page = build_page([load_run(one), load_run(two)])
    assert sum("no result for" in problem for problem in page.problems) == 2


def test_bad_input_is_one_line(pair_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name the folder"):
        build_report([])
    with pytest.raises(UserError, match="no such folder"):
        build_report([tmp_path / "gone"])
    with pytest.raises(UserError, match="--output"):
        build_report([pair_run, tmp_path])
    copy = Path(shutil.copytree(pair_run, tmp_path / "copy"))
    (tmp_path / "link").symlink_to(copy)
    for twice in ([copy, copy], [copy, tmp_path / "link"], [copy, copy / ".." / "copy"]):
        with pytest.raises(UserError, match="named twice; name each run once"):
            build_report(twice, tmp_path / "all")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        build_report([pair_run], tmp_path / "file")


def test_another_runs_report_is_not_written_over(pair_run: Path, tmp_path: Path) -> None:
    finished, begun = tmp_path / "finished", tmp_path / "begun"
    shutil.copytree(pair_run, finished)
    (finished / "report.html").write_text("its own")
    begun.mkdir()
    (begun / "manifest.json").write_text("{}")
    for runs in ([pair_run, finished], [pair_run]):
        for output in (finished, begun):
            with pytest.raises(UserError, match=r"is the folder of a run.*--output") as caught:
                build_report(runs, output)
            assert "\n" not in str(caught.value)
    assert (finished / "report.html").read_text() == "its own"
    assert not (begun / "report.html").exists()
    assert build_report([finished], finished).read_text(encoding="utf-8") != "its own"
