"""A run's files: the JSON contract, the CSV in a spreadsheet, equal bytes, bad input."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evalsuite.leaderboard import (
    load_run,
    read_leaderboard,
    write_leaderboard,
    write_samples,
)
from evalsuite.records import (
    Estimate,
    Failure,
    Leaderboard,
    MetricScore,
    ModelScore,
    TaskScore,
    UserError,
)

ACC = MetricScore(0.6, (0.31, 0.83), 10, 0.16, "share", True)
PPL = MetricScore(12.5, None, 10, None, "perplexity", False)
MODEL = ModelScore(
    "demo",
    (1, 2),
    Estimate(0.6, (0.31, 0.83)),
    {"qa": Estimate(0.6, (0.31, 0.83)), "language": Estimate(None, None)},
    {"arc": TaskScore("acc", {"acc": ACC}, 3, 1), "wiki": TaskScore("ppl", {"ppl": PPL}, 0, 0)},
)
BOARD = Leaderboard(
    (MODEL, ModelScore("broken", None, Estimate(None, None), {}, {})),
    (Failure("broken", "", "load", "no weights"),),
    times={"seconds": 1.5},
)


def test_leaderboard_json_is_the_contract(tmp_path: Path) -> None:
    write_leaderboard(tmp_path / "run", BOARD)
    data = json.loads((tmp_path / "run" / "leaderboard.json").read_text())
    interval = [0.31, 0.83]
    acc = {
        "value": 0.6,
        "ci": interval,
        "n": 10,
        "stderr": 0.16,
        "unit": "share",
        "higher_is_better": True,
    }
    ppl = {
        "value": 12.5,
        "ci": None,
        "n": 10,
        "stderr": None,
        "unit": "perplexity",
        "higher_is_better": False,
    }
    whole = {"value": 0.6, "ci": interval}
    nothing = {"value": None, "ci": None}
    assert data == {
        "schema": 1,
        "models": [
            {
                "name": "demo",
                "rank": [1, 2],
                "overall": whole,
                "capabilities": {"qa": whole, "language": nothing},
                "tasks": {
                    "arc": {"primary": "acc", "metrics": {"acc": acc}, "truncated": 3, "errors": 1},
                    "wiki": {
                        "primary": "ppl",
                        "metrics": {"ppl": ppl},
                        "truncated": 0,
                        "errors": 0,
                    },
                },
                "judges": {},
            },
            {
                "name": "broken",
                "rank": None,
                "overall": nothing,
                "capabilities": {},
                "tasks": {},
                "judges": {},
            },
        ],
        "pairs": [],
        "judge_audit": {},
        "failed": [{"model": "broken", "task": "", "stage": "load", "error": "no weights"}],
        "run": {"times": {"seconds": 1.5}},
    }


def test_there_and_back_and_the_same_bytes(tmp_path: Path) -> None:
    write_leaderboard(tmp_path, BOARD)
    first = (
        (tmp_path / "leaderboard.json").read_bytes(),
        (tmp_path / "leaderboard.csv").read_bytes(),
    )
    assert read_leaderboard(tmp_path) == BOARD
    write_leaderboard(tmp_path, read_leaderboard(tmp_path))
    again = (
        (tmp_path / "leaderboard.json").read_bytes(),
        (tmp_path / "leaderboard.csv").read_bytes(),
    )
    assert first == again
    assert {path.name for path in tmp_path.iterdir()} == {"leaderboard.json", "leaderboard.csv"}


def test_numbers_that_json_has_not_are_null(tmp_path: Path) -> None:
    task = TaskScore("ppl", {"ppl": replace(PPL, value=math.inf)}, 0, 0)
    write_leaderboard(tmp_path, Leaderboard((replace(MODEL, tasks={"wiki": task}),)))
    assert "Infinity" not in (tmp_path / "leaderboard.json").read_text()
    assert math.isnan(read_leaderboard(tmp_path).models[0].tasks["wiki"].metrics["ppl"].value)


def test_csv_holds_numbers_as_numbers_and_names_as_text(tmp_path: Path) -> None:
    names = ["=cmd|' /C calc'!A0", "+1", "-2", "@sum", 'plain, "quoted"']
    task = TaskScore("acc", {"acc": replace(ACC, value=-0.5)}, 0, 0)
    models = tuple(replace(MODEL, name=name, tasks={"=T()": task}) for name in names)
    write_leaderboard(tmp_path, Leaderboard(models))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "leaderboard.csv").read_text())))
    assert not [r for r in rows if r["model"][0] in "=+-@" or r["name"][0] in "=+-@"]
    assert rows[0]["model"] == "'=cmd|' /C calc'!A0"
    assert {r["model"] for r in rows} >= {'plain, "quoted"'}
    tasks = [r for r in rows if r["level"] == "task"]
    assert {r["value"] for r in tasks} == {"-0.5"}
    assert {(r["n"], r["ci_low"], r["primary"]) for r in tasks} == {("10", "0.31", "True")}
    overall = next(r for r in rows if r["level"] == "overall")
    assert (overall["rank_low"], overall["rank_high"], overall["value"]) == ("1", "2", "0.6")
    empty = next(r for r in rows if r["name"] == "language")
    assert (empty["value"], empty["ci_low"]) == ("", "")


def test_samples_in_lm_evals_form(tmp_path: Path) -> None:
    write_leaderboard(tmp_path, BOARD)
    sample = {
        "doc_id": 0,
        "doc": {"question": "</script>\u2028?", "n": np.int64(3)},
        "target": 1,
        "arguments": [("Q: a", " b"), ("Q: a", " c")],
        "resps": [[(-1.5, False)], [(-0.5, True)]],
        "filtered_resps": [(-1.5, False), (-0.5, True)],
        "acc": 1.0,
        "truncated": 0,
    }
    write_samples(tmp_path, "demo", "arc", "2026-11-22T10-00-00", [{"doc_id": 9}])
    path = write_samples(tmp_path, "demo", "arc", "2026-11-23T10-00-00", [sample, sample])
    assert path.name == "samples_arc_2026-11-23T10-00-00.jsonl"
    run = load_run(tmp_path)
    lines = list(run.samples("demo", "arc"))
    assert len(lines) == 2
    assert lines[0]["arguments"]["gen_args_1"] == {"arg_0": "Q: a", "arg_1": " c"}
    assert lines[0]["resps"] == [[["-1.5", "False"]], [["-0.5", "True"]]]
    assert (lines[0]["target"], lines[0]["doc"]["n"], lines[0]["acc"]) == ("1", 3, 1.0)
    assert list(run.samples("demo", "none")) == []
    path.write_text('{"doc_id": 0}\n{"doc_')
    with pytest.raises(UserError, match="line 2"):
        list(run.samples("demo", "arc"))


def test_a_models_folder_is_the_manifests(tmp_path: Path) -> None:
    write_leaderboard(tmp_path, BOARD)
    manifest = {"models": [{"name": "org/model", "folder": "mine"}]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    write_samples(tmp_path, "mine", "a/b", "2026-11-23T10-00-00.5", [{"doc_id": 1}])
    run = load_run(tmp_path)
    assert run.manifest == manifest
    assert [sample["doc_id"] for sample in run.samples("org/model", "a/b")] == [1]
    write_samples(tmp_path, "a__b", "t", "2026-11-23T10-00-00", [{"doc_id": 2}])
    assert [sample["doc_id"] for sample in run.samples("a/b", "t")] == [2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "not the folder of a run"),
        ("{", "can't be read"),
        ("[]", "no JSON object"),
        ('{"schema": 7}', "schema 7"),
        ('{"schema": 1, "models": [{}], "failed": []}', "damaged"),
    ],
)
def test_bad_folders_are_one_line(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "leaderboard.json").write_text(content)
    with pytest.raises(UserError, match=words) as caught:
        load_run(tmp_path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_no_folder_and_an_unfinished_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load_run(tmp_path / "gone")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="has not finished"):
        load_run(tmp_path)
