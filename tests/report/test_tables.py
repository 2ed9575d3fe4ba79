"""Parquet beside the report: its numbers are the leaderboard's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from synthetic import TASKS, make_run

from evalsuite.leaderboard import load_run, tables
from evalsuite.report import build_report


def test_means_are_the_leaderboards(pair_run: Path, pair_page: Path) -> None:
    table = pd.read_parquet(pair_run / "samples.parquet")
    assert len(table) == 2400
    assert not table.duplicated(["model", "task", "doc_id"]).any()
    means = table.groupby(["model", "task"]).mean(numeric_only=True)
    cut = table.groupby(["model", "task"])["truncated"].sum()
    seen = 0
    for model in load_run(pair_run).leaderboard.models:
        for name, task in model.tasks.items():
            row = means.loc[model.name, name]
            assert row["score"] == pytest.approx(task.metrics[task.primary].value, abs=1e-12)
            for metric, its in task.metrics.items():
                assert row[f"metric.{metric}"] == pytest.approx(its.value, abs=1e-12)
                seen += 1
            assert cut[model.name, name] >= task.truncated
    assert seen >= 16
    choices = table[table["task"] == "arc_easy"]
    right = choices["answer"].str.strip() == choices["target"].str.strip()
    assert (right == (choices["score"] == 1)).all()


def test_lost_items_have_no_score_and_say_why(tmp_path: Path) -> None:
    def lose(model: str, task: str, line: dict) -> dict:
        return line | {"error": "no \ud800 reply"} if line["doc_id"] == 3 else line

    path = make_run(tmp_path, [("m", 0.5)], TASKS[3:4], 6, change=lose)
    build_report([path])
    table = pd.read_parquet(path / "samples.parquet").set_index("doc_id")
    assert np.isnan(table["score"]["3"])
    assert table["error"]["3"] == "no ? reply"
    assert table["score"].notna().sum() == 5
    assert table["error"].isna().sum() == 5


def test_games(league_run: Path) -> None:
    table = pd.read_parquet(league_run / "matches.parquet")
    games = list(load_run(league_run).games())
    assert len(table) == len(games)
    assert list(table["winner"].fillna("")) == [game.winner or "" for game in games]
    assert list(table["raw_reply"]) == [game.raw_reply for game in games]
    assert table["cost"].sum() == pytest.approx(sum(game.cost or 0 for game in games))
    assert (table["run"] == "league").all()


def test_groups_of_rows_and_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_run(tmp_path, [("m", 0.5), ("n", 0.5)], TASKS[2:4], 30)
    build_report([path])
    whole = pd.read_parquet(path / "samples.parquet")
    assert not (path / "matches.parquet").exists()
    monkeypatch.setattr(tables, "_ROWS", 50)
    build_report([path])
    assert pq.ParquetFile(path / "samples.parquet").num_row_groups == 3
    pd.testing.assert_frame_equal(pd.read_parquet(path / "samples.parquet"), whole)
    for samples in path.glob("*/samples_*.jsonl"):
        samples.unlink()
    build_report([path])
    assert not (path / "samples.parquet").exists()
    assert not list(path.glob(".*"))
