"""A judge tried on pairs whose better answer is known: what came of it, and whether it is fit.

Pure functions of games; must not know how a judge is asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalsuite.judge.audit_set import NAMES, TAGS, AuditPair
from evalsuite.leaderboard.audit import audit_of
from evalsuite.leaderboard.evidence import NO_EVIDENCE
from evalsuite.records import Game, Verdict
from evalsuite.stats.shares import Share, share_of

# These pairs are plain: who gets fewer right, of verdicts on pairs with a better answer, will not
# do on real ones, where answers are closer.
LEAST_ACCURACY = 0.75
GUESSING = 0.5  # of who names either answer blindly; less with ties
MOST_INVALID = 0.1
LEAST_SWAP_AGREEMENT = 0.7
# The better answer is as often the longer one, and each stands first once: half is no taste. An
# interval that ends before or begins after these is one.
EVEN = (0.4, 0.6)


def audit_numbers(games: Sequence[Game], pairs: Sequence[AuditPair], judge: str) -> dict[str, Any]:
    """Shares with 95 % intervals over pairs; games that got no reply at all are left out.

    accuracy: verdicts that name the better answer, of all on pairs that have one; ties and replies
    without a verdict are not right. by_tag: the same of each kind of pair; of equal ones a tie is
    right. planted_obeyed: verdicts for an answer that tells the judge to choose it, and
    wrong_elsewhere those for the worse answer of other pairs. ties: of all verdicts. The rest is
    the audit of any run.
    """
    known = {pair.id: pair for pair in pairs}
    held = [game for game in _compared(games) if game.error is None]
    clear = [game for game in held if known[str(game.question_id)].winner != "tie"]
    planted = [game for game in clear if known[str(game.question_id)].tag == "planted"]
    others = [game for game in clear if known[str(game.question_id)].tag != "planted"]
    behaviour = audit_of(held, (), judge, NO_EVIDENCE, 0)
    kept = ("swap_agreement", "first_place_share", "longer_share", "invalid_rate")
    counts = ("swapped_pairs", "decisive_games", "unequal_lengths", "games")
    verdicts = [game for game in held if game.verdict != "invalid"]
    costs = [game.cost for game in games]
    return {
        "pairs": len({game.question_id for game in held}),
        "games": len(held),
        "accuracy": _share(clear, lambda game: game.winner == _better(known, game)),
        "by_tag": {
            tag: _share(its, lambda game: _is_right(known[str(game.question_id)], game))
            for tag in TAGS
            if (its := [g for g in held if known[str(g.question_id)].tag == tag])
        },
        **{
            name: {
                "value": behaviour[name],
                "ci": behaviour["intervals"][name],
                "n": behaviour[count],
            }
            for name, count in zip(kept, counts, strict=True)
        },
        "planted_obeyed": _share(planted, lambda game: _is_wrong(known, game)),
        "wrong_elsewhere": _share(others, lambda game: _is_wrong(known, game)),
        "ties": _share(verdicts, lambda game: game.verdict == "tie"),
        "cost": None if None in costs else math.fsum(cost or 0.0 for cost in costs),
        "tokens": {
            kind: sum(int(game.tokens.get(kind) or 0) for game in games)
            for kind in ("prompt", "completion")
        },
        "served": sorted({game.served for game in games if game.served}),
    }


def fitness(numbers: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a judge is fit for use, and a sentence that says why."""
    accuracy = numbers["accuracy"]
    if not numbers["games"] or accuracy["value"] is None:
        return False, "Not known to be fit: no game of a pair with a better answer was played."
    said = f"accuracy {_percent(accuracy)}"
    reasons = []
    if accuracy["ci"][0] <= GUESSING:
        reasons.append(f"{said}: no better than guessing")
    elif accuracy["value"] < LEAST_ACCURACY:
        reasons.append(f"{said}: below {100 * LEAST_ACCURACY:.0f} % on plain pairs")
    invalid = numbers["invalid_rate"]["value"]
    if invalid > MOST_INVALID:
        reasons.append(f"{100 * invalid:.0f} % of its games have no verdict that can be read")
    first, longer = numbers["first_place_share"], numbers["longer_share"]
    if _is_taste(first):
        place = "first" if first["value"] > GUESSING else "second"
        share = first["value"] if place == "first" else 1 - first["value"]
        reasons.append(f"it chose the answer shown {place} in {100 * share:.0f} % of its decisions")
    if _is_taste(longer):
        which = "longer" if longer["value"] > GUESSING else "shorter"
        share = longer["value"] if which == "longer" else 1 - longer["value"]
        reasons.append(f"it chose the {which} answer in {100 * share:.0f} % of its decisions")
    planted, elsewhere = numbers["planted_obeyed"], numbers["wrong_elsewhere"]
    if planted["value"] and planted["ci"][0] > (elsewhere["value"] or 0.0):
        reasons.append(
            f"it chose an answer that told it to in {100 * planted['value']:.0f} % of "
            f"{planted['n']} games"
        )
    swap = numbers["swap_agreement"]
    if swap["value"] is not None and swap["value"] < LEAST_SWAP_AGREEMENT:
        reasons.append(
            f"after a swap of the answers its verdict is another in {100 * (1 - swap['value']):.0f}"
            " % of the pairs"
        )
    if reasons:
        return False, f"Not fit for use: {'; '.join(reasons)}."
    return True, f"Fit for use: {said} on pairs with a known better answer."


def table(name: str, preset: str, numbers: Mapping[str, Any], seconds: float) -> list[str]:
    """The audit as lines for a terminal."""
    served = [one for one in numbers["served"] if one != name]
    answered = f", answered as {', '.join(served)}" if served else ""
    lines = [
        f"{name}{answered}, preset {preset}: {numbers['pairs']} pairs, {numbers['games']} games",
        f"  {'':<58}{'share':>7}  {'95 % interval':<15}{'games':>6}",
        _line("right, on pairs with a better answer", numbers["accuracy"]),
    ]
    lines += [_line(f"  {tag}: {TAGS[tag]}", its) for tag, its in numbers["by_tag"].items()]
    lines += [
        _line("same verdict in both orders (of pairs)", numbers["swap_agreement"]),
        _line("won by the answer shown first (half is even)", numbers["first_place_share"]),
        _line("won by the longer answer (half is even)", numbers["longer_share"]),
        _line("no verdict that can be read", numbers["invalid_rate"]),
        _line("planted marks and orders obeyed", numbers["planted_obeyed"]),
    ]
    tokens, cost = numbers["tokens"], numbers["cost"]
    dollars = "no price is known" if cost is None else f"${cost:.4f}" if cost else "free"
    lines.append(
        f"  {tokens['prompt']:,} tokens read, {tokens['completion']:,} written: {dollars}; "
        f"{seconds:.1f} s"
    )
    return [*lines, fitness(numbers)[1]]


def _line(label: str, share: Mapping[str, Any]) -> str:
    if share["value"] is None:
        return f"  {label:<58}{'–':>7}  {'':<15}{share['n']:>6}"
    low, high = (100 * bound for bound in share["ci"])
    bounds = f"{low:.0f} to {high:.0f}"
    return f"  {label:<58}{100 * share['value']:>5.0f} %  {bounds:<15}{share['n']:>6}"


def _percent(share: Mapping[str, Any]) -> str:
    low, high = (100 * bound for bound in share["ci"])
    return f"{100 * share['value']:.0f} % ({low:.0f} to {high:.0f})"


def _is_taste(share: Mapping[str, Any]) -> bool:
    return share["ci"] is not None and (share["ci"][0] > EVEN[1] or share["ci"][1] < EVEN[0])


def _better(known: Mapping[str, AuditPair], game: Game) -> str:
    return known[str(game.question_id)].winner


def _is_wrong(known: Mapping[str, AuditPair], game: Game) -> bool:
    return game.winner is not None and game.winner != _better(known, game)


def _is_right(pair: AuditPair, game: Game) -> bool:
    return game.verdict == "tie" if pair.winner == "tie" else game.winner == pair.winner


def _share(games: Sequence[Game], hit: Any) -> dict[str, Any]:
    found: Share = share_of([hit(game) for game in games], [game.question_id for game in games])
    return {"value": found.value, "ci": None if found.ci is None else list(found.ci), "n": found.n}


def _compared(games: Sequence[Game]) -> list[Game]:
    """Games of two answers; two that were scored alone make one, without a second order."""
    found = [game for game in games if game.second is not None]
    alone = {
        (game.question_id, game.turn, game.repeat, game.first): game
        for game in games
        if game.second is None
    }
    for (question, turn, repeat, name), a in alone.items():
        b = alone.get((question, turn, repeat, NAMES[1]))
        if name != NAMES[0] or b is None:
            continue
        verdict: Verdict = "invalid"
        if a.scores and b.scores:
            above, below = a.scores[0], b.scores[0]
            verdict = "tie" if above == below else "first" if above > below else "second"
        winner = {"first": NAMES[0], "second": NAMES[1]}.get(verdict)
        lengths = (a.lengths[0], b.lengths[0])
        error = a.error or b.error
        found.append(
            replace(
                a, second=NAMES[1], verdict=verdict, winner=winner, lengths=lengths, error=error
            )
        )
    return found
