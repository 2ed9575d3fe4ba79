"""Writes report.html: one file that needs no network and runs nothing but its own script.

Knows runs on disk, the page's records and jinja2; knows no model and no engine. The stylesheet and
the script stand inside the page, and its policy names their hashes: whatever a model wrote, the
browser runs and loads nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from evalsuite.files import write_atomically
from evalsuite.leaderboard import load_run
from evalsuite.records import UserError
from evalsuite.report import charts
from evalsuite.report.page import build_page

_HERE = files("evalsuite.report")
_STYLES = ("report.css", "judged.css", "compare.css")
_SCRIPTS = (
    *("base.js", "tasks.js", "data.js", "lists.js", "samples.js", "games.js"),
    *("pair.js", "duels.js", "compare.js", "start.js"),
)


def build_report(runs: Sequence[Path], output: Path | None = None) -> Path:
    """Writes report.html for one run or several (their models in one table) and returns its path.

    `output` is the folder for it; without one it goes into the run's own. The same runs give the
    same bytes.

    Raises:
        UserError: no run, a folder that is none, one named twice, several runs without `output`,
            an `output` that is another run's folder, a place that can't be written.
    """
    if not runs:
        raise UserError("name the folder of a run")
    places = [Path(run).resolve() for run in runs]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise UserError(f"{runs[number]}: the run is named twice; name each run once")
    if output is None and len(runs) > 1:
        raise UserError("several runs into one report: name its folder with --output")
    if output is not None and places != [Path(output).resolve()] and _holds_run(Path(output)):
        raise UserError(
            f"{output} is the folder of a run, whose own report would be lost: "
            "name another folder with --output"
        )
    loaded = [load_run(Path(run)) for run in runs]
    folder = loaded[0].path if output is None else Path(output)
    text = render(build_page(loaded))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "report.html", text)
    except OSError as error:
        raise UserError(f"{folder}: the report can't be written ({error.strerror})") from error
    return folder / "report.html"


def _holds_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("manifest.json", "leaderboard.json"))


def render(page: object) -> str:
    """The page's HTML, a `Page` of view.py in the template."""
    look, digest = style(*_STYLES)
    parts = "\n".join(_asset(name) for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{parts}}})();\n'
    # Markup: these are our own files, and a hash is of the exact text.
    return template("report.html.jinja").render(
        page=page, policy=policy(digest, _hash(script)), style=look, script=Markup(script)
    )


def style(*names: str) -> tuple[Markup, str]:
    """Stylesheets as one, and the hash by which a policy allows it."""
    text = "\n".join(_asset(name) for name in names)
    return Markup(text), _hash(text)


def policy(style: str, script: str = "") -> str:
    """What the browser may use, by hash: that style and that script, and nothing else."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{style}'",
            *([f"script-src '{script}'"] if script else []),
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def template(name: str) -> Template:
    """One of the page's templates, with everything from elsewhere escaped."""
    environment = Environment(
        loader=FunctionLoader(lambda name: (_HERE / "templates" / name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(charts=charts)
    return environment.get_template(name)


def _asset(name: str) -> str:
    text = (_HERE / "assets" / name).read_text("utf-8")
    if "</s" in text.lower():
        raise ValueError(f"{name} would end its own element")
    return text


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
