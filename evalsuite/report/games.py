"""The judged games of a page: which comparisons it holds, with their texts by number.

A comparison is a pair of models on one turn of a question; its games are the two orders. Knows runs
on disk and the leaderboard's rule of what two orders come to; knows no judge and no HTML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalsuite.leaderboard import AskedQuestion, Run
from evalsuite.leaderboard.decisions import decide
from evalsuite.leaderboard.merge import Origin
from evalsuite.records import Game
from evalsuite.report import words
from evalsuite.report.leagues import league_keys
from evalsuite.report.rows import Texts

SHOWN = 5_000  # comparisons; past it each pair shows its first ones


@dataclass(frozen=True, slots=True)
class GameList:
    """`data` is what the page's script reads, None without games."""

    data: Mapping[str, Any] | None
    shown: int
    note: str


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a run keeps of the texts that were judged."""

    questions: Mapping[str, AskedQuestion]
    answers: Mapping[str, Mapping[str, tuple[str, ...]]]


def read_games(runs: Sequence[Run]) -> dict[str, list[Game]]:
    """The games of each league, by its key.

    Left out are games of a judge without numbers.

    Raises:
        UserError: a damaged matches.jsonl.
    """
    keys = league_keys(runs)
    found: dict[str, list[Game]] = {key: [] for key in keys.values()}
    for number in dict.fromkeys(number for number, _ in keys):
        for game in runs[number].games():
            key = keys.get((number, game.judge))
            if key is not None:
                found[key].append(game)
    return found


def collect_games(
    runs: Sequence[Run],
    origins: Mapping[str, Origin],
    games: Mapping[str, Sequence[Game]],
    shown: int = SHOWN,
) -> GameList:
    """The comparisons of all leagues, `shown` at most, with a table of their texts.

    An answer that was scored alone is a row of its own, without a second model.

    Raises:
        UserError: a damaged file of questions or answers.
    """
    groups = {key: _comparisons(its) for key, its in games.items()}
    total = sum(len(its) for its in groups.values())
    if not total:
        return GameList(None, 0, "")
    pairs = Counter((key, *_names(g)) for key, its in groups.items() for g in its)
    limit = total if total <= shown else max(1, shown // len(pairs))
    models, categories, leagues = _Numbers(), _Numbers(), _Numbers()
    rows: list[dict[str, Any]] = []
    texts = Texts()
    complete = True
    for (number, _), key in league_keys(runs).items():
        run = runs[number]
        labels = {o.name: label for label, o in origins.items() if o.run is run}
        kept = _Kept(run.questions(), {name: run.answers(name) for name in labels})
        taken: Counter[tuple[str, str | None]] = Counter()
        for group in groups[key]:
            a, b = _names(group)
            taken[a, b] += 1
            if taken[a, b] > limit:
                continue
            row = _row(group, kept, texts)
            complete = complete and row["question"] is not None and None not in row["answers"]
            row |= {
                "l": leagues.add(key),
                "a": models.add(labels.get(a, a)),
                "b": None if b is None else models.add(labels.get(b, b)),
                "c": categories.add(group[0].category),
            }
            rows.append(row)
    data = {
        "leagues": leagues.names,
        "models": models.names,
        "categories": categories.names,
        "texts": texts.table,
        "rows": rows,
    }
    alone = all(row["b"] is None for row in rows)
    what = "answer" if alone else "comparison"
    return GameList(data, len(rows), _note(len(rows), total, limit, complete, what))


class _Numbers:
    """Names by number, in order of appearance."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._number: dict[str, int] = {}

    def add(self, name: str) -> int:
        number = self._number.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number


def _comparisons(games: Iterable[Game]) -> list[list[Game]]:
    groups: dict[tuple[Any, ...], list[Game]] = {}
    for game in games:
        key = (game.question_id, game.turn, game.repeat, *_names([game]))
        groups.setdefault(key, []).append(game)
    return list(groups.values())


def _names(games: Sequence[Game]) -> tuple[str, str | None]:
    """The pair in the order of its decision: by name. One model where its answer was read alone."""
    if games[0].second is None:
        return games[0].first, None
    a, b = sorted(games[0].models)
    return a, b


def _row(games: Sequence[Game], kept: _Kept, texts: Texts) -> dict[str, Any]:
    """A comparison as the page's script reads it; what is not known is null or left out."""
    a, b = _names(games)
    first = games[0]
    one, number = str(first.question_id), first.turn
    if b is None:
        outcome = "scored" if first.scores else "invalid"
    else:
        (decision,) = decide(games)
        outcome = decision.outcome
    asked = kept.questions.get(one)
    reference = asked.reference[number - 1 : number] if asked else ()
    row: dict[str, Any] = {
        "q": first.question_id,
        "turn": number,
        "o": outcome,
        "split": int(outcome == "tie" and any(g.winner is not None for g in games)),
        "question": _numbers(asked.turns if asked else None, number, texts),
        "answers": [
            _numbers(kept.answers.get(name, {}).get(one), number, texts)
            for name in (a, b)
            if name is not None
        ],
        "games": sorted((_game(game, a, texts) for game in games), key=lambda game: game["first"]),
    }
    if first.repeat > 1:
        row["repeat"] = first.repeat
    if reference and reference[0]:
        row["reference"] = texts.add(reference[0])
    return row


def _numbers(turns: Sequence[str] | None, upto: int, texts: Texts) -> list[int] | None:
    """The texts of the first `upto` turns by number; None when one of them was not kept."""
    if turns is None or len(turns) < upto:
        return None
    return [texts.add(text) for text in turns[:upto]]


def _game(game: Game, a: str, texts: Texts) -> dict[str, Any]:
    values: dict[str, Any] = {
        "first": int(game.first != a),  # 0: a was shown first
        "verdict": game.verdict,
        "said": None if game.raw_reply is None else texts.add(game.raw_reply),
        "lengths": game.lengths,
        # A published game doesn't say what it took.
        "tokens": [int(game.tokens.get(kind) or 0) for kind in ("prompt", "completion")]
        if game.tokens
        else None,
        "calls": game.calls,
        "cost": game.cost,
    }
    optional = {"scores": game.scores, "served": game.served, "error": game.error}
    return values | {name: value for name, value in optional.items() if value is not None}


def _note(shown: int, found: int, limit: int, complete: bool, one: str = "comparison") -> str:
    missing = "" if complete else " The run did not keep the texts of all questions and answers."
    if shown == found:
        what = words.plural(shown, one)
        here = f"{'All ' if shown > 1 else ''}{what} {'are' if shown > 1 else 'is'} here"
        return f"{here}; as a file: matches.jsonl in the run’s folder.{missing}"
    each = "model" if one == "answer" else "pair"
    return (
        f"{shown:,} of {found:,} {one}s are here, the first {limit:,} of each {each}; all "
        f"{found:,} are in matches.jsonl and matches.parquet in the run’s folder.{missing}"
    )
