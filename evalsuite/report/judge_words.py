"""A judge and its games in words: what kind it is, who is ahead, what it cost.

Pure functions of numbers and games. Knows no HTML, no file and no judge but by its name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from evalsuite.records import Game
from evalsuite.report import words
from evalsuite.report.view import Score

REFERENCE = "reference"
PANEL = "panel"
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
    *("tenth", "eleventh", "twelfth"),
)


def kind(judge: str) -> str:
    """'reference' for a check without a model, else 'model'."""
    return "reference" if judge == REFERENCE else "model"


def short(judge: str) -> str:
    """A judge's name without its kind and its server's address: 'openai:m@http://…' is 'm'."""
    _, colon, model = judge.partition(":")
    if not colon or not judge.startswith(("openai:", "local:")):
        return judge
    return re.sub(r"@https?://.*", "", model) or judge


# What a protocol's verdicts weigh, by preset; the empty name is for those that others used.
_WEIGHTS = {
    "five-level": (
        "In win rates and ratings a much better answer gets the whole win, a better one three "
        "quarters of it"
    ),
    "logprob": "In win rates and ratings an answer’s share of the win is how likely its letter was",
    "": "In win rates and ratings an answer gets the share of the win that the judge gave it",
}


def about(
    judge: str,
    served: Sequence[str],
    *,
    one_order: bool = False,
    scored: bool = False,
    weighed: str | None = None,
    ranging: str = "",
) -> str:
    """What judged, in a sentence or two.

    `one_order`: no pair was judged in both. `scored`: each answer was read alone, the scores
    `ranging` "from 1 to 10". `weighed`: the preset, where verdicts have weights.
    """
    if judge == REFERENCE:
        return (
            "No language model judged. Each answer was checked against the question’s reference: "
            "right beats wrong, both right or both wrong is a tie."
        )
    if judge == PANEL:
        return (
            "Several judges, each deciding by itself; the panel’s share of a win is the mean of "
            "theirs."
        )
    place = " on this machine" if judge.startswith("local:") else ""
    answered = [name for name in served if name != judge]
    known = f" The server answered as {words.listing(answered)}." if answered else ""
    if scored:
        return (
            f"A language model{place}, {judge}, read each answer by itself and gave it a score"
            f"{ranging and f' {ranging}'}; no answer was held against another.{known}"
        )
    weights = "" if weighed is None else f" {_WEIGHTS.get(weighed, _WEIGHTS[''])}"
    if one_order:
        return (
            f"A language model{place}, {judge}, read each pair of answers once, in one order: what "
            f"the place of an answer is worth to it is not taken out."
            f"{weights and weights + '.'}{known}"
        )
    return (
        f"A language model{place}, {judge}, read each pair of answers twice, in both orders. A win "
        f"counts when both orders agree; where they don’t, the pair is a tie."
        f"{weights and weights + ', the mean over both orders.'}{known}"
    )


def column_note(
    judge: str,
    its_about: str,
    rated: bool,
    others: int,
    *,
    scored: bool = False,
    ranging: str = "",
    wins: str = "a tie counting half",
) -> str:
    """The sentence under the first screen's table. `wins` says what win rates are made of."""
    number = (
        f"“Score” is the mean of what the judge gave a model’s answers, "
        f"{ranging or 'on its own scale'}."
        if scored
        else "“Rating” is on Elo’s scale with mean 1000: 100 points more mean that the better "
        "model wins about 64 of 100 comparisons."
        if rated
        else f"“Wins” is the share of judged comparisons that a model won, {wins}."
    )
    more = f" Below {'is' if others == 1 else 'are'} {words.plural(others, 'more judge')}."
    who = "" if judge in its_about else f" Judge: {judge}."
    return f"{number}{who} {its_about}{more if others else ''}"


def win_note(judge: str, weighed: str | None) -> str:
    """What a win rate counts beside whole wins."""
    if judge == PANEL:
        return "the mean of the judges’ shares"
    return "a tie counting half" if weighed is None else "each by its weight"


def rank(places: tuple[int, int] | None) -> str:
    """'first', 'first or second', 'third to fifth'; '' without a rank."""
    if places is None:
        return ""
    low, high = (_ordinal(place) for place in places)
    if low == high:
        return low
    return f"{low} {'or' if places[1] == places[0] + 1 else 'to'} {high}"


def _ordinal(place: int) -> str:
    if place <= len(_ORDINALS):
        return _ORDINALS[place - 1]
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{place}{'th' if place % 100 in (11, 12, 13) else endings.get(place % 10, 'th')}"


def verdict(
    judge: str,
    labels: Sequence[str],
    places: Mapping[str, tuple[int, int] | None],
    decided: int,
    names: Sequence[str],
) -> str:
    """Who is preferred, or between whom that is open. `names` are `labels` in their own run."""
    if not decided:
        return "No game was decided."
    first = [
        label
        for label, name in zip(labels, names, strict=True)
        if (place := places.get(name)) is not None and place[0] == 1
    ]
    if not first:
        return "Which model is first, and how surely, is not known."
    if len(first) == 1:
        said = "is right more often" if judge == REFERENCE else "is preferred"
        return f"{first[0]} {said}, by more than chance."
    if len(first) > 3:
        return (
            f"First place is open between {first[0]} and {words.plural(len(first) - 1, 'other')}."
        )
    return f"First place is open between {words.listing(first)}."


def verdict_of_scores(labels: Sequence[str], scores: Sequence[Score]) -> str:
    """Whose answers have the highest mean score, and whether intervals leave that open.

    Best first, as the standings are.
    """
    known = [
        (label, its) for label, its in zip(labels, scores, strict=True) if its.value is not None
    ]
    if not known:
        return "No answer has a score."
    best, top = known[0]
    rivals = [label for label, its in known[1:] if top.ci and its.ci and its.ci[1] >= top.ci[0]]
    said = f"{best} has the highest mean score"
    if not rivals:
        return f"{said}." if len(known) > 1 else f"{best} has a mean score of {top.text}."
    if len(rivals) > 3:
        return f"{said}, but its interval overlaps with those of {len(rivals)} others."
    return f"{said}, but its interval overlaps with that of {words.listing(rivals)}."


def scored_answers(numbers: Sequence[Mapping[str, Any]]) -> str:
    """'160 answers scored, 2 without a score'."""
    read = sum(int(its.get("marked") or 0) for its in numbers)
    without = sum(int(its.get("unmarked") or 0) for its in numbers)
    said = f"{words.plural(read, 'answer')} read"
    return f"{said}, {without:,} without a score" if without else said


def played(judge: str, audit: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]]) -> str:
    """'240 games, 120 comparisons'; of a panel, which plays none itself, '120 comparisons'."""
    columns = ("wins_a", "wins_b", "ties", "invalid")
    decisions = sum(int(pair.get(column) or 0) for pair in pairs for column in columns)
    games = audit.get("games")
    if not games or judge == PANEL:
        return words.plural(decisions, "comparison")
    return f"{words.plural(int(games), 'game')}, {words.plural(decisions, 'comparison')}"


def controlled(judge: str, numbers: Sequence[Mapping[str, Any]], refused: str | None) -> str:
    """The sentence under the win rates at equal lengths; why there are none; '' where unknown."""
    if judge == REFERENCE:
        return ""  # a check sees no length
    if any(its.get("length_controlled") for its in numbers):
        return (
            "At equal length: what a model of the verdicts expects were both answers equally long "
            "(a logistic fit with a term for the difference in length)."
        )
    return f"There is no win rate at equal length: {refused}." if refused else ""


def scored_alone(labels: Sequence[str], numbers: Sequence[Mapping[str, Any]]) -> str:
    """'Answers scored alone: a 8.5 (8.1 to 8.9, 80 answers), …'; '' where there are none."""
    parts = []
    for label, its in zip(labels, numbers, strict=True):
        score = its.get("score") or {}
        if score.get("value") is not None:
            low, high = score["ci"]
            count = words.plural(int(score["n"]), "answer")
            parts.append(f"{label} {score['value']:.2f} ({low:.2f} to {high:.2f}, {count})")
    return f"Answers scored alone, mean and 95 % interval: {'; '.join(parts)}." if parts else ""


def cost(judge: str, games: Sequence[Game]) -> str:
    """What judging took; '' where nothing was asked or nothing is known."""
    if judge == REFERENCE or not games:
        return ""
    read = sum(int(game.tokens.get("prompt") or 0) for game in games)
    written = sum(int(game.tokens.get("completion") or 0) for game in games)
    calls = sum(game.calls for game in games)
    if not calls + read + written and all(game.cost is None for game in games):
        return ""  # published games don't say
    known = [game.cost for game in games if game.cost is not None]
    dollars = dollar(math.fsum(known)) if len(known) == len(games) else "cost not known"
    return (
        f"{words.plural(calls, 'call')}, {read:,} tokens read and {written:,} written by the "
        f"judge, {dollars}"
    )


def dollar(cost: float) -> str:
    """'$0.12', '$0.0004', 'no cost'."""
    if cost <= 0:
        return "no cost"
    return f"${cost:.2f}" if cost >= 0.1 else f"${cost:.2g}"
