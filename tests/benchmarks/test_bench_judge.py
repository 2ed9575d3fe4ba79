"""The judge's benchmark, small: faults, a budget and kills against a server in another process."""

from __future__ import annotations

from pathlib import Path

import judge
import pytest


@pytest.mark.parametrize("part", ["faults", "budget", "kill"])
def test_nothing_is_lost_double_wrong_or_overspent(part: str, tmp_path: Path) -> None:
    missed = [line for line in judge.PARTS[part](300, 3, tmp_path / "store.db") if not line.good]
    assert missed == []
