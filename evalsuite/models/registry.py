"""What is known about the models that evalsuite has names for: registry.yaml as frozen records.

Reads one YAML file, when first asked. Knows no torch, no hub and no folder of weights; which of
these facts are unsure is part of the record.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from evalsuite.records import UserError

FILE = Path(__file__).parent / "registry.yaml"
BASE_RAW = "base_raw"  # a base model: it has no prompt format
REPO = "repo"  # the prompt format is the repository's own chat template

_GIB = 2**30
_BYTES_BF16 = 2.0
# One byte a weight, and scales, norms and what else stays wide.
_BYTES_INT8 = 1.05
# 4.24 bits a weight with its scale; embedding and output matrix are kept in more bits than that.
_BYTES_INT4, _MORE_BYTES_EMBEDDINGS_INT4 = 0.53, 1.0
# Memory sizes of cards that exist; next to the weights and one sequence of 2,048 tokens a tenth
# and half a GiB are left for activations and the runtime.
_CARDS_GIB = (2, 4, 6, 8, 12, 24, 32, 48, 80, 160)
_CARD_TOKENS = 2048

Precision = Literal["bf16", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = ("bf16", "int8", "int4")


@dataclass(frozen=True, slots=True)
class Size:
    """A LLaMA's shape; what it weighs follows from it."""

    layers: int
    heads: int
    kv_heads: int
    hidden: int
    ffn: int
    vocab: int
    tied: bool = False  # output matrix and embedding are one

    @property
    def parameters(self) -> int:
        """How many numbers the weights hold, without tokens that a fine-tune added."""
        head = self.hidden // self.heads
        attention = 2 * self.hidden * head * (self.heads + self.kv_heads)
        layer = attention + 3 * self.hidden * self.ffn + 2 * self.hidden
        embeddings = self.vocab * self.hidden * (1 if self.tied else 2)
        return self.layers * layer + self.hidden + embeddings

    def weights_gib(self, precision: Precision) -> float:
        """Memory of the weights alone, computed, not measured: right to about a tenth."""
        if precision == "bf16":
            return self.parameters * _BYTES_BF16 / _GIB
        if precision == "int8":
            return self.parameters * _BYTES_INT8 / _GIB
        # A tied output matrix has to be kept apart once the weights are quantised.
        embeddings = 2 * self.vocab * self.hidden
        more = embeddings * _MORE_BYTES_EMBEDDINGS_INT4
        return (self.parameters * _BYTES_INT4 + more) / _GIB

    def kv_mib(self, tokens: int) -> float:
        """Memory of the keys and values of `tokens` tokens in bfloat16, in MiB."""
        head = self.hidden // self.heads
        return 2 * self.layers * self.kv_heads * head * 2 * tokens / 2**20

    def card_gib(self, precision: Precision) -> int | None:
        """The smallest usual card that runs one sequence of 2,048 tokens; None: no single one."""
        need = self.weights_gib(precision) + self.kv_mib(_CARD_TOKENS) / 1024
        return next((card for card in _CARDS_GIB if card >= need * 1.1 + 0.5), None)


@dataclass(frozen=True, slots=True)
class Licence:
    short: str
    text: str


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """What a family's tokenizer looks like when its conversion got it right; None: not fixed."""

    notes: tuple[str, ...]
    bos: str | None = None
    eos: str | None = None
    bos_id: int | None = None
    eos_id: int | None = None


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """A prompt format of templates/: `stop` strings, who writes BOS, the default system text."""

    name: str
    stop: tuple[str, ...]
    bos: Literal["tokenizer", "template"]
    system: str
    source: str
    note: str


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model by name.

    `repos` hold whole weights and are tried in this order; `deltas` hold only differences to
    another model's weights. `template` is a name of templates/, `base_raw` or `repo`;
    `alternatives` are other names that fit, for `repo` what stands in when a folder has none.
    `avoid` maps repositories not to use to the reason. `unsure` are facts that were not checked.
    """

    name: str
    aliases: tuple[str, ...]
    size: Size
    context: int
    template: str
    alternatives: tuple[str, ...]
    repos: tuple[str, ...]
    deltas: tuple[str, ...]
    base: str
    licence: Licence
    access: str
    tokenizer: TokenizerFacts
    notes: tuple[str, ...]
    avoid: Mapping[str, str]
    unsure: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything in registry.yaml, `models` and `templates` in its order."""

    models: Mapping[str, ModelEntry]
    templates: Mapping[str, TemplateFacts]

    def names(self) -> tuple[str, ...]:
        """Every name and alias."""
        return tuple(name for e in self.models.values() for name in (e.name, *e.aliases))


@cache
def registry() -> Registry:
    """The registry, read once.

    Raises KeyError, TypeError or ValueError for a registry.yaml that contradicts itself: our fault.
    """
    import yaml

    raw = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    sizes = {name: Size(**given) for name, given in raw["sizes"].items()}
    licences = {name: Licence(**given) for name, given in raw["licences"].items()}
    tokenizers = {
        name: TokenizerFacts(**{**given, "notes": _texts(given["notes"])})
        for name, given in raw["tokenizers"].items()
    }
    templates = {
        name: TemplateFacts(
            name,
            _texts(given["stop"]),
            given["bos"],
            given.get("system", ""),
            given["source"],
            given.get("note", ""),
        )
        for name, given in raw["templates"].items()
    }
    models = {
        name: _entry(name, given, sizes, licences, tokenizers)
        for name, given in raw["models"].items()
    }
    found = Registry(MappingProxyType(models), MappingProxyType(templates))
    for entry in models.values():
        own = {entry.template, *entry.alternatives} - {BASE_RAW, REPO}
        if not own <= templates.keys():
            raise ValueError(f"{entry.name}: no such template {own - templates.keys()}")
    if len(set(map(str.lower, found.names()))) != len(found.names()):
        raise ValueError("a name or alias of the registry stands twice")
    return found


def find(name: str) -> ModelEntry | None:
    """The entry that a name or alias means, whatever its case; None when there is none."""
    return _by_name().get(name.lower())


def find_repo(repo: str) -> tuple[ModelEntry, Literal["whole", "delta", "avoid"]] | None:
    """The entry that lists a hub repository, and as what; None for a repository it doesn't know."""
    return _by_repo().get(repo.lower())


def find_template(name: str) -> str:
    """The exact name of a template (or `base_raw`, `repo`), whatever its case.

    Raises:
        UserError: an unknown one, with the nearest names.
    """
    known = {each.lower(): each for each in (*registry().templates, BASE_RAW, REPO)}
    if name.lower() in known:
        return known[name.lower()]
    near = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(known[n] for n in near)}?" if near else "known:"
    more = "" if near else f" {', '.join(known.values())}"
    raise UserError(f"--template: unknown prompt template {name!r}; {hint}{more}")


@cache
def _by_name() -> dict[str, ModelEntry]:
    entries = registry().models.values()
    return {name.lower(): entry for entry in entries for name in (entry.name, *entry.aliases)}


@cache
def _by_repo() -> dict[str, tuple[ModelEntry, Literal["whole", "delta", "avoid"]]]:
    found: dict[str, tuple[ModelEntry, Literal["whole", "delta", "avoid"]]] = {}
    for entry in registry().models.values():
        # The first entry that lists a repository keeps it.
        for repo in entry.repos:
            found.setdefault(repo.lower(), (entry, "whole"))
        for repo in entry.deltas:
            found.setdefault(repo.lower(), (entry, "delta"))
        for repo in entry.avoid:
            found.setdefault(repo.lower(), (entry, "avoid"))
    return found


def _entry(
    name: str,
    given: Mapping[str, Any],
    sizes: Mapping[str, Size],
    licences: Mapping[str, Licence],
    tokenizers: Mapping[str, TokenizerFacts],
) -> ModelEntry:
    known = {*ModelEntry.__slots__} - {"name"}
    if not given.keys() <= known:
        raise ValueError(f"registry.yaml, {name}: unknown keys {given.keys() - known}")
    return ModelEntry(
        name=name,
        aliases=_texts(given.get("aliases")),
        size=sizes[given["size"]],
        context=given["context"],
        template=given["template"],
        alternatives=_texts(given.get("alternatives")),
        repos=_texts(given.get("repos")),
        deltas=_texts(given.get("deltas")),
        base=given.get("base", ""),
        licence=licences[given["licence"]],
        access=given["access"],
        tokenizer=tokenizers[given["tokenizer"]],
        notes=_texts(given.get("notes")),
        avoid=MappingProxyType(dict(given.get("avoid", {}))),
        unsure=_texts(given.get("unsure")),
    )


def _texts(given: list[str] | None) -> tuple[str, ...]:
    """Texts of a YAML list; lines folded for reading become one."""
    texts = tuple(given or ())
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"registry.yaml: not all texts in {texts}")
    return texts
