"""Where the judging room's own files lie: questions, prompts, presets, prices.

Knows the folder and how a YAML mapping is read; must not know what the files mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalsuite.reading import read_text
from evalsuite.records import UserError


def judge_folder() -> Path:
    """tasks/judge: inside an installed package, else in the clone."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "_tasks"
    return (packaged if packaged.is_dir() else package.parent / "tasks") / "judge"


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        UserError: it can't be read, is not YAML, or holds something else.
    """
    import yaml

    try:
        loaded = yaml.safe_load(read_text(path, what))
    except yaml.YAMLError as error:
        raise UserError(f"{what} {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{what} {path} must be a mapping")
    return loaded
