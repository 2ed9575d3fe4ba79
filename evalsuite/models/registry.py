"""Names to models: the embedded pair, local folders and hub repositories, each under one label.

Decides what a name means by exact rules, never by a part of a path. Touches neither network nor
weights.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evalsuite.records import UserError

DEMO_FOLDER = Path(__file__).parent / "demo"
DEMO_MODELS = ("demo-small", "demo-large")

# A label becomes a folder of the run and a name in the report.
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]*")
# The hub's rule for repository names: owner/name of letters, digits, dash, dot and underscore.
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of a run: `label` names it everywhere, `source` is a folder or a hub repo id."""

    label: str
    kind: Literal["demo", "folder", "hub"]
    source: str
    revision: str | None = None


def resolve_models(names: Sequence[str], revision: str | None = None) -> tuple[ModelSpec, ...]:
    """The models that `--models` names mean, in their order; none: the embedded pair.

    Raises:
        UserError: a name that means nothing (with the nearest ones), or a label used twice.
    """
    specs = tuple(_resolve(name, revision) for name in names or DEMO_MODELS)
    if revision is not None and not any(spec.kind == "hub" for spec in specs):
        raise UserError("--revision is for models from the hub, and none of these is one")
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
    if not given or "/" in label or Path(name).is_dir():
        label, model = "", name
    elif not _LABEL.fullmatch(label):
        raise UserError(
            f"{label!r} can't be a model's name: letters, digits and . _ + @ - only, in {name!r}"
        )
    if not model:
        raise UserError(f"{name!r} names no model: write LABEL=MODEL")

    if model in DEMO_MODELS:
        return ModelSpec(label or model, "demo", str(DEMO_FOLDER / model))
    path = Path(model).expanduser()
    if path.is_dir():
        return ModelSpec(label or _folder_label(path), "folder", str(path))
    if path.exists():
        raise UserError(f"{model} is a file; a model is the folder with its config.json")
    looks_like_path = model.startswith((".", "/", "~")) or model.endswith("/")
    if _REPO.fullmatch(model) and not looks_like_path:
        return ModelSpec(label or model.split("/")[1], "hub", model, revision)
    if looks_like_path or "/" in model:
        raise UserError(f"no model folder at {model}")
    raise UserError(_unknown(model))


def _folder_label(path: Path) -> str:
    label = re.sub(r"[^A-Za-z0-9._+@-]+", "-", path.resolve().name).strip("-.")
    return label or "model"


def _unknown(model: str) -> str:
    near = difflib.get_close_matches(model, DEMO_MODELS, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(DEMO_MODELS)}"
    return f"unknown model {model!r}; {hint} Else give a folder or a hub repo id (owner/name)"
