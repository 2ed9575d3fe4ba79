"""Writes report.html: it needs no network and runs nothing but its own script.

Knows runs on disk, the page's records and jinja2; knows no model and no engine. The stylesheet and
the script stand inside the page, and its policy names their hashes: whatever a model wrote, the
browser runs and loads nothing else but, for a page with parts beside it, what that script asks for.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from evalsuite.files import write_atomically
from evalsuite.leaderboard import Run, load_run
from evalsuite.leaderboard.tables import GAMES, SAMPLES, samples_table, write_games
from evalsuite.records import UserError
from evalsuite.report import charts
from evalsuite.report.page import build_page
from evalsuite.report.shards import INSIDE, Shards, prune

_HERE = files("evalsuite.report")
_STYLES = ("report.css", "judged.css", "compare.css")
_SCRIPTS = (
    *("base.js", "tasks.js", "data.js", "lists.js", "samples.js", "games.js"),
    *("pair.js", "duels.js", "compare.js", "start.js"),
)


_SHARDS = "<!-- shards -->"  # no text can hold it: the template escapes "<"


def build_report(
    runs: Sequence[Path],
    output: Path | None = None,
    *,
    single_file: bool | None = None,
    inside: int = INSIDE,
) -> Path:
    """Writes report.html for one run or several (their models in one table) and returns its path.

    `output` is the folder for it; without one it goes into the run's own. The texts of more samples
    than `inside` go into report_data/ beside it unless it is to be a `single_file` (None: as the
    first run was told). Samples and games are written there as tables, too (samples.parquet,
    matches.parquet). The same runs give the same bytes.

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
    if single_file is None:
        single_file = bool((loaded[0].manifest.get("config") or {}).get("single-file"))
    beside = not single_file and sum(map(_samples, loaded)) > inside
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            Shards(folder if beside else None) as shards,
            samples_table(folder / SAMPLES, _metrics(loaded)) as table,
        ):
            page = build_page(loaded, shards, table)
            head, tail = render(page, beside).split(_SHARDS)
            write_atomically(folder / "report.html", _joined(head, shards, tail))
            prune(folder, shards.names)
            table.finish()
        write_games(folder / GAMES, ((run.path.resolve().name, run.games()) for run in loaded))
    except OSError as error:
        raise UserError(f"{folder}: the report can't be written ({error.strerror})") from error
    return folder / "report.html"


def _samples(run: Run) -> int:
    """How many samples a run says that it has."""
    return sum(
        max((metric.n for metric in task.metrics.values()), default=0)
        for model in run.leaderboard.models
        for task in model.tasks.values()
    )


def _metrics(runs: Sequence[Run]) -> Iterator[str]:
    """The names under which samples have their numbers: lm-eval's, with a filter that is one."""
    for run in runs:
        for model in run.leaderboard.models:
            for task in model.tasks.values():
                yield from (name.removesuffix(",none") for name in task.metrics)


def _joined(head: str, shards: Shards, tail: str) -> Iterator[str]:
    yield head
    for name, packed in shards.inside():
        yield f'<script type="application/gzip;base64" id="{name}">{packed}</script>\n'
    yield tail


def _holds_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("manifest.json", "leaderboard.json"))


def render(page: object, beside: bool = False) -> str:
    """The page's HTML, a `Page` of view.py in the template, with a mark where its parts belong.

    With parts `beside` it the policy allows the scripts that the page's own script asks for.
    """
    look, digest = style(*_STYLES)
    parts = "\n".join(_asset(name) for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{parts}}})();\n'
    # Markup: these are our own files, and a hash is of the exact text.
    return template("report.html.jinja").render(
        page=page,
        beside=beside,
        policy=policy(digest, _hash(script), beside),
        style=look,
        script=Markup(script),
    )


def style(*names: str) -> tuple[Markup, str]:
    """Stylesheets as one, and the hash by which a policy allows it."""
    text = "\n".join(_asset(name) for name in names)
    return Markup(text), _hash(text)


def policy(style: str, script: str = "", beside: bool = False) -> str:
    """What the browser may use, by hash: that style and that script, and nothing else.

    With parts `beside` the page, the scripts that its own script asks for as well.
    """
    asked_for = " 'strict-dynamic'" if beside else ""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{style}'",
            *([f"script-src '{script}'{asked_for}"] if script else []),
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
    environment.filters["breakable"] = breakable
    return environment.get_template(name)


def breakable(name: str) -> Markup:
    """A name that a narrow column may break after its signs, not in the middle of a word."""
    return Markup("<wbr>").join(re.findall(r"[^_/.@:-]*[_/.@:-]+|[^_/.@:-]+", name))


def _asset(name: str) -> str:
    text = (_HERE / "assets" / name).read_text("utf-8")
    if "</s" in text.lower():
        raise ValueError(f"{name} would end its own element")
    return text


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
