"""Presets and prompts: what a judge is asked, word by word.

Knows the templates, the delimiters around answers and the marks that are broken inside them. It
must not know which models answered: a judge never sees a name.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from evalsuite.judge.files import judge_folder, read_mapping, read_text
from evalsuite.judge.neutral import neutral
from evalsuite.judge.records import Question
from evalsuite.records import UserError

if TYPE_CHECKING:
    from jinja2 import Template

_DELIMITER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Preset:
    """One way of judging. `template_hash` covers every word of its prompts."""

    name: str
    description: str
    system: str
    user: str
    temperature: float
    max_tokens: int
    expected_tokens: int

    @property
    def template_hash(self) -> str:
        """SHA-256 of the templates' text."""
        return hashlib.sha256(f"{self.system}\0{self.user}".encode()).hexdigest()


def load_preset(name: str = "pairwise") -> Preset:
    """The preset of that name from tasks/judge/presets.yaml.

    Raises:
        UserError: there is no such preset.
    """
    folder = judge_folder()
    presets = read_mapping(folder / "presets.yaml", "the presets")
    if name not in presets:
        raise UserError(f"no judge preset {name!r}; there are: {', '.join(presets)}")
    about = presets[name]
    prompts = folder / "prompts"
    return Preset(
        name=name,
        description=about["description"],
        system=read_text(prompts / about["system"], "the prompt"),
        user=read_text(prompts / about["user"], "the prompt"),
        temperature=float(about["temperature"]),
        max_tokens=int(about["max_tokens"]),
        expected_tokens=int(about["expected_tokens"]),
    )


def new_delimiter(*texts: str) -> str:
    """A random code that stands in none of `texts`: no answer can close its own markers."""
    while True:
        code = secrets.token_hex(_DELIMITER_BYTES)
        if not any(code in text for text in texts):
            return code


def judge_messages(
    preset: Preset,
    question: Question,
    turn: int,
    first: Sequence[str],
    second: Sequence[str],
    delimiter: str,
) -> list[dict[str, str]]:
    """The chat that puts two answers (one text a turn, up to `turn`) before a judge."""
    reference = question.reference[turn] if turn < len(question.reference) else ""
    values = {
        "turn": turn,
        "turns": question.turns[: turn + 1],
        "has_reference": bool(reference),
        "reference": reference,
        "first": [neutral(text) for text in first[: turn + 1]],
        "second": [neutral(text) for text in second[: turn + 1]],
        "delimiter": delimiter,
    }
    return [
        {"role": "system", "content": _template(preset.system).render(values).strip()},
        {"role": "user", "content": _template(preset.user).render(values).strip()},
    ]


@lru_cache(maxsize=64)
def _template(source: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined).from_string(source)
