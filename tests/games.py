"""Judged games as tests make them up."""

from __future__ import annotations

from typing import Any

from evalsuite.leaderboard.judges import JudgeSummary, with_judges
from evalsuite.records import Estimate, Game, Leaderboard, ModelScore, Verdict


def game(
    question: int | str, first: str, second: str | None, verdict: Verdict, **more: Any
) -> Game:
    """A game of the judge "j" in one order; `more` are other fields of the record."""
    fields: dict[str, Any] = {
        "category": "math",
        "turn": 1,
        "repeat": 1,
        "judge": "j",
        "preset": "pairwise",
        "winner": {"first": first, "second": second}.get(verdict),
        "scores": None,
        "raw_reply": "what the judge said",
        "tokens": {"prompt": 1, "completion": 1},
        "cost": 0.0,
        "key": "",
        "lengths": (10, 20),
    }
    return Game(question, first=first, second=second, verdict=verdict, **{**fields, **more})  # type: ignore[arg-type]


def board_of(summary: JudgeSummary) -> Leaderboard:
    """A leaderboard of these games alone."""
    models = [ModelScore(name, None, Estimate(None, None), {}, {}) for name in summary.models]
    return with_judges(Leaderboard(tuple(models)), summary)
