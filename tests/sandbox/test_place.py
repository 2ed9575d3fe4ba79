"""Boxes: swept whatever was left in them, counted however deep; and how a place is chosen."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from evalsuite.sandbox import place
from evalsuite.sandbox.place import Place, disk_used, sweep


def test_sweep_removes_what_others_could_not(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x", encoding="utf-8")
    box = tmp_path / "box"
    box.mkdir()
    (box / "link").symlink_to(outside)
    (box / "closed").mkdir(mode=0)
    (box / "blind").mkdir()
    (box / "blind/file").write_text("x", encoding="utf-8")
    (box / "blind").chmod(0o300)
    here = os.getcwd()
    os.chdir(box)
    try:
        for _ in range(1100):  # past the recursion limit and the longest path
            os.mkdir("d" * 50)
            os.chdir("d" * 50)
        Path("deepest").write_text("x", encoding="utf-8")
    finally:
        os.chdir(here)
    sweep(box)
    assert not box.exists()
    assert (outside / "kept").is_file()


def test_sweep_outlasts_a_program_that_is_still_dying(tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    script = "for i in range(10**9): open(f'{i}', 'wb').write(bytes(4096))"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=box, stderr=subprocess.DEVNULL
    ) as program:
        while len(os.listdir(box)) < 100:
            time.sleep(0.001)
        threading.Timer(0.5, program.kill).start()
        sweep(box)
    assert not box.exists()


def test_sweep_says_what_it_could_not_remove(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sweep(tmp_path / "no-such-box")  # at once


def test_disk_counts_blocks_and_entries(tmp_path: Path) -> None:
    assert disk_used(tmp_path, 1 << 20) == 0
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/empty").touch()
    used = disk_used(tmp_path, 1 << 20)
    assert 100_000 + 2 * 4096 <= used <= 140_000
    (tmp_path / "b").write_bytes(b"x" * 2_000_000)
    assert disk_used(tmp_path, 1 << 20) > 1 << 20


def test_holes_are_not_disk(tmp_path: Path) -> None:
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert disk_used(tmp_path, 1 << 20) <= 8192


def test_closing_removes_everything() -> None:
    with Place() as made:
        box = made.box()
        (box / "file").touch()
        root = made.root
    assert not root.exists()


def test_root_without_other_ids_stays_root(monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root drops to another user")
    assert place._unused_id() is not None
    monkeypatch.setattr(place, "_mapped", lambda kind, number: False)
    assert place._unused_id() is None
