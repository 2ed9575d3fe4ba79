"""Prompts of a FastChat judge_prompts.jsonl in place of a preset's own.

Which of them a game gets is chosen by what their templates ask for: one answer or two, a second
turn, a reference. Knows that format only; fills templates in without reading what is filled in.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from evalsuite.judge.prompts import Preset, Shown
from evalsuite.judge.records import Question
from evalsuite.reading import read_rows
from evalsuite.records import UserError

_QUESTIONS = {"question", "question_1", "question_2"}
_REFERENCES = {"ref_answer_1", "ref_answer_2"}


@dataclass(frozen=True, slots=True)
class _Kind:
    """One type of prompt: its replies, and the fields for answers, by (several turns?)."""

    output_formats: tuple[str, ...]
    reader: str
    marks: tuple[str, ...]
    one_turn: frozenset[str]
    later: frozenset[str]
    extra: frozenset[str]  # may be there as well


_KINDS = {
    "pairwise": _Kind(
        ("[[A]]",),
        "mark-at-end",
        ("verdict",),
        frozenset({"answer_a", "answer_b"}),
        frozenset({"answer_a_2", "answer_b_2"}),
        frozenset({"answer_a_1", "answer_b_1"}),
    ),
    "single": _Kind(
        ("[[rating]]", "[[5]]"),
        "rating-at-end",
        ("score",),
        frozenset({"answer"}),
        frozenset({"answer_2"}),
        frozenset({"answer_1"}),
    ),
}
_ANSWERS = frozenset().union(*(k.one_turn | k.later | k.extra for k in _KINDS.values()))
_FIELDS = _QUESTIONS | _REFERENCES | _ANSWERS
_PLACE = "\0"  # stands for a field where only the text around fields is of interest
# Which type stands in for which preset's prompts.
_TYPES = {"pairwise": "pairwise", "score": "single"}


@dataclass(frozen=True, slots=True)
class _Template:
    """A prompt in parts: each a text as it stands and the field after it ("" for none)."""

    name: str
    system: str
    parts: tuple[tuple[str, str], ...]

    def fill(self, values: Mapping[str, str]) -> str:
        """The prompt; braces in the values are text."""
        return "".join(text + (values.get(name, "") if name else "") for text, name in self.parts)


@dataclass(frozen=True)
class FastChatPrompts:
    """The prompts of one type in a file, by (several turns?, with a reference?)."""

    source: str
    templates: Mapping[tuple[bool, bool], _Template] = field(repr=False)
    earlier_references: bool = True

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all the templates' text."""
        text = json.dumps(
            [[*key, t.name, t.system, t.parts] for key, t in sorted(self.templates.items())]
        )
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The templates' headings, as in "[The End of Assistant A's Answer]"."""
        lines = [
            line.strip()
            for template in self.templates.values()
            for line in template.fill(dict.fromkeys(_FIELDS, _PLACE)).splitlines()
        ]
        return tuple(dict.fromkeys(line for line in lines if line and _PLACE not in line))

    def messages(self, shown: Shown) -> list[dict[str, str]]:
        """The chat to send."""
        template = self._template(shown.turn, bool(shown.reference))
        assert template is not None  # the questions were checked before
        values = {"question": shown.turns[-1]}
        if shown.second:
            values |= {"answer_a": shown.first[-1], "answer_b": shown.second[-1]}
            named = {"question": shown.turns, "answer_a": shown.first, "answer_b": shown.second}
        else:
            values |= {"answer": shown.first[-1]}
            named = {"question": shown.turns, "answer": shown.first}
        named["ref_answer"] = shown.references
        for name, texts in named.items():
            values |= {f"{name}_{number}": text for number, text in enumerate(texts, start=1)}
        return [
            {"role": "system", "content": template.system},
            {"role": "user", "content": template.fill(values)},
        ]

    def problem_with(self, question: Question) -> str | None:
        """Why there is no prompt for it; None when there is."""
        if len(question.turns) > 2:
            return f"it has {len(question.turns)} turns, FastChat's prompts are for two at most"
        for turn in range(len(question.turns)):
            referenced = turn < len(question.reference) and bool(question.reference[turn])
            if self._template(turn, referenced) is None:
                what = "second turns" if turn else "questions without a reference"
                return f"{self.source} has no prompt for {what}"
        return None

    def _template(self, turn: int, referenced: bool) -> _Template | None:
        """A file without prompts for references shows none."""
        later = turn > 0
        return self.templates.get((later, referenced)) or self.templates.get((later, False))


def with_fastchat_prompts(preset: Preset, path: Path) -> Preset:
    """The preset with the prompts in `path`, by the name of its prompt for one turn.

    Raises:
        UserError: a preset that these prompts don't fit, or a file that is none of them.
    """
    wanted = _TYPES.get(preset.name)
    if wanted is None:
        raise UserError(
            f"--judge-prompts goes with --judge-preset {' or '.join(_TYPES)}, not {preset.name}"
        )
    kind = _KINDS[wanted]
    found: dict[tuple[bool, bool], _Template] = {}
    for where, row in read_rows(path, "the judge's prompts"):
        for name in ("name", "type", "system_prompt", "prompt_template", "output_format"):
            if not isinstance(row.get(name), str):
                raise UserError(f"{where}: no prompt in FastChat's format, {name} is not a text")
        if row["type"] != wanted:
            continue
        if row["output_format"] not in kind.output_formats:
            raise UserError(
                f"{where}: output_format {row['output_format']!r} can't be read, only "
                f"{' or '.join(kind.output_formats)}"
            )
        key, template = _read(row, kind, where)
        if key in found:
            raise UserError(
                f"{where}: {template.name} is for the same games as {found[key].name}; leave one "
                "of them in the file"
            )
        found[key] = template
    first = found.get((False, False)) or found.get((False, True))
    if first is None:
        raise UserError(f"{path}: no prompt of type {wanted} for a first turn")
    return replace(
        preset,
        name=first.name,
        description=f"{preset.description} In the words of {path.name}.",
        prompts=FastChatPrompts(str(path), found),
        reader=kind.reader,
        marks=kind.marks,
    )


def _read(row: Mapping[str, Any], kind: _Kind, where: str) -> tuple[tuple[bool, bool], _Template]:
    try:
        parsed = list(string.Formatter().parse(row["prompt_template"]))
    except ValueError as error:
        raise UserError(f"{where}: prompt_template is broken ({error})") from error
    parts = []
    for text, name, form, conversion in parsed:
        if form or conversion:
            raise UserError(f"{where}: prompt_template formats {{{name}}}; plain fields only")
        if name == "":
            raise UserError(f"{where}: prompt_template has a field without a name: {{}}")
        parts.append((text, name or ""))
    fields = {name for _, name in parts if name}
    known = kind.one_turn | kind.later | kind.extra | _QUESTIONS | _REFERENCES
    if unknown := sorted(fields - known):
        raise UserError(f"{where}: prompt_template has a field {{{unknown[0]}}} that is not known")
    later = bool(fields & kind.later)
    needed = kind.later if later else kind.one_turn
    if missing := sorted(needed - fields):
        raise UserError(f"{where}: prompt_template does not show {{{missing[0]}}}")
    template = _Template(row["name"], row["system_prompt"], tuple(parts))
    return (later, bool(fields & _REFERENCES)), template
