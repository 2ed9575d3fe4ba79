"""Chooses which games are played when not all are: where they narrow the ratings most.

In rounds, each after the verdicts of the one before. Knows matches, calls and verdicts; which pairs
tell most is stats/matchmaking.py's, and it must not know how a judge is asked.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evalsuite.judge.budget import CostEstimate
from evalsuite.judge.calls import SAMPLE_DELIMITER, Call
from evalsuite.judge.matches import within_games
from evalsuite.judge.prices import token_counter
from evalsuite.judge.records import Match
from evalsuite.judge.table import Table
from evalsuite.leaderboard.decisions import decide
from evalsuite.records import Game, UserError
from evalsuite.stats.matchmaking import choose_pairs, round_sizes
from evalsuite.store.choices import Choices
from evalsuite.store.store import Store

# Few rounds: a batch may take a day each. More did not make intervals narrower.
ROUNDS = 4
FIRST_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Meeting:
    """All games of a pair on one turn, both orders and every repeat: played together or not.

    `pair` are places of models, the smaller first; `games` places among all matches.
    """

    pair: tuple[int, int]
    question: str
    category: str
    turn: int
    games: tuple[int, ...]


def check_games(games: int, models: int, together: int) -> None:
    """Refuses so few games that they can't connect all models to one league.

    `together` games of a pair on one turn (its orders and repeats) are all played or none.

    Raises:
        UserError: there are too few.
    """
    least = (models - 1) * together
    if games < least:
        raise UserError(
            f"--judge-games {games}: {models} models need {least} games at least "
            "to be held together"
        )


class Matchmaking:
    """The choice of a run's games, `games` at most, among `matches` with their `calls`.

    Raises:
        UserError: so few games can't hold all models together.
    """

    def __init__(
        self,
        matches: Sequence[Match],
        calls: Sequence[Call],
        games: int,
        seed: int,
        store: Store,
        run: str,
    ) -> None:
        self._matches, self._calls, self._seed = matches, calls, seed
        self._models = list(dict.fromkeys(n for match in matches for n in _names(match)))
        self._meetings = _meetings(matches, self._models)
        self._together = len(self._meetings[0].games)
        self._count = within_games(len(matches), games, self._together) // self._together
        check_games(games, len(self._models), self._together)
        self._rounds = round_sizes(self._count, ROUNDS, FIRST_SHARE)
        self._choices = Choices(store, run, self._league())
        self._pairs = sorted({meeting.pair for meeting in self._meetings})
        self._chosen: list[int] = []
        self._round = 0

    @property
    def chosen(self) -> list[Match]:
        """The matches chosen so far, in the order of rounds."""
        return [self._matches[k] for m in self._chosen for k in self._meetings[m].games]

    @property
    def left(self) -> int:
        """How many games are still to be chosen."""
        return (self._count - len(self._chosen)) * self._together

    def choose(self, played: Sequence[Game]) -> list[Call]:
        """The calls of the next round, given the games so far; none when all were chosen."""
        if self._round == len(self._rounds):
            return []
        picked = self._choices.get(self._round)
        if picked is None:
            picked = self._pick(played, self._rounds[self._round])
            self._choices.keep(self._round, picked)
        self._round += 1
        self._chosen += picked
        return [self._calls[k] for m in picked for k in self._meetings[m].games]

    def estimate(self, table: Table) -> CostEstimate:
        """The bill: what is chosen exactly, the rest as the mean and as the longest of all."""
        known = table.estimate()
        left = self._count - len(self._chosen)
        if not left:
            return known
        counter, spec, preset = token_counter(table.spec.model), table.spec, table.preset
        chosen = set(self._chosen)
        expected: list[int] = []
        most: list[int] = []
        calls = []
        for number, meeting in enumerate(self._meetings):
            if number in chosen:
                continue
            its = {self._calls[k].key(0): self._calls[k] for k in meeting.games}
            chats = [call.messages(preset, SAMPLE_DELIMITER) for call in its.values()]
            expected.append(sum(counter.expected(chat) for chat in chats))
            most.append(sum(counter.most(chat) for chat in chats))
            calls.append(len(chats))
        more = left * self._together
        more_at_most = more * table.attempts
        prompt = known.prompt_tokens + round(left * sum(expected) / len(expected))
        prompt_most = known.prompt_tokens_at_most + table.attempts * sum(
            sorted(most, reverse=True)[:left]
        )
        reply = known.completion_tokens + more * preset.expected_tokens
        reply_most = known.completion_tokens_at_most + more_at_most * preset.max_tokens
        price = spec.price
        return replace(
            known,
            calls=known.calls + more,
            calls_at_most=known.calls_at_most + more_at_most,
            prompt_tokens=prompt,
            prompt_tokens_at_most=prompt_most,
            completion_tokens=reply,
            completion_tokens_at_most=reply_most,
            dollars=None if price is None else price.cost(prompt, reply),
            dollars_at_most=None if price is None else price.cost(prompt_most, reply_most),
        )

    def note(self) -> str:
        """What a reader of the results must know of the choice."""
        return (
            f"{self._count * self._together} of {len(self._matches)} games were chosen where they "
            "narrow the ratings most: compare ratings, not win rates, as models met others of like "
            "strength more often"
        )

    # ---- choosing

    def _pick(self, played: Sequence[Game], count: int) -> list[int]:
        """Meetings for a round: the pairs by what they tell, each on its next question."""
        place = {model: i for i, model in enumerate(self._models)}
        wins = np.zeros((len(place), len(place)))
        for decision in decide(played):
            if decision.points is not None:
                a, b = place[decision.a], place[decision.b]
                wins[a, b] += decision.points
                wins[b, a] += 1 - decision.points
        wins /= self._together / self._orders()  # repeats of a question are one comparison
        free = self._in_order()
        taken = set(self._chosen)
        free = {pair: [m for m in its if m not in taken] for pair, its in free.items()}
        capacity = [len(free[pair]) for pair in self._pairs]
        met: Counter[tuple[int, str]] = Counter()
        for number in self._chosen:
            met.update(self._uses(number))
        picked = []
        for choice in choose_pairs(wins, self._pairs, capacity, count):
            its = free[self._pairs[choice]]
            # A model meets its questions evenly; the pair's own order decides among equals.
            best = min(its, key=lambda number: sum(met[use] for use in self._uses(number)))
            its.remove(best)
            met.update(self._uses(best))
            picked.append(best)
        return picked

    def _uses(self, number: int) -> list[tuple[int, str]]:
        meeting = self._meetings[number]
        return [(model, meeting.question) for model in meeting.pair]

    def _orders(self) -> int:
        """How many orders a pair is asked in."""
        return len({self._matches[k].first for k in self._meetings[0].games})

    def _in_order(self) -> dict[tuple[int, int], list[int]]:
        """Each pair's meetings in the order in which it takes them: seeded, categories in turn.

        Second turns of questions come when every question had one.
        """
        by_pair: dict[tuple[int, int], list[int]] = {}
        for number, meeting in enumerate(self._meetings):
            by_pair.setdefault(meeting.pair, []).append(number)
        ordered = {}
        for pair, its in by_pair.items():
            names = sorted(self._models[model] for model in pair)
            draw = random.Random(repr((self._seed, names)))
            shuffled = draw.sample(its, len(its))
            turns: Counter[str] = Counter()
            within: Counter[tuple[int, str]] = Counter()
            sizes = Counter(self._meetings[number].category for number in its)
            rank = {}
            for number in shuffled:
                meeting = self._meetings[number]
                again = turns[meeting.question]
                turns[meeting.question] += 1
                place = within[again, meeting.category]
                within[again, meeting.category] += 1
                rank[number] = again, (place + draw.random()) / sizes[meeting.category]
            ordered[pair] = sorted(its, key=rank.__getitem__)
        return ordered

    def _league(self) -> bytes:
        """What stands for everything that could be chosen, and how."""
        whole = hashlib.blake2b(repr((ROUNDS, FIRST_SHARE, self._count, self._seed)).encode())
        for call in self._calls:
            whole.update(call.identity)
        return whole.digest()


def _names(match: Match) -> tuple[str, str]:
    assert match.second is not None  # answers judged alone leave nothing to choose
    return match.first, match.second


def _meetings(matches: Sequence[Match], models: Sequence[str]) -> list[Meeting]:
    place = {model: i for i, model in enumerate(models)}
    found: dict[tuple[tuple[int, int], str, int], list[int]] = {}
    for number, match in enumerate(matches):
        i, j = (place[name] for name in _names(match))
        key = ((min(i, j), max(i, j)), str(match.question.question_id), match.turn)
        found.setdefault(key, []).append(number)
    return [
        Meeting(pair, question, matches[games[0]].question.category, turn, tuple(games))
        for (pair, question, turn), games in found.items()
    ]
