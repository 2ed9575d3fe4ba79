"""Task files as plain data: nothing that they name is imported or run.

Knows YAML and how a file nests its tasks; it must not know which tasks there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from evalsuite.records import UserError


class _DataLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as data: lm-eval's `!function module.name` stays text, nothing is imported."""


def _tag_as_text(loader: Any, _suffix: str, node: yaml.Node) -> Any:
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


_DataLoader.add_multi_constructor("!", _tag_as_text)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds, with `!function` values as text.

    Raises UserError, naming file and line, when it can't be read or is no mapping.
    """
    try:
        data = yaml.load(path.read_bytes(), Loader=_DataLoader)
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not a UTF-8 text file.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(f"{path}{where}: not valid YAML: {problem}.") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: not a task: expected `key: value` lines at the top level.")
    return data


def leaves(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The definitions of single tasks in a file: itself, or those below its groups."""
    members = config.get("task")
    if not isinstance(members, list):
        yield config
        return
    for member in members:
        if isinstance(member, Mapping):
            yield from leaves(member)
