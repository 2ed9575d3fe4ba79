"""Run folders: resumed when unfinished and the same, never written over, locked while in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalsuite.records import UserError
from evalsuite.store.run_folder import RunFolder

MEASURED = {"tasks": ["starter"], "limit": None}


def finish(folder: RunFolder) -> None:
    folder.write_manifest({"status": "finished", "measured": MEASURED})


def test_an_unfinished_run_of_the_same_thing_is_resumed(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run", MEASURED) as first:
        assert not first.resumed
    with RunFolder.open(tmp_path / "run", MEASURED) as again:
        assert again.resumed
        assert (again.run, again.created, again.path) == (first.run, first.created, first.path)


def test_a_finished_run_is_left_alone_and_the_next_name_is_taken(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run", MEASURED) as first:
        finish(first)
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    with RunFolder.open(tmp_path / "run", MEASURED) as second:
        assert second.path == tmp_path / "run-2"
        assert second.run != first.run
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before


def test_a_run_of_which_a_part_failed_is_gone_on_with(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run", MEASURED) as first:
        first.write_manifest({"status": "partial", "measured": MEASURED})
    with RunFolder.open(tmp_path / "run", MEASURED) as again:
        assert (again.run, again.path) == (first.run, first.path)


def test_an_unfinished_run_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run", MEASURED):
        pass
    with RunFolder.open(tmp_path / "run", {**MEASURED, "limit": 5}) as other:
        assert other.path == tmp_path / "run-2"


def test_a_report_without_a_manifest_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.html").write_text("precious")
    with RunFolder.open(tmp_path / "run", MEASURED) as folder:
        assert folder.path == tmp_path / "run-2"


def test_a_folder_with_other_files_is_used_and_they_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with RunFolder.open(tmp_path, MEASURED) as folder:
        assert folder.path == tmp_path
        folder.discard()
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_run_that_could_not_begin_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with RunFolder.open(tmp_path / "mine" / "a" / "b" / "run", MEASURED) as folder:
        folder.discard()
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


def test_two_processes_can_not_share_a_folder(tmp_path: Path) -> None:
    with (
        RunFolder.open(tmp_path / "run", MEASURED),
        pytest.raises(UserError, match="in use by another run"),
    ):
        RunFolder.open(tmp_path / "run", MEASURED)


def test_a_place_that_can_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        RunFolder.open(tmp_path / "file", MEASURED)
    with pytest.raises(UserError, match="cannot make the output folder"):
        RunFolder.open(tmp_path / "file" / "run", MEASURED)
    with pytest.raises(UserError, match="cannot"):
        RunFolder.open(Path("/proc/nowhere/run"), MEASURED)
