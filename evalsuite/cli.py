"""The commands: parse, call the pipeline, turn outcomes into exit codes.

Imports nothing heavy before it is needed: `--help` must answer at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from evalsuite import __version__
from evalsuite.config import (
    RunConfig,
    is_list,
    make_config,
    read_config_file,
    value_type,
)
from evalsuite.records import UserError

if TYPE_CHECKING:
    from evalsuite.gate import GateResult

EXIT_INTERRUPTED = 130
EXIT_PART_FAILED = 4

_GROUPS = {
    "what": "what to measure",
    "models": "the models",
    "judge": "judged games",
    "gate": "comparing with a baseline",
    "where": "where things go, and what is shown",
}
_EXIT_CODES = """exit codes:
  0 all is well · 2 wrong usage, or runs that can't be compared · 1 a regression ·
  4 part of the run failed (the rest is in the report) · 3 under --strict: not shown, or could not
  have been seen · 130 interrupted: the same command goes on where it stopped"""


class _Parser(argparse.ArgumentParser):
    """Bad usage is one line with what to do, not the whole usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    parser = _make_parser()
    options = parser.parse_args(arguments)
    debug = getattr(options, "debug", None) or os.environ.get("EVALSUITE_DEBUG") == "1"
    # Both have to be set before torch is first imported. Threads that spin while they wait for each
    # other make a busy machine ten times slower. Large pages save a CPU the faults of the 4 kB ones
    # (24,000 in a pack of 2,000 tokens): scoring is 5 % faster.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        return int(options.call(options))
    except UserError as error:
        if debug:
            raise
        print(f"evalsuite: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        if debug:
            raise
        print("\nevalsuite: interrupted; the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`); Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="evalsuite",
        description="Evaluates LLaMA-family models and writes a leaderboard one can trust.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"evalsuite {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = _command(commands, "run", "evaluate models, write leaderboard and report", _run)
    _add_run_flags(run)
    plan = _command(
        commands, "plan", "what `run` with the same flags would take; starts nothing", _plan
    )
    _add_run_flags(plan)

    report = _command(commands, "report", "build report.html again from runs on disk", _report)
    report.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="folder of a run")
    report.add_argument(
        "--output", metavar="DIR", type=Path, help="folder for it; needed for several runs"
    )
    report.add_argument("--debug", action="store_true", help="show tracebacks of errors")

    imported = _command(
        commands, "import", "make a run of published judgments or of lm-eval's results", _import
    )
    imported.add_argument(
        "format", metavar="FORMAT", help="vicuna-blog, mt-bench, alpaca-eval or lm-eval"
    )
    imported.add_argument("path", metavar="PATH", type=Path, help="the file or folder to read")
    imported.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="folder for the run"
    )
    imported.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    compare = _command(
        commands, "compare", "is a run worse than its baseline? exit code 1 if so", _compare
    )
    compare.add_argument(
        "baseline", metavar="BASELINE", type=Path, help="folder of a run, or a baseline file"
    )
    compare.add_argument(
        "runs", metavar="RUN", nargs="+", type=Path, help="folder of the run; several are pooled"
    )
    compare.add_argument(
        "--more-baselines",
        metavar="RUN",
        nargs="+",
        type=Path,
        default=[],
        help="more runs of the baseline, pooled with it",
    )
    compare.add_argument(
        "--output", metavar="DIR", type=Path, help="folder for the outcome; default: the run's"
    )
    _add_flags(compare, ("margin", "critical", "strict"))
    compare.add_argument("--debug", action="store_true", help="show tracebacks of errors")

    baseline = _command(
        commands, "baseline", "write runs as one small baseline file, without texts", _baseline
    )
    baseline.add_argument(
        "runs", metavar="RUN", nargs="+", type=Path, help="folder of a run; several are pooled"
    )
    baseline.add_argument("file", metavar="FILE", type=Path, help="the file to write")
    baseline.add_argument("--debug", action="store_true", help="show tracebacks of errors")

    models = _command(
        commands, "models", "list the models known by name, or tell all of one", _models
    )
    models.add_argument("name", metavar="NAME", nargs="?", help="a registry name or alias")
    models.add_argument("--debug", action="store_true", help="show tracebacks of errors")

    doctor = _command(
        commands, "doctor", "what this machine can do: devices, keys, network", _doctor
    )
    doctor.add_argument("--debug", action="store_true", help="show tracebacks of errors")

    tasks = _command(
        commands, "tasks", "list suites and tasks, or fetch the data sets they read", _tasks
    )
    tasks.add_argument(
        "--download", metavar="NAME", nargs="+", help="suites or tasks whose data sets to fetch"
    )
    tasks.add_argument("--data-dir", metavar="DIR", type=Path, help="folder for them")
    tasks.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser


def _command(commands: Any, name: str, help: str, call: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=_EXIT_CODES if name in ("run", "compare") else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(call=call)
    return parser


def _add_run_flags(parser: argparse.ArgumentParser) -> None:
    groups = {key: parser.add_argument_group(title) for key, title in _GROUPS.items()}
    for flag in dataclasses.fields(RunConfig):
        _add_flag(groups[flag.metadata["group"]], flag)
    groups["where"].add_argument(
        "--config", metavar="FILE", help="YAML file with flags by their names; flags given here win"
    )


def _add_flags(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    for flag in dataclasses.fields(RunConfig):
        if flag.name in names:
            _add_flag(parser, flag)


def _add_flag(parser: Any, flag: dataclasses.Field[Any]) -> None:
    """A flag of the table, on a parser or a group of one."""
    name, about = f"--{flag.name.replace('_', '-')}", flag.metadata
    kind, given = value_type(flag), dict[str, Any]()
    if kind is bool:
        given["action"] = argparse.BooleanOptionalAction
    else:
        given["type"] = str if kind is Path else kind
        given["metavar"] = about["metavar"]
        given["choices"] = about["choices"]
    if is_list(flag):
        given["nargs"] = "+"
    # None marks a flag that was not given, so that a config file's value can stand.
    parser.add_argument(name, help=about["help"].replace("%", "%%"), default=None, **given)


def _config(options: argparse.Namespace) -> RunConfig:
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


def _run(options: argparse.Namespace) -> int:
    config = _config(options)
    from evalsuite.pipeline import run

    outcome = run(config)
    for failure in outcome.leaderboard.failed:
        where = ", ".join(part for part in (failure.model, failure.task, failure.stage) if part)
        print(f"failed: {where}: {failure.error}", file=sys.stderr)
    if outcome.gate is not None:
        _announce(outcome.gate)
    print(outcome.report)
    return outcome.exit_code


def _compare(options: argparse.Namespace) -> int:
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
    append_step_summary(result)


def _baseline(options: argparse.Namespace) -> int:
    from evalsuite.gate import NotComparableError, load_side, write_baseline

    try:
        side = load_side(options.runs)
    except NotComparableError as error:
        raise UserError(f"these runs can't be pooled into one baseline: {error}") from error
    write_baseline(side, options.file)
    print(options.file)
    return 0


def _plan(options: argparse.Namespace) -> int:
    config = _config(options)
    from evalsuite.plan import describe, plan

    print(describe(plan(config)))
    return 0


def _report(options: argparse.Namespace) -> int:
    from evalsuite.report import build_report

    if len(options.runs) > 1 and options.output is None:
        raise UserError("several runs into one report: name its folder with --output")
    print(build_report(options.runs, options.output))
    return 0


def _import(options: argparse.Namespace) -> int:
    from evalsuite.importing import import_run

    done = import_run(options.format, options.path.expanduser(), options.output.expanduser())
    for note in done.notes:
        print(f"note: {note}", file=sys.stderr)
    print(done.report)
    return 0


def _models(options: argparse.Namespace) -> int:
    from evalsuite.models.describe import describe_model, describe_models

    print(describe_model(options.name) if options.name else describe_models())
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from evalsuite.doctor import examine

    print(examine())
    return 0


def _tasks(options: argparse.Namespace) -> int:
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
