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
from typing import Any, NoReturn

from evalsuite import __version__, commands
from evalsuite.config import RunConfig
from evalsuite.flags import is_list, value_type
from evalsuite.records import UserError
from evalsuite.terminal import harmless, one_line

EXIT_INTERRUPTED = 130

_GROUPS = {
    "what": "what to measure",
    "models": "the models",
    "judge": "judged games",
    "gate": "comparing with a baseline",
    "where": "where things go, and what is shown",
}
# What `judge --audit` takes of a run's flags.
_OF_AN_AUDIT = (
    *("judge", "judge_preset", "judge_prompts", "judge_repeats", "judge_prices", "budget"),
    *("api_key_env", "template", "device", "dtype", "quantize", "max_length", "engine"),
    *("output", "store", "refresh", "progress", "debug"),
)
_EXIT_CODES = """exit codes:
  0 all is well · 2 wrong usage, or runs that can't be compared · 1 a regression ·
  4 part of the run failed (the rest is in the report) · 3 under --strict: not shown, or could not
  have been seen · 130 interrupted: the same command goes on where it stopped"""


class _Parser(argparse.ArgumentParser):
    """Bad usage is one line with what to do, not the whole usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{one_line(f'{self.prog}: {message}', 2000)}; see {self.prog} --help\n")


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
        print(harmless(f"evalsuite: {error}"), file=sys.stderr)
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
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)

    run = _command(parsers, "run", "evaluate models, write leaderboard and report", commands.run)
    _add_run_flags(run)
    plan = _command(
        parsers, "plan", "what `run` with the same flags would take; starts nothing", commands.plan
    )
    _add_run_flags(plan)

    judge = _command(
        parsers, "judge", "try a judge on pairs whose better answer is known", commands.judge
    )
    judge.add_argument(
        "--audit",
        action="store_true",
        help="play the built-in pairs and say whether the judge is fit for use",
    )
    _add_flags(judge, _OF_AN_AUDIT)
    judge.add_argument("--config", metavar="FILE", help="YAML file with flags by their names")

    report = _command(
        parsers, "report", "build report.html again from runs on disk", commands.report
    )
    report.add_argument("runs", metavar="RUN", nargs="*", type=Path, help="folder of a run")
    report.add_argument(
        "--output", metavar="DIR", type=Path, help="folder for it; needed for several runs"
    )
    report.add_argument(
        "--single-file", action="store_true", help="all samples in report.html, however many"
    )
    report.add_argument(
        "--history",
        metavar="DIR",
        type=Path,
        help="instead: write index.html of a folder of runs, with trends from run to run",
    )
    report.add_argument("--debug", action="store_true", help="show tracebacks of errors")

    imported = _command(
        parsers,
        "import",
        "make a run of published judgments or of lm-eval's results",
        commands.import_,
    )
    imported.add_argument(
        "format", metavar="FORMAT", help="vicuna-blog, mt-bench, alpaca-eval or lm-eval"
    )
    imported.add_argument("path", metavar="PATH", type=Path, help="the file or folder to read")
    imported.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="folder for the run"
    )
    _add_flags(imported, ("judge_labels",))
    imported.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    compare = _command(
        parsers, "compare", "is a run worse than its baseline? exit code 1 if so", commands.compare
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
        parsers,
        "baseline",
        "write runs as one small baseline file, without texts",
        commands.baseline,
    )
    baseline.add_argument(
        "runs", metavar="RUN", nargs="+", type=Path, help="folder of a run; several are pooled"
    )
    baseline.add_argument("file", metavar="FILE", type=Path, help="the file to write")
    baseline.add_argument("--debug", action="store_true", help="show tracebacks of errors")

    models = _command(
        parsers, "models", "list the models known by name, or tell all of one", commands.models
    )
    models.add_argument("name", metavar="NAME", nargs="?", help="a registry name or alias")
    models.add_argument("--debug", action="store_true", help="show tracebacks of errors")

    doctor = _command(
        parsers, "doctor", "what this machine can do: devices, keys, network", commands.doctor
    )
    doctor.add_argument("--debug", action="store_true", help="show tracebacks of errors")

    tasks = _command(
        parsers, "tasks", "list suites and tasks, or fetch the data sets they read", commands.tasks
    )
    tasks.add_argument(
        "--download", metavar="NAME", nargs="+", help="suites or tasks whose data sets to fetch"
    )
    tasks.add_argument("--data-dir", metavar="DIR", type=Path, help="folder for them")
    tasks.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    return parser


def _command(parsers: Any, name: str, help: str, call: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = parsers.add_parser(
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
