"""What a judge's audit takes beside its games: labels, families, how alike a model's answers are.

Numbers of one judge's decisions against these, and against other judges' decisions. Knows
decisions and stats; knows no file, no prompt and no name's meaning.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalsuite.leaderboard.constant import Sameness
from evalsuite.leaderboard.decisions import Decision
from evalsuite.leaderboard.labels import Label
from evalsuite.records import Game, QuestionId
from evalsuite.stats.agreement import Agreement, agreement
from evalsuite.stats.shares import Share, family_favour, share_of, win_rate_spread


@dataclass(frozen=True, slots=True)
class Kin:
    """A judge's family, None where it isn't known, and which models are of it.

    `members` says how: "weights" or "answers" (it was trained on the family's answers).
    """

    family: str | None = None
    members: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """`labels` of people or known ones, `kin` by judge, `sameness` of their answers by model."""

    labels: Sequence[Label] = ()
    kin: Mapping[str, Kin] = field(default_factory=dict)
    sameness: Mapping[str, Sameness] = field(default_factory=dict)


NO_EVIDENCE = Evidence()


_Key = tuple[str, int, str, str]  # question, turn, a, b


def _key(one: Decision) -> _Key:
    return str(one.question_id), one.turn, one.a, one.b


# ---- repeats ------------------------------------------------------------------------------------


def spread_of(decisions: Sequence[Decision]) -> dict[str, float] | None:
    """Standard deviation of each model's win rate over repeats; None where nothing was repeated.

    Over the comparisons that every repeat has decided: else the rates would differ by what they
    are of.
    """
    rounds: defaultdict[int, dict[_Key, Decision]] = defaultdict(dict)
    for one in decisions:
        if one.points is not None:
            rounds[one.repeat][_key(one)] = one
    if len(rounds) < 2:
        return None
    shared = set.intersection(*(set(its) for its in rounds.values()))
    found: dict[str, float] = {}
    for model in dict.fromkeys(name for key in shared for name in key[2:]):
        rates = []
        for _, its in sorted(rounds.items()):
            own = [_points(its[key], model) for key in shared if model in key[2:]]
            rates.append(sum(own) / len(own))
        spread = win_rate_spread(rates)
        assert spread is not None  # there are two rounds at least
        found[model] = spread
    return dict(sorted(found.items())) or None


def _points(one: Decision, model: str) -> float:
    assert one.points is not None  # the caller has chosen those with a verdict
    return one.points if one.a == model else 1 - one.points


# ---- families -----------------------------------------------------------------------------------


def family_of(
    decisions: Sequence[Decision], kin: Kin, labels: Sequence[Label], seed: int
) -> dict[str, Any]:
    """What a judge gave its own family against others, and how much more than the labels do.

    A high share alone is no favour: the family may be better. `favour` is the mean difference to
    the labels on the same comparisons, None without such.
    """
    across = [
        (one, one.a if one.a in kin.members else one.b)
        for one in decisions
        if one.points is not None and (one.a in kin.members) != (one.b in kin.members)
    ]
    won = share_of([_points(*one) for one in across], [one.question_id for one, _ in across])
    labelled = _by_pair(labels)
    judged, said, clusters = [], [], []
    for one, member in across:
        for label in labelled.get(_key(one), ()):
            judged.append(_points(one, member))
            said.append(0.5 if label.winner is None else float(label.winner == member))
            clusters.append(one.question_id)
    favour = family_favour(judged, said, clusters, seed)
    return {
        "family": kin.family,
        "members": dict(kin.members),
        "share": _share(won),
        "favour": None
        if favour is None
        else {"value": favour[0], "ci": list(favour[1]), "n": len(judged)},
    }


# ---- labels -------------------------------------------------------------------------------------


def against_labels(
    games: Sequence[Game], decisions: Sequence[Decision], labels: Sequence[Label], seed: int
) -> dict[str, Any] | None:
    """How far a judge's decisions agree with labels, each label by itself; None without labels.

    `raw` and `kappa` are over win, loss and tie, `without_ties` over those where neither is a tie,
    `verdicts` of single games' verdicts, before two orders are made one decision. `unmatched`
    counts labels for which there is no decision with a verdict.
    """
    if not labels:
        return None
    decided: defaultdict[_Key, list[Decision]] = defaultdict(list)
    for one in decisions:
        if one.points is not None:
            decided[_key(one)].append(one)
    labelled = _by_pair(labels)
    pairs = [
        (one.outcome, _outcome(label), one.question_id)
        for key, its in labelled.items()
        for label in its
        for one in decided.get(key, ())
    ]
    single = [
        (game.winner == label.winner, game.question_id)
        for game in games
        if game.verdict != "invalid" and game.second is not None
        for label in labelled.get(
            (str(game.question_id), game.turn, min(game.models), max(game.models)), ()
        )
    ]
    clear = [pair for pair in pairs if "tie" not in pair[:2]]
    matched = sum(len(its) for key, its in labelled.items() if key in decided)
    return {
        "labels": len(labels),
        "unmatched": len(labels) - matched,
        **_agreement(pairs, seed),
        "without_ties": _share(share_of([a == b for a, b, _ in clear], [q for *_, q in clear])),
        "verdicts": _share(share_of([hit for hit, _ in single], [q for _, q in single])),
    }


def _by_pair(labels: Sequence[Label]) -> dict[_Key, list[Label]]:
    found: defaultdict[_Key, list[Label]] = defaultdict(list)
    for label in labels:
        found[label.question_id, label.turn, *label.pair].append(label)
    return dict(found)


def _outcome(label: Label) -> str:
    return "tie" if label.winner is None else "a" if label.winner == label.pair[0] else "b"


# ---- other judges -------------------------------------------------------------------------------


def between_judges(
    by_judge: Mapping[str, Sequence[Decision]], seed: int
) -> dict[str, dict[str, Any]]:
    """{judge: {other: agreement}} on the comparisons that both decided, repeat by repeat."""
    placed = {
        judge: {(*_key(one), one.repeat): one for one in decisions if one.points is not None}
        for judge, decisions in by_judge.items()
    }
    found: dict[str, dict[str, Any]] = {judge: {} for judge in by_judge}
    for judge, its in placed.items():
        for other, theirs in placed.items():
            if judge == other:
                continue
            both = [
                (one.outcome, theirs[key].outcome, one.question_id)
                for key, one in its.items()
                if key in theirs
            ]
            found[judge][other] = _agreement(both, seed)
    return found


def _agreement(pairs: Sequence[tuple[str, str, QuestionId]], seed: int) -> dict[str, Any]:
    """Raw agreement and kappa of (one label, the other, question), as leaderboard.json has them."""
    if not pairs:
        return {"raw": None, "ci": None, "n": 0, "kappa": None, "kappa_ci": None}
    ours, theirs, questions = zip(*pairs, strict=True)
    found: Agreement = agreement(ours, theirs, questions, seed)
    return {
        "raw": found.raw.value,
        "ci": None if found.raw.ci is None else list(found.raw.ci),
        "n": found.raw.n,
        "kappa": found.kappa,
        "kappa_ci": None if found.kappa_ci is None else list(found.kappa_ci),
    }


def _share(share: Share) -> dict[str, Any]:
    return {"value": share.value, "ci": None if share.ci is None else list(share.ci), "n": share.n}


# ---- the server's model, and what has no verdict ------------------------------------------------


def served_by(games: Sequence[Game]) -> dict[str, int]:
    """How many games each model id was returned for by the judge's server, most first."""
    return dict(Counter(game.served for game in games if game.served).most_common())


def bounds_of(decisions: Sequence[Decision], model: str) -> list[float] | None:
    """A model's win rate had every comparison without a verdict gone against it, or for it.

    Equal where none is without; None without comparisons.
    """
    own = [one for one in decisions if model in (one.a, one.b)]
    won = sum(_points(one, model) for one in own if one.points is not None)
    open_ = sum(one.points is None for one in own)
    return [won / len(own), (won + open_) / len(own)] if own else None
