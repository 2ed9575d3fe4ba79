"""What each command does: its options to the pipeline, what came of it to the terminal.

Imports nothing heavy before it is needed. Each function gets the parsed options and returns an exit
code; cli.py parses and catches errors.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.config import RunConfig
from evalsuite.flags import make_config, read_config_file
from evalsuite.records import UserError
from evalsuite.terminal import harmless, one_line

if TYPE_CHECKING:
    from evalsuite.gate import GateResult

EXIT_PART_FAILED = 4


def config_of(options: argparse.Namespace) -> RunConfig:
    """The flags as one RunConfig, over the values of --config."""
    values: dict[str, Any] = {}
    if options.config is not None:
        path = Path(options.config)
        from_file = read_config_file(path)
        make_config(from_file, str(path))  # names the file in what is wrong with it
        values = {str(name).replace("-", "_"): value for name, value in from_file.items()}
    names = {flag.name for flag in dataclasses.fields(RunConfig)}
    given = {n: v for n, v in vars(options).items() if n in names and v is not None}
    return make_config({**values, **given})


def run(options: argparse.Namespace) -> int:
    config = config_of(options)
    from evalsuite.pipeline import run

    outcome = run(config)
    for failure in outcome.leaderboard.failed:
        where = ", ".join(part for part in (failure.model, failure.task, failure.stage) if part)
        # One line: a text from elsewhere must not end up as a command in a CI's log.
        print(one_line(f"failed: {where}: {failure.error}", 2000), file=sys.stderr)
    if outcome.gate is not None:
        _announce(outcome.gate)
    print(outcome.report)
    return outcome.exit_code


def compare(options: argparse.Namespace) -> int:
    given = {
        n: v for n in ("margin", "critical", "strict") if (v := getattr(options, n)) is not None
    }
    config = make_config(given)
    from evalsuite.api import compare

    result = compare(
        [options.baseline, *options.more_baselines],
        options.runs,
        output=options.output or options.runs[0],
        margin=config.margin,
        critical=config.critical,
        strict=config.strict,
    )
    _announce(result)
    return result.exit_code


def _announce(result: GateResult) -> None:
    """The gate's words on the terminal, and where GitHub wants them."""
    from evalsuite.gate import append_step_summary, terminal_lines

    for line in terminal_lines(result):
        print(line)
    try:
        append_step_summary(result)
    except UserError as error:
        if not result.exit_code:
            raise
        # What the comparison came to counts before a page that can't be written.
        print(f"evalsuite: {error}", file=sys.stderr)


def baseline(options: argparse.Namespace) -> int:
    from evalsuite.gate import NotComparableError, load_side, write_baseline

    try:
        side = load_side(options.runs)
    except NotComparableError as error:
        raise UserError(f"these runs can't be pooled into one baseline: {error}") from error
    write_baseline(side, options.file)
    for one in side.failed:
        where = ", ".join(part for part in (one.model, one.task, one.stage) if part)
        said = f"note: {where} failed in the run and is not in the baseline"
        print(one_line(said), file=sys.stderr)
    print(options.file)
    return 0


def plan(options: argparse.Namespace) -> int:
    config = config_of(options)
    from evalsuite.plan import describe, plan

    print(harmless(describe(plan(config))))
    return 0


def judge(options: argparse.Namespace) -> int:
    if not options.audit:
        raise UserError(
            "a judge alone can only be audited: evalsuite judge --audit --judge NAME. It judges "
            "models in a run: evalsuite run --judge NAME"
        )
    config = config_of(options)
    from evalsuite.judge_audit import audit_judges

    outcome = audit_judges(config)
    for one in outcome.judges:
        print(harmless("\n".join(one.lines)))
        if one.missing:
            failed = f"failed: {one.name}: {one.missing} games are missing: {one.why}"
            print(one_line(failed, 2000), file=sys.stderr)
    if outcome.folder is not None:
        print(outcome.folder / "audit.json")
    return outcome.exit_code


def report(options: argparse.Namespace) -> int:
    from evalsuite.report import build_report, write_history

    if options.history is not None:
        if options.runs or options.output is not None:
            raise UserError("--history DIR lists the runs in a folder: name no run beside it")
        print(write_history(options.history.expanduser()))
        return 0
    if len(options.runs) > 1 and options.output is None:
        raise UserError("several runs into one report: name its folder with --output")
    print(build_report(options.runs, options.output, single_file=options.single_file or None))
    return 0


def import_(options: argparse.Namespace) -> int:
    from evalsuite.importing import import_run

    labels = None if options.judge_labels is None else Path(options.judge_labels).expanduser()
    done = import_run(
        options.format, options.path.expanduser(), options.output.expanduser(), labels
    )
    for note in done.notes:
        print(one_line(f"note: {note}", 2000), file=sys.stderr)
    print(done.report)
    return 0


def models(options: argparse.Namespace) -> int:
    from evalsuite.models.describe import describe_model, describe_models

    print(describe_model(options.name) if options.name else describe_models())
    return 0


def doctor(options: argparse.Namespace) -> int:
    from evalsuite.doctor import examine

    print(examine())
    return 0


def tasks(options: argparse.Namespace) -> int:
    from evalsuite.harness.catalog import describe, resolve

    if options.download is None:
        if options.data_dir is not None:
            raise UserError("--data-dir is for --download: name the suites or tasks to fetch")
        print(describe())
        return 0
    if options.data_dir is None:
        raise UserError("--download needs a folder for the data sets: --data-dir DIR")
    from evalsuite.harness.download import download

    specs = resolve(options.download)
    done = download(specs, options.data_dir.expanduser(), lambda line: print(line, flush=True))
    return EXIT_PART_FAILED if any(fetched.problem for fetched in done) else 0
