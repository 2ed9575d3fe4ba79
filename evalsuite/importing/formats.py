"""The formats by name. The one place that lists them; loads a format's reader when it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from evalsuite.importing.published import Published
from evalsuite.records import UserError

FORMATS: Mapping[str, str] = {
    "vicuna-blog": "the Vicuna blog's tables: folder with question.jsonl, answer/ and review/",
    "mt-bench": "FastChat's model_judgment: a file, or the folder of it",
    "alpaca-eval": "alpaca_eval's annotations.json, a folder of them, or a table of preferences",
    "lm-eval": "lm-eval's output folder: results_<date>.json and samples",
}
_READERS = {
    "vicuna-blog": ("vicuna_blog", "read_vicuna_blog"),
    "mt-bench": ("mt_bench", "read_mt_bench"),
    "alpaca-eval": ("alpaca_eval", "read_alpaca_eval"),
    "lm-eval": ("lm_eval_results", "read_lm_eval"),
}


def read_format(name: str, path: Path) -> Published:
    """What is at `path`, read in the format of this name.

    Raises:
        UserError: no such format or path, or files that are not in that format.
    """
    if name not in _READERS:
        raise UserError(f"no format {name!r}: it is one of {', '.join(FORMATS)}")
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    module, function = _READERS[name]
    reader = getattr(import_module(f"evalsuite.importing.{module}"), function)
    published: Published = reader(path)
    return published
