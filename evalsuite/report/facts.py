"""What is known of a run beside its scores: its manifest and its speed, for people.

Knows manifests (and lacks none of their optional keys); knows no HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalsuite.leaderboard import Run
from evalsuite.leaderboard.merge import Origin
from evalsuite.report import words
from evalsuite.report.view import RunFacts, SpeedLine


def speed_line(label: str, origin: Origin) -> SpeedLine | None:
    """What was computed for a model and how fast; None when its run did not say."""
    usage = (origin.run.manifest.get("usage") or {}).get(origin.name)
    if not usage:
        return None
    total, distinct = usage.get("total_tokens"), usage.get("distinct_tokens")
    seconds, asked = usage.get("seconds"), usage.get("requests")
    # A resumed run has its last start's seconds, and what that start computed beside them.
    computed = usage.get("computed_tokens", distinct)
    part = distinct / total if total and distinct is not None else None
    return SpeedLine(
        model=label,
        requests=words.count(asked),
        from_store=words.count(usage.get("from_store")),
        total=words.count(total),
        distinct=words.count(distinct),
        part=part,
        saved="" if part is None else f"{100 * (1 - part):.0f} % shared",
        new_tokens=words.count(usage.get("new_tokens")),
        seconds=words.duration(seconds),
        rate=words.count(computed / seconds) if seconds and computed else words.MISSING,
    )


def judging_cost(run: Run, *, named: bool = False) -> tuple[str, ...]:
    """What each judge took, in a sentence, and the dollars of all of them.

    A check without a model costs nothing and has no sentence. `named` puts the run's name first.
    """
    judging = run.manifest.get("judging") or {}
    asked = [one for one in judging.get("judges") or () if one.get("model") or one.get("calls")]
    if not asked:
        return ()
    where = f"{run.path.resolve().name}: " if named else ""
    lines = [
        f"{where}Judge {one.get('judge')}: {words.plural(int(one.get('calls') or 0), 'call')}, "
        f"{words.count(one.get('from_store'))} answers from the store, "
        f"{words.count(one.get('pending'))} games pending."
        for one in asked
    ]
    dollars = judging.get("dollars")
    if isinstance(dollars, int | float):
        lines.append(f"{where}Judging cost ${dollars:.2f} in all.")
    return tuple(lines)


def run_facts(run: Run) -> RunFacts:
    """A run's manifest for people; what it doesn't hold is left out."""
    manifest = run.manifest
    models = tuple(
        (
            str(m.get("name", "")),
            _pairs({k: v for k, v in m.items() if k not in ("name", "folder")}),
        )
        for m in manifest.get("models") or ()
    )
    groups = [
        (heading, _pairs(manifest.get(key) or {}))
        for heading, key in (
            ("Flags", "config"),
            ("Versions", "versions"),
            ("Hardware", "hardware"),
        )
    ]
    seconds = run.leaderboard.times.get("seconds")
    return RunFacts(
        path=run.path.resolve().name,
        when=words.day(manifest.get("created")),
        took=words.duration(seconds) if isinstance(seconds, int | float) else "",
        command=str(manifest.get("command", "")),
        seed=str(manifest.get("seed", "")),
        models=models,
        groups=tuple((heading, pairs) for heading, pairs in groups if pairs),
        notes=tuple(str(note) for note in manifest.get("notes") or ()),
    )


def _pairs(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    shown = []
    for key, value in values.items():
        if value is None or value in ("", [], {}):
            continue
        if key.endswith("bytes"):
            key, value = key.removesuffix("_bytes"), words.memory(value)
        elif key == "parameters":
            value = words.parameters(value)
        elif isinstance(value, list | tuple):
            value = " ".join(str(part) for part in value)
        shown.append((key.replace("_", " "), str(value)))
    return tuple(shown)


def _listed(origin: Origin) -> Mapping[str, Any]:
    models = origin.run.manifest.get("models") or ()
    return next((m for m in models if m.get("name") == origin.name), {})


def about(origin: Origin) -> str:
    """A model in a few words: its size and number format."""
    model = _listed(origin)
    size = words.parameters(model.get("parameters"))
    kind = str(model.get("dtype") or "")
    parts = [f"{size} parameters" if size else "", "" if kind == "auto" else kind]
    return ", ".join(part for part in parts if part)


def is_demo(origin: Origin) -> bool:
    """Whether the model is one of the embedded pair."""
    return "demo" in str(_listed(origin).get("note") or "").lower()


def task_infos(runs: Sequence[Run]) -> dict[str, Mapping[str, Any]]:
    """What the manifests say of each task, in their order."""
    infos: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        for name, info in (run.manifest.get("tasks") or {}).items():
            infos.setdefault(name, info or {})
    return infos
