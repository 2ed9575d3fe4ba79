"""Which family a model is of: whose weights it goes back to, and whose answers it was taught by.

The one place that decides it, for judges and for the models they judge. Reads names against
families.yaml; knows no weights, no run and no judge's protocol.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

FILE = Path(__file__).parent / "families.yaml"

# "weights": both go back to one pretraining; "answers": one was trained on the other's answers.
Relation = Literal["weights", "answers"]


@dataclass(frozen=True, slots=True)
class Lineage:
    """`weights` is the family that a model's weights go back to, None when its name tells none.

    `taught_by` are the families whose answers it was trained on.
    """

    weights: str | None = None
    taught_by: tuple[str, ...] = ()


def lineage(*names: str) -> Lineage:
    """What the first of `names` that tells something says; nothing when none does.

    Names are tried in order: for a judge the id that its server returned, then its own; for a
    candidate its registry entry, then its label, then its repository or folder.
    """
    for name in names:
        if name and (found := _of_name(name)) != Lineage():
            return found
    return Lineage()


def relation(judge: Lineage, model: Lineage) -> Relation | None:
    """How a model is related to its judge; None when they aren't, as far as is known.

    Sharing a teacher is no relation: what counts is whether the judge may know its own hand.
    """
    if judge.weights is None:
        return None
    if model.weights == judge.weights:
        return "weights"
    return "answers" if judge.weights in model.taught_by else None


def relations(
    judge: Sequence[str], models: Mapping[str, Sequence[str]]
) -> tuple[str | None, dict[str, Relation]]:
    """The judge's family, and how each related model is related to it, by the model's label.

    `judge` and the values of `models` are the names that each goes by, see `lineage`.
    """
    own = lineage(*judge)
    found = {label: relation(own, lineage(*names)) for label, names in models.items()}
    return own.weights, {label: kind for label, kind in found.items() if kind is not None}


@cache
def _of_name(name: str) -> Lineage:
    table = _table()
    plain = _plain(name)
    for word in sorted(table.not_names, key=len, reverse=True):
        plain = plain.replace(word, " ")
    weights, taught = _matches(plain, table.weights), _matches(plain, table.taught)
    # "wizardlm-2" says another model than the "wizardlm" in it.
    weights = [match for match in weights if not _within_longer(match, weights)]
    taught = [match for match in taught if not _within_longer(match, weights)]
    teachers = [family for _, _, family in taught]
    if not weights:
        return Lineage(None, tuple(dict.fromkeys(teachers)))
    own = max(weights, key=lambda match: (match[1], -match[0]))[2]
    teachers += [family for _, _, family in weights if family != own]
    return Lineage(own, tuple(dict.fromkeys(teachers)))


def _within_longer(match: tuple[int, int, str], others: Sequence[tuple[int, int, str]]) -> bool:
    start, length, _ = match
    return any(
        at <= start and start + length <= at + long and long > length for at, long, _ in others
    )


@dataclass(frozen=True, slots=True)
class _Table:
    weights: Mapping[str, str]  # family by the word that begins a name
    taught: Mapping[str, str]
    not_names: tuple[str, ...]


@cache
def _table() -> _Table:
    import yaml

    raw = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    weights, taught = (
        {_plain(word): family for family, words in raw[kind].items() for word in words}
        for kind in ("weights", "taught")
    )
    return _Table(weights, taught, tuple(map(_plain, raw["not_names"])))


def _matches(plain: str, words: Mapping[str, str]) -> list[tuple[int, int, str]]:
    """(place, length, family) of every word that stands in a name, by place."""
    found = [
        (match.start(), len(word), family)
        for word, family in words.items()
        for match in re.finditer(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z])", plain)
    ]
    return sorted(found)


def _plain(name: str) -> str:
    """Small letters, one hyphen between words; a server's address is no part of a name."""
    model = name.removeprefix("openai:").removeprefix("local:")
    model = re.sub(r"@https?://.*$", "", model)
    return re.sub(r"[\s_:+/]+", "-", model.strip().lower())
