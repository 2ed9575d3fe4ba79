"""The gate's simulation, small and seeded: its error rates are what docs/gate.md says."""

from __future__ import annotations

import json
from pathlib import Path

import gate
import pytest


def test_alarms_without_a_change_stay_at_five_percent() -> None:
    rates = gate.simulate({}, 0.195, runs=4000, seed=1)
    # 4.6 % in 120,000 runs; without Holm 17 tasks at 5 % alarm more than half of the time.
    assert 0.035 < rates.share < 0.055


def test_what_has_to_be_found_is_found() -> None:
    gsm8k = gate.simulate({"gsm8k": 0.05}, 0.195, runs=1000, seed=2)
    assert gsm8k.tasks["gsm8k"] / gsm8k.runs > 0.85
    every = gate.simulate(dict.fromkeys(gate.SIZES, 0.01), 0.195, runs=1000, seed=3)
    assert every.share > 0.90


def test_a_drop_that_the_items_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="discordance"):
        gate.simulate({"gsm8k": 0.2}, 0.1, runs=10)


def test_pairs_through_baseline_files(tmp_path) -> None:  # type: ignore[no-untyped-def]
    seconds, result = gate.compare_pairs(20_000, tmp_path)
    assert sum(line.items for line in result.models[0].lines) == 20_000
    assert result.exit_code == 0
    assert seconds["compare"] > 0


def test_pairs_through_run_folders(tmp_path: Path) -> None:
    # Raises unless the command ends well and says the same with and without kept items.
    seconds = gate.compare_folders(3_400, tmp_path)
    assert set(seconds) == {"keep", "compare", "without items.json"}
    (mean,) = [
        model["mean"]
        for model in json.loads((tmp_path / "after" / "gate.json").read_text())["models"]
    ]
    assert (mean["groups"], mean["items"]) == (17, 3_400)
