"""What a judge's audit found beside its games, in words: repeats, labels, other judges, its family.

Pure functions of a leaderboard's numbers; leaderboards that lack them give no lines. Knows no HTML,
no file and no judge but by its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalsuite.leaderboard.wording import some
from evalsuite.report import words
from evalsuite.report.view import AuditLine


def more_lines(numbers: Mapping[str, Any]) -> tuple[AuditLine, ...]:
    """The lines after those of the games themselves; only what there is something to say of."""
    others = numbers.get("judges")  # a panel's audit lists its members there
    return (
        *_spread(numbers.get("win_rate_spread") or {}),
        *_labels(numbers.get("labels") or {}),
        *_judges(others if isinstance(others, Mapping) else {}),
        *_family(numbers.get("own_family") or {}),
        *_served(numbers.get("served") or {}),
    )


def marks(
    judge: str,
    audit: Mapping[str, Any],
    labels: Sequence[str],
    numbers: Sequence[Mapping[str, Any]],
) -> tuple[str, ...]:
    """What a reader has to know before a league's numbers; nothing where all is well."""
    found = []
    for label, its in zip(labels, numbers, strict=True):
        same = its.get("constant_answers") or {}
        if same.get("flagged"):
            found.append(
                f"{label} gave (nearly) the same answer to {_percent(same['share'])} of "
                f"{same['questions']} different questions. What it won here is not quality."
            )
    served = audit.get("served") or {}
    if len(served) > 1:
        parts = [f"{name} ({count:,} games)" for name, count in served.items()]
        found.append(
            f"{judge} was {words.plural(len(served), 'model')} in this run: its server answered "
            f"as {words.listing(parts)}."
        )
    return tuple(found)


def bounds(labels: Sequence[str], numbers: Sequence[Mapping[str, Any]]) -> str:
    """Between which win rates the comparisons without a verdict leave a model; '' without any."""
    parts = []
    for label, its in zip(labels, numbers, strict=True):
        held = its.get("bounds")
        if its.get("invalid") and held:
            parts.append(f"{label} {100 * held[0]:.1f} to {100 * held[1]:.1f} %")
    return (
        "Comparisons without a verdict could have gone either way. Had all of them gone against a "
        f"model, or all for it, its win rate would be: {'; '.join(parts)}."
        if parts
        else ""
    )


def _spread(spread: Mapping[str, float]) -> tuple[AuditLine, ...]:
    if not spread:
        return ()
    worst = max(spread, key=lambda name: spread[name])
    return (
        AuditLine(
            "Spread of win rates over repeats",
            f"{100 * spread[worst]:.1f} points",
            f"Standard deviation when everything was judged again: that of {worst}"
            + (", the largest." if len(spread) > 1 else "."),
        ),
    )


def _labels(held: Mapping[str, Any]) -> tuple[AuditLine, ...]:
    if not held:
        return ()
    unmatched = int(held["unmatched"])
    left = (
        f" {words.plural(unmatched, 'label')} of {held['labels']:,} are of no comparison here."
        if unmatched
        else ""
    )
    if not held["n"]:
        return (AuditLine("Agrees with the labels", "not known", f"None fits a game.{left}"),)
    clear, single = held["without_ties"], held["verdicts"]
    detail = (
        f"Of {words.plural(held['n'], 'label')}, win, loss and tie apart.{_ci(held['ci'])}"
        f"{_kappa(held)}"
    )
    if clear["n"]:
        detail += (
            f" Where neither says tie: {_percent(clear['value'])} of {clear['n']:,}"
            f"{_span(clear['ci'])}."
        )
    if single["n"]:
        detail += f" Single verdicts, in one order: {_percent(single['value'])}."
    return (AuditLine("Agrees with the labels", _percent(held["raw"]), detail + left),)


def _judges(judges: Mapping[str, Mapping[str, Any]]) -> tuple[AuditLine, ...]:
    return tuple(
        AuditLine(
            f"Agrees with {other}",
            _percent(its["raw"]),
            f"Of {words.plural(its['n'], 'comparison')} that both decided.{_ci(its['ci'])}"
            f"{_kappa(its)}",
        )
        for other, its in judges.items()
        if its["n"]
    )


def _family(held: Mapping[str, Any]) -> tuple[AuditLine, ...]:
    if not held.get("members"):
        return ()
    share, favour = held["share"], held["favour"]
    family, members = held["family"], some(sorted(held["members"]))
    if not share["n"]:
        detail = f"Not known: no game between its family ({family}: {members}) and another model."
        return (AuditLine("Won by its own family", "not known", detail),)
    detail = (
        f"{members} ({family}) against other models, of {words.plural(share['n'], 'comparison')}."
        f"{_ci(share['ci'])} "
    )
    if favour is None:
        detail += "Whether that is favour or merit, only labels (--judge-labels) can tell."
    else:
        low, high = (100 * bound for bound in favour["ci"])
        points = f"{100 * favour['value']:+.1f}".replace("-", "−")
        span = f"{low:+.1f} to {high:+.1f}".replace("-", "−")
        detail += f"Against the labels of the same comparisons: {points} points ({span})."
    return (AuditLine("Won by its own family", _percent(share["value"]), detail),)


def _served(served: Mapping[str, int]) -> tuple[AuditLine, ...]:
    if len(served) < 2:
        return ()
    said = words.listing([f"{name} in {count:,} games" for name, count in served.items()])
    detail = f"The server answered as {said}: these are not one judge’s verdicts."
    return (AuditLine("Models behind the judge", f"{len(served)}", detail),)


def _percent(value: float | None) -> str:
    return "not known" if value is None else f"{100 * value:.0f} %"


def _ci(interval: Sequence[float] | None) -> str:
    if interval is None:
        return ""
    return f" 95 % interval: {100 * interval[0]:.0f} to {100 * interval[1]:.0f} %."


def _span(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f" ({100 * interval[0]:.0f} to {100 * interval[1]:.0f} %)"


def _kappa(held: Mapping[str, Any]) -> str:
    if held["kappa"] is None:
        return ""
    low, high = held["kappa_ci"]
    said = f" Beyond chance (Cohen’s kappa): {held['kappa']:.2f} ({low:.2f} to {high:.2f})."
    return said.replace("-", "−")
