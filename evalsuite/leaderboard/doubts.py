"""Says in words what makes judged games doubtful: of the models, and of the judge.

Knows a leaderboard's numbers only. Those that were written before something was looked at say
nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalsuite.leaderboard.wording import listing, some
from evalsuite.records import Leaderboard

_LEAST_AGREEMENT = 0.5  # of verdicts in both orders; below it the place counts for more
_LENGTH = 0.9  # of games won by the longer answer
_FEW_ANSWERS = 10  # that may well have got the same score


def doubts(leaderboard: Leaderboard) -> tuple[str, ...]:
    """Answers that are all one, relatives of a judge, a judge that changed, and one that goes by
    something else than what the answers say.
    """
    notes = []
    for model in leaderboard.models:
        said = (its.get("constant_answers") or {} for its in model.judges.values())
        same = next((its for its in said if its.get("flagged")), None)
        if same is not None:
            text = f"“{same['text']}”" if same.get("text") else "an empty one."
            notes.append(
                f"{model.name} gave (nearly) the same answer to {100 * same['share']:.0f} % of "
                f"{same['questions']} different questions: its judged games say nothing of its "
                f"quality. The answer: {text}"
            )
    for judge, audit in leaderboard.judge_audit.items():
        if len(served := audit.get("served") or {}) > 1:
            parts = [f"{name} in {count:,} games" for name, count in served.items()]
            notes.append(
                f"The judge {judge} changed while it judged: its server answered as "
                f"{listing(parts)}. These are not one judge's verdicts."
            )
        family = audit.get("own_family") or {}
        if members := family.get("members") or {}:
            notes.append(family_warning(judge, str(family.get("family")), members))
        if taste := _taste(judge, audit) or _one_score(leaderboard, judge):
            notes.append(f"The judge {judge} {taste}")
    return tuple(notes)


def _taste(judge: str, audit: Mapping[str, Any]) -> str:
    """What a judge goes by instead of content, where its intervals leave no doubt; else ''."""
    spans = audit.get("intervals") or {}
    same, longer = spans.get("swap_agreement"), spans.get("longer_share")
    if same and same[1] < _LEAST_AGREEMENT:
        first = audit.get("first_place_share")
        place = "" if first is None else f", {100 * first:.0f} % of wins went to the first place"
        return (
            f"gave the same verdict in both orders to {_share(audit['swap_agreement'], same)} of "
            f"pairs only{place}. Where orders disagree the pair is a tie, so that real "
            "differences are hidden."
        )
    if audit.get("swapped_pairs") and not audit.get("decisive_games") and same and same[0] > 0.5:
        return "called every game a tie: it tells nothing of the models."
    if longer and longer[0] > _LENGTH and judge != "reference":
        return (
            f"chose the longer answer in {_share(audit['longer_share'], longer)} of games: it goes "
            "by length. The win rate at equal length takes that out."
        )
    return ""


def _one_score(leaderboard: Leaderboard, judge: str) -> str:
    """That a judge gave all answers the same score; else ''."""
    numbers = [model.judges[judge] for model in leaderboard.models if judge in model.judges]
    scores = [its["score"] for its in numbers if (its.get("score") or {}).get("ci")]
    values = {bound for score in scores for bound in (score["value"], *score["ci"])}
    count = sum(int(score["n"]) for score in scores)
    if len(values) != 1 or count < _FEW_ANSWERS:
        return ""
    return f"gave all {count:,} answers the same score, {values.pop():g}: it tells nothing of them."


def _share(value: float, interval: Sequence[float]) -> str:
    low, high = (100 * bound for bound in interval)
    return f"{100 * value:.0f} % ({low:.0f} to {high:.0f})"


def family_warning(judge: str, family: str, members: Mapping[str, str]) -> str:
    """That a judge judges its own: `members` says how each is related, "weights" or "answers"."""
    own = [name for name, how in members.items() if how == "weights"]
    taught = [name for name, how in members.items() if how != "weights"]
    parts = []
    if own:
        parts.append(f"{some(own)} {'is' if len(own) == 1 else 'are'} of the same family")
    if taught:
        parts.append(
            f"{some(taught)} {'was' if len(taught) == 1 else 'were'} trained on its answers"
        )
    return (
        f"The judge {judge} judges its own ({family}): {'; '.join(parts)}. Judges tend to favour "
        "what sounds like themselves."
    )
