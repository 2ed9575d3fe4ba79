"""The calls of a run and where each stands: what the store had, what came, what failed.

Knows calls and judgments; must not know how a judge is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalsuite.judge.budget import CostEstimate
from evalsuite.judge.calls import (
    SAMPLE_DELIMITER,
    Call,
    Standing,
    all_keys,
    counter_for,
    estimate_calls,
    read_attempts,
    reading_of,
)
from evalsuite.judge.client import Reply
from evalsuite.judge.games import judged_game
from evalsuite.judge.judges import JudgeSpec
from evalsuite.judge.prompts import Preset
from evalsuite.judge.records import Match
from evalsuite.records import Game, Verdict
from evalsuite.store.judgments import Judgment, Judgments


@dataclass(frozen=True, slots=True)
class JudgeResult:
    """All games that ended, in the order of play, and what became of the others.

    `failed` games got no reply (they are among `games` as invalid, and are asked again when the run
    is resumed); `pending` ones were not begun because the budget was spent or the server is gone,
    which `stopped` says. `dollars` is what this run has spent in all its starts, `served` the model
    ids that the server returned.
    """

    games: tuple[Game, ...]
    failed: int = 0
    pending: int = 0
    calls: int = 0
    from_store: int = 0
    dollars: float = 0.0
    served: tuple[str, ...] = ()
    estimate: CostEstimate | None = None
    stopped: str | None = None
    notes: tuple[str, ...] = ()


class Table:
    """The calls of a run and where each stands; shared by the workers of one event loop."""

    def __init__(
        self,
        spec: JudgeSpec,
        preset: Preset,
        judgments: Judgments,
        calls: Sequence[Call],
        attempts: int,
    ) -> None:
        self.spec, self.preset, self.judgments = spec, preset, judgments
        self.attempts = attempts
        self._counter = counter_for(spec, judgments)
        self._counted = [0, 0, 0]  # calls, characters and tokens of the prompts of this start
        self._calls: list[Call] = []
        self._keys: list[bytes] = []
        self.distinct: dict[bytes, Call] = {}
        self._found: dict[bytes, Judgment] = {}
        self.begun_with: set[bytes] = set()
        self.extend(calls)
        self._expected: dict[bytes, int] = {}
        self.errors: dict[bytes, str] = {}
        self.stopped: str | None = None
        self.sent = 0
        # Calls that the server has in a batch, and what was strange about batches.
        self.under_way: set[bytes] = set()
        self.remarks: list[str] = []

    def extend(self, calls: Sequence[Call]) -> None:
        """More calls, with what the store has for them."""
        new = {key: call for call in calls if (key := call.key(0)) not in self.distinct}
        self._calls += calls
        self._keys += [call.key(0) for call in calls]
        self.distinct |= new
        self._found |= self.judgments.get(all_keys(new.values(), self.attempts))
        self.begun_with |= {key for key in new if self.standing(key).settled}

    def reload(self) -> None:
        """Reads the store again: a batch's replies are kept as a whole, not by `keep`."""
        self._found = self.judgments.get(all_keys(self.distinct.values(), self.attempts))

    def standing(self, key: bytes) -> Standing:
        return read_attempts(self.distinct[key], self._found, self.attempts, self.preset)

    def missing(self) -> list[bytes]:
        return [key for key in self.distinct if not self.standing(key).settled]

    def estimate(self) -> CostEstimate:
        """The bill for what is still to be sent; what a batch holds has been."""
        left = [c for c, key in zip(self._calls, self._keys, strict=True) if not self.is_sent(key)]
        return estimate_calls(
            left, self.judgments, self.spec, self.preset, self.attempts, self._expected
        )

    def is_sent(self, key: bytes) -> bool:
        """Whether a call is under way, with a server that has not answered yet."""
        return key in self.under_way

    def prompt_tokens(self, *, done: bool = False) -> int:
        """Expected prompt tokens of all calls, or of those that the store had: for progress."""
        return sum(
            self.expected(key) for key in self.distinct if not done or key in self.begun_with
        )

    def expected(self, key: bytes) -> int:
        """Prompt tokens that a call will have, about."""
        if key not in self._expected:
            messages = self.distinct[key].messages(self.preset, SAMPLE_DELIMITER)
            self._expected[key] = self._counter.expected(messages)
        return self._expected[key]

    def count(self, characters: int, prompt_tokens: int | None) -> None:
        """Notes what the server counted in a prompt of so many characters."""
        if prompt_tokens:
            more = (1, characters, prompt_tokens)
            self._counted = [a + b for a, b in zip(self._counted, more, strict=True)]

    def close(self) -> None:
        """Keeps what the server counted, for the estimates of later runs."""
        calls, characters, tokens = self._counted
        if calls:
            where = (self.spec.endpoint, self.spec.model)
            self.judgments.keep_counts(*where, calls, characters, tokens)

    def keep(
        self, number: int, key: bytes, call: Call, delimiter: str, reply: Reply, worst: float
    ) -> tuple[Verdict, float]:
        """Commits a reply. Returns its verdict and what it cost."""
        judgment, charged = judgment_of(self.spec, delimiter, reply, worst)
        attempt_key = call.key(len(self.standing(key).attempts))
        self.judgments.keep(number, attempt_key, judgment, charged)
        self._found[attempt_key] = judgment
        return reading_of(judgment, self.preset).verdict, charged

    def games(self, matches: Sequence[Match]) -> tuple[Game, ...]:
        """The games that ended so far; `matches` are those of the calls, in the same order."""
        return self.result(matches, None).games

    def result(self, matches: Sequence[Match], estimate: CostEstimate | None) -> JudgeResult:
        games, paid, pending, failed = [], set[bytes](), 0, 0
        for match, call, key in zip(matches, self._calls, self._keys, strict=True):
            standing = self.standing(key)
            error = None if standing.settled else self.errors.get(key)
            if not standing.settled and error is None:
                pending += 1
                continue
            failed += error is not None
            games.append(
                judged_game(match, call, self.spec, self.preset, standing, key in paid, error)
            )
            paid.add(key)
        served = dict.fromkeys(game.served for game in games if game.served)
        return JudgeResult(
            games=tuple(games),
            failed=failed,
            pending=pending,
            calls=self.sent,
            from_store=len(self.begun_with),
            dollars=self.judgments.spent(),
            served=tuple(served),
            estimate=estimate,
            stopped=self.stopped,
            notes=(
                *_notes(self.spec, failed, pending, self.errors, tuple(served)),
                *dict.fromkeys(self.remarks),
            ),
        )


def judgment_of(
    spec: JudgeSpec, delimiter: str, reply: Reply, worst: float
) -> tuple[Judgment, float]:
    """What is kept of a reply, and the dollars it is charged: what was counted, else the worst."""
    price, cost = spec.price, None
    charged = worst  # what was not counted may have cost anything up to the worst case
    if reply.prompt_tokens is not None and reply.completion_tokens is not None and price:
        charged = cost = price.cost(reply.prompt_tokens, reply.completion_tokens)
    judgment = Judgment(
        endpoint=spec.endpoint,
        requested=spec.model,
        raw_reply=reply.text,
        served=reply.served,
        delimiter=delimiter,
        readable=reply.readable,
        finish=reply.finish,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        cost=charged if cost is None and price else cost,
    )
    return judgment, charged


def _notes(
    spec: JudgeSpec,
    failed: int,
    pending: int,
    errors: Mapping[bytes, str],
    served: Sequence[str],
) -> tuple[str, ...]:
    notes = []
    if failed:
        reason = next(iter(errors.values()))
        notes.append(f"{failed} games got no reply and count as invalid ({reason})")
    if pending:
        notes.append(f"{pending} games are pending: the same command goes on with them")
    if len(served) > 1:
        notes.append(f"the server answered {spec.model} with several models: {', '.join(served)}")
    return tuple(notes)
