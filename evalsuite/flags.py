"""Values of flags: raw ones from the command line or a YAML file, checked, into a RunConfig.

Reads the table in config.py and knows each flag's type and limits by it; knows nothing of what the
flags do.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalsuite.config import RunConfig
from evalsuite.records import UserError


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
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{source}: {name} takes {_WANTED[kind]}, not {value}")
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
