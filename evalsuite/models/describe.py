"""The registry as text for people: a table of all models, and everything about one.

Knows the registry alone; loads neither torch nor transformers, so that it answers at once.
"""

from __future__ import annotations

import textwrap

from evalsuite.models.names import DEMO_MODELS, nearest
from evalsuite.models.registry import (
    BASE_RAW,
    PRECISIONS,
    REPO,
    ModelEntry,
    find,
    registry,
)
from evalsuite.records import UserError

_WIDTH = 100
_TABLE_NOTES = (
    "bf16, int8, int4: GiB of memory for the weights alone, computed. Template `repo`: the",
    "repository's own; `base`: a base model, which has none. `evalsuite models NAME` tells all",
    f"about one. Besides these there are the embedded {' and '.join(DEMO_MODELS)}.",
)
_PRECISION_NAMES = {"bf16": "bfloat16", "int8": "8 bits", "int4": "4 bits"}


def describe_models() -> str:
    """A table of every model: name, aliases, size, template, licence, memory of its weights."""
    head = ("name", "also", "params", "context", "template", "licence", "bf16", "int8", "int4")
    rows: list[tuple[str, ...]] = [head]
    for entry in registry().models.values():
        memory = (f"{entry.size.weights_gib(precision):.1f}" for precision in PRECISIONS)
        rows.append(
            (
                entry.name,
                ", ".join(entry.aliases),
                _parameters(entry),
                f"{entry.context:,}",
                _template(entry),
                entry.licence.short,
                *memory,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*(line.rstrip() for line in lines), "", *_TABLE_NOTES])


def describe_model(name: str) -> str:
    """Everything about one model, by name or alias.

    Raises:
        UserError: the registry has no such name (with the nearest ones).
    """
    entry = find(name)
    if entry is None:
        raise UserError(_unknown(name))
    size = entry.size
    shape = (
        f"{size.layers} layers, {size.heads} heads ({size.kv_heads} for keys and values), hidden "
        f"{size.hidden}, feed-forward {size.ffn}, {size.vocab:,} tokens"
    )
    lines = [entry.name]
    lines += _field("also called", ", ".join(entry.aliases))
    lines += _field("weights", ", ".join(entry.repos) or "none published whole")
    lines += _field("differences", ", ".join(entry.deltas))
    lines += _field("base", entry.base)
    lines += _field("licence", entry.licence.text)
    lines += _field("access", entry.access)
    lines += _field("size", f"{size.parameters:,} parameters: {shape}")
    lines += _field("context", f"{entry.context:,} tokens")
    lines += _field("template", _template_text(entry))
    for precision in PRECISIONS:
        card = size.card_gib(precision)
        room = f"a card of {card} GB" if card else "more than one card"
        lines += _field(
            _PRECISION_NAMES[precision],
            f"{size.weights_gib(precision):.1f} GiB of weights, {room} (computed, not measured)",
        )
    lines += _field(
        "keys, values", f"{size.kv_mib(1000):.0f} MiB for 1,000 tokens in bfloat16 (computed)"
    )
    lines += _list("tokenizer", entry.tokenizer.notes)
    lines += _list("good to know", entry.notes)
    lines += _list("avoid", [f"{repo}: {why}" for repo, why in entry.avoid.items()])
    lines += _list("not checked", entry.unsure)
    lines += _field("a folder", f"--models {entry.name}=FOLDER runs a folder of yours as it")
    return "\n".join(lines)


def _parameters(entry: ModelEntry) -> str:
    count = entry.size.parameters
    return f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.0f} M"


def _template(entry: ModelEntry) -> str:
    return "base" if entry.template == BASE_RAW else entry.template


def _template_text(entry: ModelEntry) -> str:
    if entry.template == BASE_RAW:
        return (
            "none: a base model, which completes text. --template NAME makes it chat all the same"
        )
    others = ", ".join(entry.alternatives)
    if entry.template == REPO:
        return "the repository's own" + (f"; a folder without one gets {others}" if others else "")
    facts = registry().templates[entry.template]
    also = f" Possible too: {others}." if others else ""
    return f"{facts.name}, after {facts.source}. {facts.note}{also}"


def _field(title: str, text: str) -> list[str]:
    if not text:
        return []
    indent = " " * 16
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"  {title}".ljust(16),
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _list(title: str, texts: tuple[str, ...] | list[str]) -> list[str]:
    lines: list[str] = []
    for text in texts:
        lines += _field(title if not lines else "", f"- {text}")
    return lines


def _unknown(name: str) -> str:
    near = nearest(name, registry().names())
    hint = f"did you mean {' or '.join(near)}?" if near else "`evalsuite models` lists them"
    return f"the registry has no model {name!r}; {hint}"
