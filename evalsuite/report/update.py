"""The gate's parts of a report that is there already, made anew; the rest stays as it is.

Knows the comments that the templates put around these parts; knows no sample and no game.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

from evalsuite.files import write_atomically
from evalsuite.leaderboard import load_run
from evalsuite.report.gate import gate_view
from evalsuite.report.html import build_report, template

# No text of a run can hold such a comment: its "<" is escaped. A template that stands in one is
# rendered with `page.gate` and nothing else.
_PART = re.compile(r"(<!--gate: ([\w.]+)-->).*?(<!--/gate-->)", re.DOTALL)
PARTS = ("gate_link.html.jinja", "gate_line.html.jinja", "gate.html.jinja")


def update_gate(folder: Path) -> Path:
    """A run's own report with what its gate.json says now; returns its path.

    It takes no longer for a run of a million samples than for one of ten. Where there is no report,
    or one without the gate's places, the whole page is built.

    Raises:
        UserError: as build_report.
    """
    path = folder / "report.html"
    try:
        text = path.read_bytes().decode()
    except (FileNotFoundError, UnicodeDecodeError):
        text = ""
    if tuple(part[2] for part in _PART.finditer(text)) != PARTS:
        return build_report([folder])
    page = SimpleNamespace(gate=gate_view(load_run(folder)))
    made = {name: template(name).render(page=page) for name in PARTS}
    write_atomically(path, _PART.sub(lambda part: part[1] + made[part[2]] + part[3], text))
    return path
