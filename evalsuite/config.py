"""One frozen RunConfig, and where its values come from: flags over a YAML file over defaults.

The table of fields below is the single source of every flag: its name, help text, type and limits.
The command line and the config file are both read from it. Knows nothing of what the flags do.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalsuite.records import UserError


def _flag(
    default: Any,
    help: str,
    *,
    metavar: str | None = None,
    choices: tuple[str, ...] | None = None,
    minimum: int | None = None,
    group: str,
    identity: bool = True,
) -> Any:
    """A field that is a flag. `identity` False: the flag doesn't change what a run measures."""
    return field(
        default=default,
        metadata={
            "help": help,
            "metavar": metavar,
            "choices": choices,
            "minimum": minimum,
            "group": group,
            "identity": identity,
        },
    )


def default_store() -> Path:
    """The store's place when no flag names one: the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(cache) / "evalsuite" / "store.db"


@dataclass(frozen=True)
class RunConfig:
    """Everything a run is told. Field names are the flags' names with `_` for `-`."""

    models: tuple[str, ...] = _flag(
        (),
        "a name that `evalsuite models` lists, a local folder, a hub repo id, demo-small or "
        "demo-large, openai:MODEL or openai:MODEL@URL; LABEL=MODEL gives a name of your own, "
        "MODEL+ADAPTER merges a LoRA adapter. "
        "Default: the embedded demo pair",
        metavar="NAME",
        group="what",
    )
    tasks: tuple[str, ...] = _flag(
        (),
        "suites or tasks, or paths of lm-eval YAML files; lm-eval:NAME is that library's own task. "
        "Default: core; with the demo pair: starter. `evalsuite tasks` lists them",
        metavar="NAME",
        group="what",
    )
    limit: int | None = _flag(
        None,
        "only the first N documents of each task (for trying things out)",
        metavar="N",
        minimum=1,
        group="what",
    )
    num_fewshot: int | None = _flag(
        None,
        "worked examples before each question; default: the task's own number",
        metavar="N",
        minimum=0,
        group="what",
    )
    data_dir: Path | None = _flag(
        None,
        "folder with the benchmarks' data, for machines without a hub: DIR/org__name or "
        "DIR/org/name a data set",
        metavar="DIR",
        group="what",
    )
    unsafe_code_execution: bool = _flag(
        False,
        "run programs that models wrote without a sandbox, and say so in every result; without it "
        "tasks that run them are skipped where no sandbox works",
        group="what",
    )
    chat: str = _flag(
        "auto",
        "tasks as conversations in the model's prompt format. auto: for instruction models (one "
        "that the registry knows, or a folder with a chat template), never for base models",
        choices=("auto", "always", "never"),
        group="models",
    )
    chat_fewshot: str = _flag(
        "turns",
        "with a prompt format, worked examples are turns of the conversation, or stand in one "
        "message with the question",
        choices=("turns", "one"),
        group="models",
    )
    revision: str | None = _flag(
        None, "commit, tag or branch of hub models", metavar="REV", group="models"
    )
    template: str | None = _flag(
        None,
        "prompt format of conversations for all models; default: the registry's, else the "
        "folder's own",
        metavar="NAME",
        group="models",
    )
    max_length: int | None = _flag(
        None,
        "context in tokens; default: the checkpoint's own. Longer requests lose tokens on the "
        "left, which the report counts",
        metavar="N",
        minimum=2,
        group="models",
    )
    engine: str = _flag(
        "torch",
        "what computes: torch is evalsuite's own LLaMA, hf whatever transformers runs (slower: it "
        "shares no prefixes)",
        choices=("torch", "hf"),
        group="models",
    )
    device: str = _flag(
        "auto", "auto (the first GPU, else the CPU), cpu, cuda, cuda:N", group="models"
    )
    dtype: str = _flag(
        "auto",
        "numbers to compute in; auto: the checkpoint's own, where the device can",
        choices=("auto", "float32", "bfloat16", "float16"),
        group="models",
    )
    quantize: str | None = _flag(
        None,
        "keep the layers' weights as int8, or int4 (NVIDIA GPUs only): a half or a quarter of "
        "bfloat16's memory, and slightly other numbers; needs torchao",
        choices=("int8", "int4"),
        group="models",
    )
    workers: int | None = _flag(
        None,
        "processes that compute side by side, a GPU each; default: one for every GPU, one on a "
        "CPU. A model too large for one GPU is divided over several",
        metavar="N",
        minimum=1,
        group="models",
        identity=False,
    )
    seed: int = _flag(
        0,
        "seed of sampled answers and of the resampling behind the intervals",
        metavar="N",
        minimum=0,
        group="models",
    )
    judge: str | None = _flag(
        None,
        "who compares the models' answers pairwise: gpt-4, openai:MODEL, openai:MODEL@URL, "
        "local:MODEL, reference (checks answers against known ones, no model) or none. Default: "
        "gpt-4 when OPENAI_API_KEY is set and models are named, else reference",
        metavar="NAME",
        group="judge",
    )
    judge_questions: Path | None = _flag(
        None,
        "questions in FastChat's question.jsonl format; default: our own",
        metavar="FILE",
        group="judge",
    )
    judge_repeats: int = _flag(
        1, "how often each game is judged", metavar="N", minimum=1, group="judge"
    )
    budget: float | None = _flag(
        None,
        "dollars that judging may cost at most; without it a paid judge asks at a terminal",
        metavar="USD",
        minimum=0,
        group="judge",
        identity=False,
    )
    api_key_env: str | None = _flag(
        None,
        "environment variable with the API key of openai:MODEL@URL (OPENAI_API_KEY itself goes to "
        "api.openai.com only)",
        metavar="VAR",
        group="judge",
        identity=False,
    )
    baseline: tuple[str, ...] = _flag(
        (),
        "a run's folder or a file of `evalsuite baseline` to compare with; exit code 1 when the "
        "run has regressed. Several are pooled",
        metavar="RUN",
        group="gate",
        identity=False,
    )
    margin: float = _flag(
        1.0,
        "points (hundredths) that may be lost without it being a regression",
        metavar="POINTS",
        minimum=0,
        group="gate",
        identity=False,
    )
    critical: tuple[str, ...] = _flag(
        (),
        "tasks that must hold by themselves: they get half of the error rate that all tasks share, "
        "and the verdict is no better than theirs",
        metavar="TASK",
        group="gate",
        identity=False,
    )
    strict: bool = _flag(
        False,
        "exit code 3 unless it is shown that there is no drop beyond the margin",
        group="gate",
        identity=False,
    )
    output: Path | None = _flag(
        None,
        "folder of the run; default: reports/<date>-<models>. An unfinished run there is resumed, "
        "a finished one is never overwritten",
        metavar="DIR",
        group="where",
        identity=False,
    )
    store: Path | None = _flag(
        None,
        "file that keeps what was computed; default: evalsuite/store.db in your cache folder",
        metavar="FILE",
        group="where",
        identity=False,
    )
    refresh: bool = _flag(
        False, "compute again what the store already has", group="where", identity=False
    )
    progress: str = _flag(
        "auto",
        "auto: a bar at a terminal, else plain lines",
        choices=("auto", "plain", "json", "none"),
        group="where",
        identity=False,
    )
    debug: bool = _flag(False, "show tracebacks of errors", group="where", identity=False)

    def identity(self) -> dict[str, Any]:
        """The flags that decide what is measured: two runs with equal ones are the same run."""
        return {
            f.name: _plain(getattr(self, f.name))
            for f in dataclasses.fields(self)
            if f.metadata["identity"]
        }

    def flags(self) -> dict[str, Any]:
        """Every flag that differs from its default, by its name, in YAML's types."""
        return {
            f.name.replace("_", "-"): _plain(getattr(self, f.name))
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def value_type(flag: dataclasses.Field[Any]) -> Any:
    """The type of one value of a flag (an optional's or a tuple's inner): int, float, str, …"""
    hint = typing.get_type_hints(RunConfig)[flag.name]
    if isinstance(hint, types.UnionType):
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    return typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint


def is_list(flag: dataclasses.Field[Any]) -> bool:
    """Whether a flag takes several values."""
    return typing.get_origin(typing.get_type_hints(RunConfig)[flag.name]) is tuple


_WANTED = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    Path: "a path",
}


def make_config(given: Mapping[str, Any], source: str = "the command line") -> RunConfig:
    """A RunConfig from raw values by flag name, every value checked.

    Raises:
        UserError: an unknown name (with the nearest one), a wrong type or a value out of range.
    """
    flags = {f.name: f for f in dataclasses.fields(RunConfig)}
    values = {}
    for raw_name, value in given.items():
        name = str(raw_name).replace("-", "_")
        if name not in flags:
            near = difflib.get_close_matches(name, flags, n=1)
            hint = f"; did you mean {near[0].replace('_', '-')}?" if near else ""
            raise UserError(f"{source}: unknown key {raw_name!r}{hint}")
        if value is not None:
            values[name] = _checked(flags[name], value, source)
    return RunConfig(**values)


def _checked(flag: dataclasses.Field[Any], value: Any, source: str) -> Any:
    name, kind = f"--{flag.name.replace('_', '-')}", value_type(flag)
    if is_list(flag):
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not all(isinstance(v, str) for v in items):
            raise UserError(f"{source}: {name} takes a list of names, not {value!r}")
        return tuple(items)
    if kind is Path and isinstance(value, (str, Path)) and str(value):
        return Path(value).expanduser()
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    # A bool is an int to Python; `limit: true` in a file is a mistake all the same.
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        wanted = _WANTED[kind]
        raise UserError(f"{source}: {name} takes {wanted}, not {value!r}")
    minimum, choices = flag.metadata["minimum"], flag.metadata["choices"]
    if minimum is not None and value < minimum:
        raise UserError(f"{source}: {name} must be {minimum} or more, not {value}")
    if choices is not None and value not in choices:
        raise UserError(f"{source}: {name} is one of {', '.join(choices)}; not {value!r}")
    return value


def read_config_file(path: Path) -> dict[str, Any]:
    """The values in a YAML config file, unchecked, by flag name.

    Raises:
        UserError: no such file, not YAML, or not a mapping.
    """
    import yaml

    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the config file {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not a YAML file: {reason}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise UserError(f"{path} must map flag names to values, as in `limit: 100`")
    return loaded
