"""What judges said of the models, for people: standings, who beats whom, categories, the audit.

A league is one judge's games in one run: ratings count only among models that met, so those of two
runs are never mixed. Knows leaderboards and runs on disk; knows no judge, no engine and no HTML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evalsuite.leaderboard import Run
from evalsuite.leaderboard.merge import Origin
from evalsuite.records import Game, Leaderboard
from evalsuite.report import audit_lines, audit_words, judge_words, words
from evalsuite.report.charts import Scale
from evalsuite.report.view import (
    CategoryRow,
    DuelCell,
    League,
    Score,
    ScoreSums,
    Standing,
)

_NOTHING = Score(None, None, words.MISSING, "")
_RANGES = {"score": "from 1 to 10"}  # what the scores of a preset lie between


def league_keys(runs: Sequence[Run]) -> dict[tuple[int, str], str]:
    """Each league's name in links, by the run's number and the judge.

    It is the judge's name, of several runs with the run's folder after it.
    """
    keys: dict[tuple[int, str], str] = {}
    for number, run in enumerate(runs):
        for judge in _judges(run.leaderboard):
            label = judge if len(runs) == 1 else f"{judge} ({run.path.resolve().name})"
            key, again = label, 2
            while key in keys.values():
                key, again = f"{label} {again}", again + 1
            keys[number, judge] = key
    return keys


def leagues(
    runs: Sequence[Run], origins: Mapping[str, Origin], games: Mapping[str, Sequence[Game]]
) -> tuple[League, ...]:
    """One league a run and judge. `games` are those of each league, by its key."""
    return tuple(
        _league(
            runs[number],
            judge,
            key,
            {o.name: label for label, o in origins.items() if o.run is runs[number]},
            games.get(key, ()),
            many=len(runs) > 1,
        )
        for (number, judge), key in league_keys(runs).items()
    )


def _judges(board: Leaderboard) -> list[str]:
    """The judges that a leaderboard has numbers of."""
    named = dict.fromkeys(str(pair.get("judge")) for pair in board.pairs)
    named |= dict.fromkeys(judge for model in board.models for judge in model.judges)
    return list(named)


# ---- one league ---------------------------------------------------------------------------------


def _league(
    run: Run,
    judge: str,
    key: str,
    labels: Mapping[str, str],
    games: Sequence[Game],
    *,
    many: bool,
) -> League:
    board = run.leaderboard
    pairs = [pair for pair in board.pairs if pair.get("judge") == judge]
    numbers = {m.name: m.judges[judge] for m in board.models if m.judges.get(judge)}
    counts = {(row, column): _met(pairs, row, column) for row in numbers for column in numbers}
    names = sorted(numbers, key=lambda name: _order(numbers[name]))
    places = {name: _pair(numbers[name].get("rank")) for name in names}
    scored = not pairs and any(numbers[name].get("score") for name in names)
    standings = tuple(
        _standing(labels.get(n, n), numbers[n], _sum(counts, n), scored=scored) for n in names
    )
    shown = [s.name for s in standings]
    values = [bound for s in standings if s.rating.value is not None for bound in _span(s.rating)]
    kind = "score_categories" if scored else "categories"
    categories = list(dict.fromkeys(c for n in names for c in numbers[n].get(kind) or {}))
    weighed = next((g.preset for g in games if g.preference is not None), None)
    ranging = _RANGES.get(next((g.preset for g in games), ""), "") if scored else ""
    audit = board.judge_audit.get(judge) or {}
    decided = sum(_int(p, "wins_a") + _int(p, "wins_b") + _int(p, "ties") for p in pairs)
    return League(
        key=key,
        judge=judge,
        run=run.path.resolve().name if many else "",
        kind=judge_words.kind(judge),
        about=judge_words.about(
            judge,
            sorted({g.served for g in games if g.served}),
            one_order=_one_order(games),
            scored=scored,
            weighed=weighed,
            ranging=ranging,
        ),
        verdict=judge_words.verdict_of_scores(shown, [s.rating for s in standings])
        if scored
        else judge_words.verdict(judge, shown, places, decided, names),
        played=judge_words.scored_answers([numbers[n] for n in names])
        if scored
        else judge_words.played(judge, audit, pairs),
        standings=standings,
        scale=Scale.around(values) if values and (scored or len(standings) > 2) else None,
        no_rating="" if scored else _no_rating(standings, decided),
        matrix=()
        if scored
        else tuple(
            tuple(
                _duel(counts[row, col], row, col, labels, key, _rate(pairs, row, col))
                for col in names
            )
            for row in names
        ),
        categories=tuple(_category(c, names, numbers, scored=scored) for c in categories),
        audit=audit_lines.audit(judge, audit, scored=scored),
        cost=judge_words.cost(judge, games),
        controlled=""
        if scored
        else judge_words.controlled(
            judge, [numbers[n] for n in names], audit.get("length_control")
        ),
        alone=_alone(judge, numbers, names, labels, scored=scored),
        sums=() if judge_words.kind(judge) == "reference" else tuple(_sums(pairs, labels)),
        scored=scored,
        bounds=audit_words.bounds(shown, [numbers[n] for n in names]),
        marks=audit_words.marks(judge, audit, shown, [numbers[n] for n in names]),
        range=ranging,
        win_note=judge_words.win_note(judge, weighed),
    )


def _alone(
    judge: str,
    numbers: Mapping[str, Mapping[str, Any]],
    names: Sequence[str],
    labels: Mapping[str, str],
    *,
    scored: bool,
) -> str:
    """What answers scored alone come to, where the standings don't show it already."""
    if scored or judge_words.kind(judge) == "reference":
        return ""
    shown = [labels.get(name, name) for name in names]
    return judge_words.scored_alone(shown, [numbers[name] for name in names])


def _sums(pairs: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Iterator[ScoreSums]:
    """The older way to say how good a model is beside another, a line a pair with scores."""
    for pair in pairs:
        sums = [pair.get(f"score_{side}") for side in "ab"]
        if None in sums:
            continue
        ratio, ci = pair.get("score_ratio"), _pair(pair.get("score_ratio_ci"))
        yield ScoreSums(
            a=labels.get(pair["a"], pair["a"]),
            b=labels.get(pair["b"], pair["b"]),
            sums=(f"{sums[0]:,.10g}", f"{sums[1]:,.10g}"),
            share=_NOTHING
            if ratio is None
            else Score(ratio, ci, f"{100 * ratio:.2f}", words.interval(ci)),
            comparisons=(
                f"{_int(pair, 'wins_a'):,}",
                f"{_int(pair, 'wins_b'):,}",
                f"{_int(pair, 'ties'):,}",
            ),
        )


def _order(numbers: Mapping[str, Any]) -> tuple[float, float, float]:
    rating, rate = numbers.get("rating"), numbers.get("win_rate")
    score = (numbers.get("score") or {}).get("value")
    return (
        float("inf") if rating is None else -float(rating),
        float("inf") if rate is None else -float(rate),
        float("inf") if score is None else -float(score),
    )


def _standing(
    label: str, numbers: Mapping[str, Any], tally: Sequence[int], *, scored: bool
) -> Standing:
    mark = numbers.get("score") or {}
    rank = _pair(numbers.get("rank"))
    won, tied, lost, invalid = tally
    controlled = numbers.get("length_controlled") or {}
    return Standing(
        name=label,
        leads=rank is not None and rank[0] == 1,
        rank=judge_words.rank(rank),
        place=rank,
        rating=_score(mark.get("value"), mark.get("ci"), "score")
        if scored
        else _score(numbers.get("rating"), numbers.get("rating_ci"), "rating"),
        win=_score(numbers.get("win_rate"), numbers.get("ci"), "share"),
        controlled=_score(controlled.get("win_rate"), controlled.get("ci"), "share"),
        won=won,
        tied=tied,
        lost=lost,
        invalid=invalid,
    )


def _no_rating(standings: Sequence[Standing], decided: int) -> str:
    if not any(s.rating.value is None for s in standings):
        return ""
    if not decided:
        return "No pair has a verdict, so there is nothing to rate."
    if all(s.rating.value is None for s in standings):
        return (
            "There are no ratings: the models fall into groups that never met, and no scale holds "
            "them all."
        )
    without = [s.name for s in standings if s.rating.value is None]
    return f"No rating for {words.listing(without)}: not one decision with a verdict."


def _met(pairs: Sequence[Mapping[str, Any]], row: str, column: str) -> tuple[int, int, int, int]:
    """How often `row` won, tied, lost against `column`, or had no verdict."""
    tally = [0, 0, 0, 0]
    for pair in pairs:
        keys = ("wins_a", "ties", "wins_b", "invalid")
        if (pair.get("a"), pair.get("b")) == (column, row):
            keys = ("wins_b", "ties", "wins_a", "invalid")
        elif (pair.get("a"), pair.get("b")) != (row, column):
            continue
        tally = [n + _int(pair, name) for n, name in zip(tally, keys, strict=True)]
    return tally[0], tally[1], tally[2], tally[3]


def _one_order(games: Sequence[Game]) -> bool:
    """Whether no pair was asked about in both orders, whatever came of it."""
    asked = {(g.question_id, g.turn, g.repeat, g.first, g.second) for g in games}
    return bool(asked) and not any(
        (question, turn, repeat, second, first) in asked
        for question, turn, repeat, first, second in asked
    )


def _rate(pairs: Sequence[Mapping[str, Any]], row: str, column: str) -> float | None:
    """The share that `row` won against `column`, where the leaderboard says it."""
    for pair in pairs:
        value = pair.get("win_rate_a")
        if value is not None and {pair.get("a"), pair.get("b")} == {row, column}:
            return float(value) if pair.get("a") == row else 1 - float(value)
    return None


def _sum(counts: Mapping[tuple[str, str], tuple[int, ...]], name: str) -> tuple[int, ...]:
    own = [tally for (row, _), tally in counts.items() if row == name]
    return tuple(sum(column) for column in zip(*own, strict=True))


def _duel(
    tally: tuple[int, int, int, int],
    row: str,
    column: str,
    labels: Mapping[str, str],
    key: str,
    rate: float | None,
) -> DuelCell | None:
    """`rate` is the row's win rate, which weights may have moved away from the counts."""
    won, tied, lost, invalid = tally
    if row == column or not won + tied + lost + invalid:
        return None
    n = won + tied + lost
    if rate is None and n:
        rate = (won + tied / 2) / n
    a, b = labels.get(row, row), labels.get(column, column)
    said = f"{a} against {b}: {won:,} won, {tied:,} tied, {lost:,} lost"
    return DuelCell(
        text=words.MISSING if rate is None else f"{100 * rate:.0f}",
        shade=None if rate is None else _shade(rate),
        title=said + (f", {invalid:,} without a verdict" if invalid else ""),
        n=n,
        link=words.fragment("games", key, a, b),
    )


def _category(
    category: str,
    names: Sequence[str],
    numbers: Mapping[str, Mapping[str, Any]],
    *,
    scored: bool,
) -> CategoryRow:
    kind = "score_categories" if scored else "categories"
    cells: list[tuple[Score, int | None, int]] = []
    for name in names:
        its = (numbers[name].get(kind) or {}).get(category)
        if its is None:
            cells.append((_NOTHING, None, 0))
            continue
        if scored:
            cells.append((_score(its.get("value"), its.get("ci"), "score"), None, _int(its, "n")))
            continue
        score = _score(its.get("win_rate"), its.get("ci"), "share")
        shade = None if score.value is None else _shade(score.value)
        cells.append((score, shade, _int(its, "decisions")))
    return CategoryRow(category, tuple(cells))


def _shade(rate: float) -> int:
    """0..10; 5 is even."""
    return round(10 * rate)


def _score(value: Any, ci: Any, unit: str) -> Score:
    interval = _pair(ci)
    if value is None:
        return _NOTHING
    if unit == "share":
        text = words.number(value, unit, sign=False)
        return Score(value, interval, text, words.interval(interval, unit))
    if unit == "score":
        bounds = "" if interval is None else f"{interval[0]:.2f}–{interval[1]:.2f}"
        return Score(value, interval, f"{value:.2f}", bounds)
    bounds = "" if interval is None else f"{interval[0]:.0f}–{interval[1]:.0f}"
    return Score(value, interval, f"{value:.0f}", bounds.replace("-", "−"))


def _span(score: Score) -> tuple[float, ...]:
    return (score.value or 0.0, *(score.ci or ()))


def _pair(value: Any) -> Any:
    return None if value is None else (value[0], value[1])


def _int(values: Mapping[str, Any], name: str) -> int:
    return int(values.get(name) or 0)
