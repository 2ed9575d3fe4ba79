"""Where a task's documents come from: the hub, local copies of it (`--data-dir`), or JSON files.

lm-eval asks for data by one call, `datasets.load_dataset(path, name, ...)`; this module answers it
and leaves lm-eval's recorded path as it is. It knows files and features; it must not know tasks,
prompts or models. With a data folder nothing here ever reaches for the network.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from evalsuite.records import UserError

REACH_SECONDS = 3.0  # how long the hub may take to accept a connection before it counts as away


@dataclass(frozen=True)
class Source:
    """Where to look: `data_dir` for hub data sets, `base` for paths relative to a task's YAML.

    `task` is whom it is for, for the command that gets what is missing.
    """

    data_dir: Path | None = None
    base: Path | None = None
    task: str = "SUITE"


_source: ContextVar[Source | None] = ContextVar("evalsuite_data_source", default=None)


@contextmanager
def serving(source: Source) -> Iterator[None]:
    """While this is open, `datasets.load_dataset` answers from `source`."""
    import datasets

    original = datasets.load_dataset
    token = _source.set(source)
    # Code that kept a reference to the wrapper and calls it later gets the ordinary function.
    wrapped = original if hasattr(original, "__evalsuite__") else _wrapper(original)
    datasets.load_dataset = wrapped
    try:
        yield
    finally:
        datasets.load_dataset = original
        _source.reset(token)


def _wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
    def load_dataset(path: str, name: str | None = None, **options: Any) -> Any:
        source = _source.get()
        if source is None:
            return original(path, name, **options)
        return load(str(path), name, source, original, options)

    load_dataset.__evalsuite__ = True  # type: ignore[attr-defined]
    return load_dataset


def load(
    path: str,
    name: str | None,
    source: Source,
    original: Callable[..., Any],
    options: Mapping[str, Any],
) -> Any:
    """The data set `path` (configuration `name`), from where `source` says.

    `original` is datasets' own function. Raises UserError, naming the data set, when it is not to
    be had, or a file of it can't be read.
    """
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    options = {key: value for key, value in options.items() if key != "trust_remote_code"}
    if path in _PACKAGED_DATASETS_MODULES:
        return _local_files(path, name, source, original, options)
    if Path(path).expanduser().is_dir():
        return _folder(path, Path(path).expanduser(), name, original, options)
    if source.data_dir is not None:
        folder = _find_copy(path, source.data_dir, source.task)
        return _folder(path, folder, name, original, options)
    return _hub(path, name, original, options)


# ---- local JSON files of a task ------------------------------------------------------------------


def _local_files(
    path: str,
    name: str | None,
    source: Source,
    original: Callable[..., Any],
    options: Mapping[str, Any],
) -> Any:
    files = options.get("data_files")
    if files is None:
        raise UserError(f"dataset_path: {path} needs dataset_kwargs with data_files.")
    per_split = files if isinstance(files, Mapping) else {"train": files}
    found = {split: _resolve_files(paths, source) for split, paths in per_split.items()}
    plain = all(isinstance(file, Path) for paths in found.values() for file in paths)
    if path == "json" and plain and set(options) == {"data_files"}:
        import datasets

        return datasets.DatasetDict(
            {split: build(paths, None) for split, paths in found.items()}  # type: ignore[arg-type]
        )
    resolved = {split: [str(file) for file in paths] for split, paths in found.items()}
    return _checked(path, original, path, name, {**options, "data_files": resolved})


def _resolve_files(paths: str | Sequence[str], source: Source) -> list[Path | str]:
    """Absolute paths; relative ones are looked for beside the YAML, then in the working folder.

    Patterns and addresses stay text, for datasets to read.
    """
    found: list[Path | str] = []
    for item in [paths] if isinstance(paths, str) else paths:
        if "://" in item:
            found.append(item)
            continue
        bases = [base for base in (source.base, Path.cwd()) if base is not None]
        places = [base / Path(item).expanduser() for base in bases]
        if any(mark in item for mark in "*?["):
            found.append(str(places[0]))
            continue
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            raise UserError(f"The data file {places[0]} is missing.")
        found.append(place if place.suffix in (".json", ".jsonl") else str(place))
    return found


def build(files: Sequence[Path], features: Any) -> Any:
    """A Dataset in memory from JSON files (one object a line, or one array), no cache on disk.

    With `features` (datasets.Features) every column has its declared type, absent values are null,
    and undeclared columns are left out; without, types follow from the values. Raises UserError
    with file and line when a file is not JSON, and when a value does not fit its column.
    """
    import datasets
    import pyarrow

    rows = [row for file in files for row in _rows(file)]
    columns = (
        list(features) if features else list(dict.fromkeys(key for row in rows for key in row))
    )
    table = {column: [row.get(column) for row in rows] for column in columns}
    try:
        return datasets.Dataset.from_dict(table, features=features)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, TypeError, ValueError) as error:
        names = ", ".join(str(file) for file in files)
        raise UserError(f"{names}: {_first_line(error)} (mixed types in one column?)") from error


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: can't be read as UTF-8 text: {_first_line(error)}.") from error
    try:
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            # Only "\n" ends a line: splitlines() would also cut at U+2028 inside a text.
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    except json.JSONDecodeError as error:
        line = 1 + text.count("\n", 0, text.find(error.doc)) if error.doc != text else error.lineno
        raise UserError(f"{file}, line {line}: not valid JSON: {error.msg}.") from error
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{file}: expected one JSON object a line.")
    return rows


# ---- local copies of hub data sets ---------------------------------------------------------------


def _find_copy(path: str, data_dir: Path, task: str) -> Path:
    flat = data_dir / path.replace("/", "__")
    for folder in (flat, data_dir / path):
        if folder.is_dir():
            return folder
    raise UserError(
        f"The data set {path} is not in the data folder: there is no {flat}.\n"
        f"On a connected machine: evalsuite tasks --download {task} --data-dir {data_dir}"
    )


def _folder(
    path: str, folder: Path, name: str | None, original: Callable[..., Any], options: Mapping
) -> Any:
    """A folder whose README.md declares JSON files is read directly; datasets reads all others."""
    readme = folder / "README.md"
    if readme.is_file() and not options:
        config, declared = _declared(readme, readme.stat().st_mtime_ns, path, name)
        if declared is not None:
            import datasets

            files, features = declared
            return datasets.DatasetDict(
                {split: build(paths, features) for split, paths in files.items()}
            )
        name = config
    kept = {key: value for key, value in options.items() if key not in ("revision", "token")}
    return _checked(path, original, str(folder), name, kept)


@lru_cache(maxsize=256)
def _declared(
    readme: Path, _mtime: int, path: str, name: str | None
) -> tuple[str | None, tuple[Mapping[str, list[Path]], Any] | None]:
    """The configuration meant, and its (files by split, features) if they are plain JSON files."""
    configs, infos = _header(readme, _mtime)
    if not configs:
        return name, None
    if name is None:
        default = [n for n, config in configs.items() if config.get("default") or n == "default"]
        name = default[0] if default else next(iter(configs)) if len(configs) == 1 else None
    if name is None or name not in configs:
        raise UserError(
            f"The data set {path} in {readme.parent} has no configuration {name or 'by default'}; "
            f"it has {_some(configs)}."
        )
    data_files = configs[name].get("data_files")
    files: dict[str, list[Path]] = {}
    for item in data_files if isinstance(data_files, list) else [None]:
        if not isinstance(item, Mapping) or not {"split", "path"} <= item.keys():
            return name, None
        paths = [item["path"]] if isinstance(item["path"], str) else item["path"]
        files[str(item["split"])] = [readme.parent / p for p in paths]
    plain = all(f.suffix in (".json", ".jsonl") for paths in files.values() for f in paths)
    if not plain or any("*" in str(f) for paths in files.values() for f in paths):
        return name, None
    missing = [f for paths in files.values() for f in paths if not f.is_file()]
    if missing:
        raise UserError(f"The data set {path} is not complete: {missing[0]} is missing.")
    info = infos.get(name)
    return name, (files, info.features if info else None)


@lru_cache(maxsize=64)
def _header(readme: Path, _mtime: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """`configs:` and `dataset_info:` of a data set's README, by configuration name."""
    import yaml
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCard

    try:
        card = DatasetCard.load(str(readme)).data
        return (
            MetadataConfigs.from_dataset_card_data(card),
            DatasetInfosDict.from_dataset_card_data(card),
        )
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{readme}: its header can't be read: {_first_line(error)}.") from error


# ---- datasets' own loading -----------------------------------------------------------------------


@lru_cache(maxsize=1)
def _private_cache() -> str:
    """This process's cache folder: local files need none that outlives it, nor a writable home."""
    folder = tempfile.mkdtemp(prefix="evalsuite-data-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _checked(
    path: str, original: Callable[..., Any], where: str, name: str | None, options: Mapping
) -> Any:
    """datasets' reader for local files: kept off the network, in a private cache."""
    from datasets.exceptions import DatasetsError

    try:
        with _offline():
            return original(where, name, **{"cache_dir": _private_cache(), **options})
    except (DatasetsError, OSError, ValueError, TypeError, RuntimeError, StopIteration) as error:
        # Files without a row end in a bare StopIteration, which has no words.
        why = _first_line(error) if str(error) else "it holds no row"
        raise UserError(f"The data set {path} can't be read: {why}.") from error


def _hub(path: str, name: str | None, original: Callable[..., Any], options: Mapping) -> Any:
    try:
        if _hub_answers():
            return original(path, name, **options)
        with _offline():  # what the hub's cache has is still served, and nothing retries for long
            return original(path, name, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"The data set {path} can't be had from the hub: {_first_line(error)}.\n"
            "Without a connection give a folder with copies: --data-dir DIR, which "
            "`evalsuite tasks --download SUITE --data-dir DIR` fills on a connected machine."
        ) from error


@contextmanager
def _offline() -> Iterator[None]:
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


@lru_cache(maxsize=1)
def _hub_answers() -> bool:
    """Whether the hub accepts a connection; without asking, `datasets` retries for 24 s."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if any(os.environ.get(v) for v in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True  # only the proxy knows
    address = urlsplit(constants.ENDPOINT)
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=REACH_SECONDS):
            return True
    except OSError:
        return False


def _some(names: Mapping[str, Any], most: int = 8) -> str:
    shown = ", ".join(list(names)[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:200]
