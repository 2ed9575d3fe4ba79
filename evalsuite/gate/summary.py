"""A comparison in markdown, for a pull request's page: summary.md.

Knows the gate's records and markdown; every name and message in it is escaped.
"""

from __future__ import annotations

from evalsuite.gate.escape import markdown
from evalsuite.gate.records import HELD, REGRESSED, GateResult, Line
from evalsuite.gate.words import headline, p_value, signed

_ROWS = 200  # most lines of a table: GitHub cuts a summary at a megabyte
_LISTED = 50
_MARKS = {REGRESSED: "❌", HELD: "✅"}


def to_markdown(result: GateResult) -> str:
    """The text of summary.md."""
    mark = "⛔" if result.verdict is None else _MARKS.get(result.verdict, "⚠️")
    said = headline(result)
    parts = [f"## evalsuite gate: {mark} {markdown(result.verdict or 'not comparable')}", ""]
    parts += [markdown(said[0].upper() + said[1:]), ""]
    parts += _listed("What differs", result.differences)
    for model in result.models:
        title = f"### {markdown(model.name)}: {markdown(model.verdict)}"
        head = [
            "| | verdict | baseline | run | difference | at worst | visible drop | p | items |",
            "|---|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        # What regressed first: a long table is cut at its end.
        lines = sorted(model.lines, key=lambda line: line.verdict != REGRESSED)
        rows = [_row(line) for line in (*([model.mean] if model.mean else ()), *lines)]
        parts += [title, "", *head, *rows[:_ROWS], ""]
        if len(rows) > _ROWS:
            parts += [f"{len(rows) - _ROWS} more lines are in gate.json.", ""]
    parts += _listed("Failed", result.failed)
    parts += _listed("Notes", result.notes)
    if result.models:
        parts += [
            "Points are hundredths. “At worst” is the one-sided 95 % bound of the difference, "
            "“visible drop” the smallest that would have been found in 80 % of such runs; p is "
            "adjusted by Holm over the tasks.",
            "",
        ]
    return "\n".join(parts)


def _row(line: Line) -> str:
    name = markdown(line.name) + (" (critical)" if line.critical else "")
    name = f"judge {name}" if line.kind == "judge" else name
    name = f"**{name}**" if line.kind == "mean" else name
    said = f"{_MARKS.get(line.verdict, '')} {markdown(line.verdict)}".strip()
    said += f" ({markdown(line.reason)})" if line.reason else ""
    cells = [name, said, _plain(line.baseline), _plain(line.run)]
    cells += ["" if v is None else signed(v) for v in (line.difference, line.lower)]
    cells.append(_plain(line.visible_drop))
    cells.append("" if line.p_adjusted is None else markdown(p_value(line.p_adjusted)))
    cells.append(f"{line.items:,}" + (f" ({line.lost:,} lost)" if line.lost else ""))
    return f"| {' | '.join(cells)} |"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _listed(title: str, lines: tuple[str, ...]) -> list[str]:
    if not lines:
        return []
    items = [f"- {markdown(line)}" for line in lines[:_LISTED]]
    if len(lines) > _LISTED:
        items.append(f"- and {len(lines) - _LISTED} more")
    return [f"### {title}", "", *items, ""]
