"""The judge's numbers on the first screen: which league they are of, and what they say.

Knows the records of view.py; knows no leaderboard, no run and no HTML.
"""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.report import judge_words, words
from evalsuite.report.view import JudgeColumn, League, Score

_NOTHING = Score(None, None, words.MISSING, "")


def main_league(found: Sequence[League]) -> League | None:
    """The league that the first screen shows, None where there is none for all models."""
    if not found or len({league.run for league in found}) > 1:
        return None
    return max(found, key=lambda its: len(its.standings))  # of several the first


def judge_column(
    found: Sequence[League], labels: Sequence[str]
) -> tuple[JudgeColumn | None, dict[str, Score]]:
    """The first screen's column, and each model's number in it.

    There is one when all games are of one run: ratings of models that never met don't compare. Of
    several judges it is the one that met most models.
    """
    league = main_league(found)
    if league is None:
        return None, {}
    rated = league.scored or (
        len(league.standings) > 2 and any(s.rating.value is not None for s in league.standings)
    )
    scores = {s.name: s.rating if rated else s.win for s in league.standings}
    column = JudgeColumn(
        title="Score" if league.scored else "Rating" if rated else "Wins, %",
        judge=judge_words.short(league.judge),
        note=judge_words.column_note(
            league.judge,
            league.about,
            rated,
            len(found) - 1,
            scored=league.scored,
            ranging=league.range,
            wins=league.win_note,
        ),
        share=not rated,
        scale=league.scale if rated else None,
    )
    return column, {label: scores.get(label, _NOTHING) for label in labels}
