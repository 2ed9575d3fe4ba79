"""How a judge behaves, as lines of a number and a sentence: orders, places, lengths, lost verdicts.

Pure functions of an audit's numbers. Knows no HTML, no file and no judge but by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalsuite.report import audit_words, words
from evalsuite.report.judge_words import PANEL, REFERENCE, short
from evalsuite.report.view import AuditLine


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
                if same is not None
                else ""
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
    left_out = numbers.get("leave_one_out") or {}
    others = "the other" if len(left_out) == 2 else "the others"
    names = {judge: short(judge) for judge in left_out}
    if len(set(names.values())) < len(names):  # the same model behind two servers
        names = {judge: judge for judge in left_out}
    for judge, found in left_out.items():
        if not found.get("n"):
            detail = f"Not known: it decided nothing that {others} decided too."
            lines.append(AuditLine(f"{names[judge]} agrees with {others}", "not known", detail))
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
            AuditLine(f"{names[judge]} agrees with {others}", _share(found["agreement"]), detail)
        )
    return tuple(lines)


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
