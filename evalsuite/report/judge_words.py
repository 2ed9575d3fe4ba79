"""A judge and its games in words: what kind it is, who is ahead, how it behaves, what it cost.

Pure functions of numbers and games. Knows no HTML, no file and no judge but by its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evalsuite.records import Game
from evalsuite.report import audit_words, words
from evalsuite.report.view import AuditLine, Score

REFERENCE = "reference"
PANEL = "panel"
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"),
    *("tenth", "eleventh", "twelfth"),
)


def kind(judge: str) -> str:
    """'reference' for a check without a model, else 'model'."""
    return "reference" if judge == REFERENCE else "model"


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
) -> str:
    """What judged, in a sentence or two.

    `one_order`: no pair was judged in both. `scored`: each answer was read alone. `weighed`: the
    preset, where verdicts have weights.
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
            f"A language model{place}, {judge}, read each answer by itself and gave it a score; no "
            f"answer was held against another.{known}"
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
    judge: str, its_about: str, rated: bool, others: int, *, scored: bool = False
) -> str:
    """The sentence under the first screen's table."""
    number = (
        "“Score” is the mean of what the judge gave a model’s answers, on its own scale."
        if scored
        else "“Rating” is on Elo’s scale with mean 1000: 100 points more mean that the better "
        "model wins about 64 of 100 comparisons."
        if rated
        else "“Wins” is the share of judged comparisons that a model won, a tie counting half."
    )
    more = f" Below {'is' if others == 1 else 'are'} {words.plural(others, 'more judge')}."
    return f"{number} Judge: {judge}. {its_about}{more if others else ''}"


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
    return f"{said}; its interval overlaps with that of {words.listing(rivals)}."


def scored_answers(numbers: Sequence[Mapping[str, Any]]) -> str:
    """'160 answers scored, 2 without a score'."""
    read = sum(int(its.get("marked") or 0) for its in numbers)
    without = sum(int(its.get("unmarked") or 0) for its in numbers)
    said = f"{words.plural(read, 'answer')} read"
    return f"{said}, {without:,} without a score" if without else said


def sums(pairs: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> str:
    """'Sums of scores: a 693, b 638: b has 92.1 % of a's (87.8 to 95.8).'; '' without scores.

    The older way to say how good a model is beside another.
    """
    parts = []
    for pair in pairs:
        one, two, ratio = pair.get("score_a"), pair.get("score_b"), pair.get("score_ratio")
        if one is None or two is None:
            continue
        a, b = (labels.get(pair[side], pair[side]) for side in ("a", "b"))
        said = f"{a} {one:g}, {b} {two:g}"
        if ratio is not None:
            low, high = (100 * bound for bound in pair["score_ratio_ci"])
            said += f", so {b} has {100 * ratio:.1f} % of {a}’s ({low:.1f} to {high:.1f})"
        parts.append(said)
    return f"Sums of the scores of all games: {'; '.join(parts)}." if parts else ""


def played(audit: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]]) -> str:
    """'240 games make 120 comparisons.'"""
    columns = ("wins_a", "wins_b", "ties", "invalid")
    decisions = sum(int(pair.get(column) or 0) for pair in pairs for column in columns)
    games = audit.get("games")
    if not games:
        return words.plural(decisions, "comparison")
    return f"{words.plural(int(games), 'game')}, {words.plural(decisions, 'comparison')}"


def audit(judge: str, numbers: Mapping[str, Any], *, scored: bool = False) -> tuple[AuditLine, ...]:
    """How the judge behaves, whatever it judges; what is not known is said to be so.

    `scored`: it read each answer alone, so there are neither orders nor winners.
    """
    if judge == PANEL:
        return _panel_audit(numbers)
    check = judge == REFERENCE
    same = numbers.get("swap_agreement")
    first = numbers.get("first_place_share")
    longer = numbers.get("longer_share")
    invalid = numbers.get("invalid_rate")
    again = numbers.get("repeat_agreement")
    repeated = AuditLine(
        f"Same {'score' if scored else 'verdict'} when asked again",
        _share(again),
        _of(numbers, "repeated_games", "game played more than once", "no game was repeated")
        + _interval(numbers, "repeat_agreement"),
    )
    if scored:
        without = AuditLine(
            "Without a score",
            _share(invalid),
            _of(numbers, "games", "answer", "no answer was read")
            + _interval(numbers, "invalid_rate")
            + " They are left out of the means.",
        )
        return (*(() if again is None else (repeated,)), without)
    return (
        *(() if again is None else (repeated,)),
        AuditLine(
            "Same verdict in both orders",
            _share(same),
            _of(numbers, "swapped_pairs", "pair played in both orders", "no pair has both orders")
            + _interval(numbers, "swap_agreement")
            + (
                " A check sees no order, so this is as it must be."
                if check
                else " The others are counted as ties."
            ),
        ),
        AuditLine(
            "Won by the answer shown first",
            _share(first),
            _of(
                numbers,
                "decisive_games",
                "game with a winner",
                "no game has a winner"
                if numbers.get("places_known", True)
                else "the order in which answers were shown was not kept",
            )
            + _interval(numbers, "first_place_share")
            + " A judge that favours no place comes to 50 %.",
        ),
        AuditLine(
            "Won by the longer answer",
            _share(longer),
            _of(
                numbers,
                "unequal_lengths",
                "game won between answers of different length",
                "no game was won between answers of different length",
            )
            + _interval(numbers, "longer_share")
            + " Far from 50 % it may be taste for length, or the longer ones may be better.",
        ),
        AuditLine(
            "Without a verdict",
            _share(invalid),
            _of(numbers, "games", "game", "no game was played")
            + _interval(numbers, "invalid_rate")
            + " They count for nobody; neither does the other order of their pair.",
        ),
        *audit_words.more_lines(numbers),
    )


def _panel_audit(numbers: Mapping[str, Any]) -> tuple[AuditLine, ...]:
    """Each judge against the panel of the others."""
    lines = []
    for judge, found in (numbers.get("leave_one_out") or {}).items():
        if not found.get("n"):
            detail = "Not known: it decided nothing that the others decided too."
            lines.append(AuditLine(f"{judge} agrees with the others", "not known", detail))
            continue
        low, high = found["agreement_ci"]
        kappa = found.get("kappa")
        moved = found.get("largest_change")
        detail = (
            f"Of {words.plural(int(found['n']), 'comparison')}. 95 % interval: {100 * low:.0f} to "
            f"{100 * high:.0f} %."
        )
        if kappa is not None:
            detail += f" Beyond chance (Cohen’s kappa): {kappa:.2f}."
        if moved is not None:
            order = "stays" if found.get("same_order") else "changes"
            detail += (
                f" Without it win rates move by {100 * moved:.1f} points at most, and the order of "
                f"the models {order}."
            )
        lines.append(
            AuditLine(f"{judge} agrees with the others", _share(found["agreement"]), detail)
        )
    return tuple(lines)


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


def _share(value: Any) -> str:
    return "not known" if value is None else f"{100 * value:.0f} %"


def _interval(numbers: Mapping[str, Any], name: str) -> str:
    """' 95 % interval: 88 to 98 %.'; '' where there is none."""
    bounds = (numbers.get("intervals") or {}).get(name)
    return f" 95 % interval: {100 * bounds[0]:.0f} to {100 * bounds[1]:.0f} %." if bounds else ""


def _of(numbers: Mapping[str, Any], count: str, one: str, none: str) -> str:
    n = int(numbers.get(count) or 0)
    if not n:
        return f"Not known: {none}."
    what, _, rest = one.partition(" ")
    return f"Of {words.plural(n, one, f'{what}s {rest}'.strip())}."
