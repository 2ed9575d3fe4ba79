"""What `--models` names mean: the embedded pair, the registry, local folders, hub repositories.

Decides by exact rules, never by a part of a path. Touches neither network nor weights; what a
registry name stands for is registry.py's, fetching it weights.py's.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from evalsuite.models.registry import REPO, ModelEntry, find, find_repo, find_template, registry
from evalsuite.records import UserError

DEMO_FOLDER = Path(__file__).parent / "demo"
DEMO_MODELS = ("demo-small", "demo-large")

# What the names of models behind servers begin with.
SERVER = "openai:"
# A label becomes a folder of the run and a name in the report.
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]*")
_FORBIDDEN = re.compile(r"[^A-Za-z0-9._+@-]")
# What a run, or what is made of it, puts beside the models' folders.
NAMES_OF_A_RUN = {
    "manifest.json",
    "leaderboard.json",
    "leaderboard.csv",
    "report.html",
    "report_data",
    "matches.jsonl",
    "questions.jsonl",
    "gate.json",
    "junit.xml",
    "summary.md",
}
# The hub's rule for repository names: owner/name of letters, digits, dash, dot and underscore.
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of a run: `label` names it everywhere, `source` is a folder or a hub repo id.

    kind "delta": `source` is a hub repository that holds only differences to another model;
    kind "server": it is `openai:MODEL` or `openai:MODEL@URL`, a model behind a server.
    `entry` is the registry's name for the model, None for one it doesn't know. `template` names
    the prompt format; None leaves it to the folder's own chat template. `adapter` is the folder
    or hub repo id of a LoRA adapter. `mirrors` are repositories to try after `source`.
    """

    label: str
    kind: Literal["demo", "folder", "hub", "delta", "server"]
    source: str
    revision: str | None = None
    entry: str | None = None
    template: str | None = None
    adapter: str | None = None
    mirrors: tuple[str, ...] = ()


def resolve_models(
    names: Sequence[str], revision: str | None = None, template: str | None = None
) -> tuple[ModelSpec, ...]:
    """The models that `--models` names mean, in their order; none: the embedded pair.

    A name is MODEL, LABEL=MODEL, MODEL+ADAPTER or LABEL=MODEL+ADAPTER. A folder or repository
    whose LABEL is a registry name is taken for that model and gets its prompt format.
    `template` (a name, in any case) replaces every model's prompt format.

    Raises:
        UserError: a name that means nothing (with the nearest ones), a label used twice or one
            that is a name of the run's own files.
    """
    specs = tuple(_resolve(name, revision) for name in names or DEMO_MODELS)
    if revision is not None and not any(spec.kind in ("hub", "delta") for spec in specs):
        raise UserError("--revision is for models from the hub, and none of these is one")
    if template is not None:
        chosen = find_template(template)
        specs = tuple(replace(s, template=None if chosen == REPO else chosen) for s in specs)
    for spec in specs:
        if spec.label.lower() in NAMES_OF_A_RUN:
            raise UserError(
                f"a model can't be called {spec.label}, a name that the run's own files have: "
                "give it another, as in --models first=MODEL"
            )
    # Labels become folders, and some file systems don't tell A from a.
    counts = Counter(spec.label.lower() for spec in specs)
    twice = [spec for spec in specs if counts[spec.label.lower()] > 1]
    if twice:
        label = twice[0].label
        raise UserError(
            f"two models would be called {label}: give them names, as in "
            f"--models first={twice[0].source} second={twice[1].source}"
        )
    return specs


def _resolve(name: str, revision: str | None) -> ModelSpec:
    label, given, model = name.partition("=")
    # A folder whose own path has a "=" in it is meant as a path.
    is_path = name.startswith(SERVER) or Path(name).expanduser().is_dir()
    is_path = is_path or ("/" in label and not _is_there(model) and not model.startswith(SERVER))
    if not given or is_path:
        label, model = "", name
    elif not _LABEL.fullmatch(label):
        raise UserError(_bad_label(label, name))
    if not model:
        raise UserError(f"{name!r} names no model: write LABEL=MODEL")
    if model.startswith(SERVER):
        spec = _server(model)
        return replace(spec, label=label) if label else spec
    model = model.removeprefix("local:")  # as --judge calls a model of this machine

    base, adapter = _split_adapter(model)
    spec = _model(base, revision)
    if adapter is not None:
        place = Path(adapter).expanduser()
        own = _folder_label(place) if place.is_dir() else adapter.split("/")[-1]
        spec = replace(spec, adapter=_adapter(adapter), label=f"{spec.label}+{own}")
    return _labelled(spec, label) if label else spec


def _server(model: str) -> ModelSpec:
    asked = model.removeprefix(SERVER).partition("@")[0]
    if not asked or model.endswith("@"):
        raise UserError(f"{model!r}: write openai:MODEL@URL")
    # Some servers call a model by the path of its folder.
    label = _FORBIDDEN.sub("-", asked.rstrip("/").split("/")[-1]).strip("-._+@") or "model"
    return ModelSpec(label, "server", model)


def _is_there(model: str) -> bool:
    """Whether a name, or its part before an adapter, is a folder's or a known model's."""
    parts = (model, *(base for base, _ in _splits(model)))
    return any(
        part and (part in DEMO_MODELS or find(part) or Path(part).expanduser().is_dir())
        for part in parts
    )


def _bad_label(label: str, name: str) -> str:
    forbidden = " ".join(map(repr, dict.fromkeys(_FORBIDDEN.findall(label))))
    if not forbidden:
        return f"{label!r} can't be a model's name: begin it with a letter or a digit, in {name!r}"
    return (
        f"{label!r} can't be a model's name because of {forbidden}: "
        f"letters A to Z, digits and . _ + @ - only, in {name!r}"
    )


def _model(model: str, revision: str | None) -> ModelSpec:
    """What a name without label and adapter means."""
    if model in DEMO_MODELS:
        return ModelSpec(model, "demo", str(DEMO_FOLDER / model))
    entry = find(model)
    if entry is not None:
        if entry.repos:
            spec = ModelSpec(model, "hub", entry.repos[0], revision, mirrors=entry.repos[1:])
        else:
            spec = ModelSpec(model, "delta", entry.deltas[0], revision)
        return _known_as(spec, entry)
    path = Path(model).expanduser()
    if path.is_dir():
        return ModelSpec(_folder_label(path), "folder", str(path))
    if path.exists():
        raise UserError(f"{model} is a file; a model is the folder with its config.json")
    looks_like_path = model.startswith((".", "/", "~")) or model.endswith("/")
    if _REPO.fullmatch(model) and not looks_like_path:
        return _repository(model, revision)
    if looks_like_path or "/" in model:
        raise UserError(f"no model folder at {model}")
    raise UserError(_unknown(model))


def _repository(repo: str, revision: str | None) -> ModelSpec:
    """A hub repository; one that the registry lists is known as that entry."""
    spec = ModelSpec(repo.split("/")[1], "hub", repo, revision)
    known = find_repo(repo)
    if known is None:
        return spec
    entry, role = known
    if role == "avoid":
        why = next(why for name, why in entry.avoid.items() if name.lower() == repo.lower())
        raise UserError(
            f"{repo} can't be used ({why}): use {entry.name} ({', '.join(entry.repos)})"
        )
    return _known_as(replace(spec, kind="delta") if role == "delta" else spec, entry)


def _labelled(spec: ModelSpec, label: str) -> ModelSpec:
    """The spec under a name of the user's; a registry name says which model it is."""
    spec = replace(spec, label=label)
    named = find(label)
    if named is None:
        return spec
    if spec.kind == "demo" or (spec.entry is not None and spec.entry != named.name):
        raise UserError(
            f"{label} is the registry's name of another model than {spec.entry or spec.source}: "
            "choose another label"
        )
    return _known_as(spec, named)


def _known_as(spec: ModelSpec, entry: ModelEntry) -> ModelSpec:
    template = None if entry.template == REPO else entry.template
    return replace(spec, entry=entry.name, template=template)


def _split_adapter(model: str) -> tuple[str, str | None]:
    """MODEL+ADAPTER in its two parts; a path may have a "+" of its own."""
    if "+" not in model or Path(model).expanduser().exists():
        return model, None
    splits = list(_splits(model))
    for base, adapter in splits:
        if not base or not adapter:
            continue
        is_path = Path(base).expanduser().is_dir()
        if is_path or (base in DEMO_MODELS or find(base) or _REPO.fullmatch(base)):
            return base, adapter
    # No part of it is a model: the error is about the first.
    base, adapter = splits[0]
    if not base or not adapter:
        raise UserError(f"{model!r}: write MODEL+ADAPTER, a model and a LoRA adapter")
    return base, adapter


def _splits(model: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(r"\+", model):
        yield model[: match.start()], model[match.end() :]


def _adapter(adapter: str) -> str:
    path = Path(adapter).expanduser()
    if path.is_dir():
        return str(path)
    if _REPO.fullmatch(adapter) and not adapter.startswith((".", "/", "~")):
        return adapter
    raise UserError(
        f"no LoRA adapter at {adapter}: give its folder (with adapter_config.json) or a hub repo id"
    )


def _folder_label(path: Path) -> str:
    label = re.sub(r"[^A-Za-z0-9._+@-]+", "-", path.resolve().name).strip("-.")
    return label or "model"


def nearest(name: str, known: Sequence[str]) -> list[str]:
    """The names most like `name`, best first; empty when none is near."""
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    return [by_lower[each] for each in near]


def _unknown(model: str) -> str:
    near = nearest(model, (*DEMO_MODELS, *registry().names()))
    hint = f"did you mean {' or '.join(near)}?" if near else "`evalsuite models` lists the known."
    return f"unknown model {model!r}; {hint} Else give a folder or a hub repo id (owner/name)"
