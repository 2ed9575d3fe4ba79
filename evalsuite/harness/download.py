"""Fills a data folder on a connected machine: the data sets that tasks read, from the hub.

Knows task definitions and the hub's files; it must not build tasks or read rows. Only data is
fetched, never a repository's code, and only the configurations that the tasks read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evalsuite.harness.catalog import TaskSpec
from evalsuite.records import UserError

_DATA = ("parquet", "json", "jsonl", "csv", "tsv", "arrow", "txt", "gz", "zst", "zip")


@dataclass(frozen=True)
class Fetched:
    """What became of one data set: `problem` is empty when it lies in `folder` now."""

    name: str
    folder: Path
    problem: str = ""
    kept: bool = False


def download(
    specs: Iterable[TaskSpec], data_dir: Path, tell: Callable[[str], None]
) -> list[Fetched]:
    """Fetch every data set of `specs` into DIR/org__name; one that fails doesn't stop the others.

    What an earlier call fetched is not fetched again, and a broken file goes on where it stopped. A
    folder that is there but was not fetched so is left as it is. `tell` gets a line a data set.

    Raises UserError when the tasks read nothing from the hub, or the folder can't be made.
    """
    wanted = data_sets(specs)
    if not wanted:
        raise UserError("These tasks read no data set of the hub: there is nothing to download.")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--data-dir {data_dir}: can't be made ({error.strerror}).") from error
    done = []
    for name, configurations in wanted.items():
        fetched = _fetch(name, configurations, data_dir / name.replace("/", "__"))
        done.append(fetched)
        if fetched.problem:
            tell(f"{name}: failed: {fetched.problem}")
        elif fetched.kept:
            tell(f"{name}: {fetched.folder} was there already and is left as it is")
        else:
            tell(f"{name}: {fetched.folder}")
    return done


def data_sets(specs: Iterable[TaskSpec]) -> dict[str, set[str | None]]:
    """The hub's data sets that tasks read, with the configurations that they name."""
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    from evalsuite.harness.tasks import definitions

    wanted: dict[str, set[str | None]] = {}
    for spec in specs:
        for definition in definitions(spec):
            path = definition.get("dataset_path")
            if isinstance(path, str) and path not in _PACKAGED_DATASETS_MODULES:
                wanted.setdefault(path, set()).add(definition.get("dataset_name"))
    return wanted


def _fetch(name: str, configurations: set[str | None], folder: Path) -> Fetched:
    from huggingface_hub import constants, hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    if folder.is_dir() and not (folder / ".cache" / "huggingface").is_dir():
        return Fetched(name, folder, kept=True)
    if constants.HF_HUB_OFFLINE:
        return Fetched(name, folder, "HF_HUB_OFFLINE is set")
    disable_progress_bars()
    try:
        try:
            readme = Path(hf_hub_download(name, "README.md", repo_type="dataset", local_dir=folder))
            header = _header(readme)
        except EntryNotFoundError:
            header = {}
        patterns = list(_patterns(header, configurations))
        snapshot_download(name, repo_type="dataset", local_dir=folder, allow_patterns=patterns)
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "nothing")
        return Fetched(name, folder, f"the hub answers {status}")
    except (
        Exception
    ) as error:  # network, disk, header; each version of the client has its own kinds
        text = " ".join(str(error).split())[:200] or type(error).__name__
        return Fetched(name, folder, f"{text}; the same command goes on")
    files = (file for kind in _DATA for file in folder.rglob(f"*.{kind}"))
    if not any(".cache" not in file.relative_to(folder).parts for file in files):
        return Fetched(name, folder, "its repository holds no data files (only a script, perhaps)")
    return Fetched(name, folder)


def _header(readme: Path) -> Mapping[str, Any]:
    text = readme.read_text(encoding="utf-8", errors="replace")
    _, opening, rest = text.partition("---\n")
    header = (
        yaml.safe_load(rest.partition("\n---")[0]) if opening and text.startswith("---") else {}
    )
    return header if isinstance(header, Mapping) else {}


def _patterns(header: Mapping[str, Any], configurations: set[str | None]) -> Iterator[str]:
    """The files of the configurations that are wanted; all data files where none are declared."""
    declared = [c for c in header.get("configs") or () if isinstance(c, Mapping)]
    default = [c for c in declared if c.get("default") or c.get("config_name") == "default"]
    plain = default or (declared if len(declared) == 1 else [])
    chosen = [c for c in declared if c.get("config_name") in configurations]
    if None in configurations:
        chosen += [c for c in plain if c not in chosen]
    found = len(chosen) >= len(configurations) and all(c.get("data_files") for c in chosen)
    yield "README.md"
    if not found:
        yield from (f"*.{kind}" for kind in _DATA)
        return
    for config in chosen:
        base = str(config.get("data_dir") or "").strip("/")
        for path in _paths(config["data_files"]):
            yield f"{base}/{path}" if base else path


def _paths(files: Any) -> Iterator[str]:
    if isinstance(files, str):
        yield files.removeprefix("./")
    elif isinstance(files, Mapping):
        yield from _paths(files["path"] if "path" in files else list(files.values()))
    elif isinstance(files, list):
        for item in files:
            yield from _paths(item)
