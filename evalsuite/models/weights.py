"""From a model's spec to a folder on this machine, and to hashes of what lies in it.

Knows the files of a checkpoint by name and what to say when they can't be had; reads no tensor.
The hub itself is hub.py's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evalsuite.models.hub import ADAPTER_FILES, PICKLES, SAFETENSORS, Available, Hub, HubError
from evalsuite.models.hub import commit_of as _commit_of
from evalsuite.models.names import ModelSpec
from evalsuite.models.registry import find
from evalsuite.records import UserError

_TOKENIZER_NAMES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
_CONFIG_NAMES = ("config.json", "generation_config.json")


class WeightsUnavailable(UserError):  # noqa: N818 - it names a state, as UserError does
    """A model's weights can't be had from here: one line with the model, why, and what to do."""

    def __init__(self, label: str, message: str) -> None:
        super().__init__(message)
        self.label = label


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model lies: its folder, what it came from, and the hub's commit if it came from it.

    `adapter` is the folder of its LoRA adapter.
    """

    folder: Path
    source: str
    commit: str | None = None
    adapter: Path | None = None
    adapter_commit: str | None = None


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """SHA-256 over a checkpoint's weight and config files, and over its tokenizer's files."""

    weights: str
    tokenizer: str


@dataclass(frozen=True, slots=True)
class _Promised:
    """A model that can be had, with what has to be downloaded for it."""

    spec: ModelSpec
    weights: Available | None
    adapter: Available | None


def locate(spec: ModelSpec) -> Path:
    """The local folder of a model; one from the hub is downloaded, or found in the hub's cache.

    Raises:
        WeightsUnavailable: the weights can't be had from here.
        UserError: the folder has no config.json.
    """
    found, missing = locate_all([spec])
    if missing:
        raise missing[0]
    return found[spec.label].folder


def locate_all(
    specs: Sequence[ModelSpec],
) -> tuple[dict[str, Weights], tuple[WeightsUnavailable, ...]]:
    """Every model's weights by label, and an error for each model that can't be had.

    All are asked about before the first is downloaded, so that a name without access is known in
    seconds; without a connection the hub is asked once, not once a model.

    Raises:
        UserError: a local folder that is no model, or no adapter.
    """
    hub = Hub()
    promised: list[_Promised] = []
    found: dict[str, Weights] = {}
    missing: list[WeightsUnavailable] = []
    for spec in specs:
        try:
            promised.append(_ask(spec, hub))
        except WeightsUnavailable as error:
            missing.append(error)
    for promise in promised:
        try:
            found[promise.spec.label] = _fetch(promise, hub)
        except WeightsUnavailable as error:
            missing.append(error)
    return found, tuple(missing)


def _ask(spec: ModelSpec, hub: Hub) -> _Promised:
    if spec.kind == "delta":
        raise _delta_only(spec)
    weights = None
    if spec.kind == "hub":
        reasons = []
        for repo in (spec.source, *spec.mirrors):
            try:
                weights = hub.ask(repo, spec.revision)
                break
            except HubError as error:
                reasons.append(str(error) if not spec.mirrors else f"{repo}: {error}")
        if weights is None:
            raise _unavailable(spec, "; ".join(reasons))
    else:
        _check_folder(spec, Path(spec.source))
    return _Promised(spec, weights, _ask_adapter(spec, hub))


def _ask_adapter(spec: ModelSpec, hub: Hub) -> Available | None:
    if spec.adapter is None:
        return None
    folder = Path(spec.adapter)
    if folder.is_dir():
        if not (folder / "adapter_config.json").is_file():
            raise UserError(
                f"{spec.label}: no adapter_config.json in {folder}, so it is no LoRA adapter"
            )
        return None
    try:
        return hub.ask(spec.adapter, None, adapter=True)
    except HubError as error:
        raise _unavailable(spec, f"its LoRA adapter {spec.adapter}: {error}") from error


def _fetch(promise: _Promised, hub: Hub) -> Weights:
    spec = promise.spec
    try:
        if promise.weights is None:
            weights = Weights(Path(spec.source), spec.source)
        else:
            folder = hub.download(promise.weights)
            _check_folder(spec, folder)
            weights = Weights(folder, promise.weights.repo, _commit_of(folder))
        if promise.adapter is not None:
            place = hub.download(promise.adapter)
            return replace(weights, adapter=place, adapter_commit=_commit_of(place))
    except HubError as error:
        raise _unavailable(spec, str(error)) from error
    return replace(weights, adapter=Path(spec.adapter)) if spec.adapter else weights


def _check_folder(spec: ModelSpec, folder: Path) -> None:
    if (folder / "config.json").is_file():
        return
    if (folder / "adapter_config.json").is_file():
        raise UserError(f"{spec.label}: {folder} is a LoRA adapter; write MODEL+{folder}")
    raise UserError(f"{spec.label}: no config.json in {folder}, so it is no model folder")


def _unavailable(spec: ModelSpec, why: str) -> WeightsUnavailable:
    exact = ", ".join(part for part in (spec.entry, spec.source, spec.revision) if part)
    hint = f": {spec.entry}=FOLDER" if spec.entry and why.endswith("give its folder") else ""
    return WeightsUnavailable(spec.label, f"{spec.label} ({exact}): {why}{hint}")


def _delta_only(spec: ModelSpec) -> WeightsUnavailable:
    entry = find(spec.entry) if spec.entry else None
    assert entry is not None  # only the registry says that a repository holds differences
    if entry.repos:
        merged = f"use {entry.name}, which is {entry.repos[0]}, or merge it"
    else:
        merged = "merge it"
    return _unavailable(
        spec,
        f"only a difference to other weights is published there; {merged} yourself (base: "
        f"{entry.base}) and give its folder",
    )


def fingerprint(
    folder: Path,
    known: Callable[[Path], str | None],
    keep: Callable[[Path, str], None],
    adapter: Path | None = None,
) -> Fingerprint:
    """Hashes of a checkpoint's files, those of its LoRA adapter among the weights.

    `known` gives the hash that is kept for an unchanged file (None: read it), `keep` keeps one, so
    that 100 GB of weights are read for this once.
    """

    def combined(files: Iterable[Path]) -> str:
        hasher = hashlib.sha256()
        for path in files:
            digest = known(path)
            if digest is None:
                digest = _sha256(path)
                keep(path, digest)
            hasher.update(f"{path.name} {digest}\n".encode())
        return hasher.hexdigest()

    has_safetensors = any(folder.glob("model*.safetensors"))
    names = (*(SAFETENSORS if has_safetensors else PICKLES), *_CONFIG_NAMES)
    weights = _matching(folder, names)
    if adapter is not None:
        weights += _matching(adapter, ADAPTER_FILES)
    return Fingerprint(combined(weights), combined(_matching(folder, _TOKENIZER_NAMES)))


def _matching(folder: Path, names: Iterable[str]) -> list[Path]:
    return sorted({path for name in names for path in folder.glob(name)})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
