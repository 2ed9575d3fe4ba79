"""Presets and prompts: what a judge is asked, word by word.

Knows the templates, the delimiters around answers and the marks that are broken inside them. It
must not know which models answered: a judge never sees a name.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from evalsuite.judge.files import judge_folder, read_mapping
from evalsuite.judge.neutral import neutral
from evalsuite.judge.readers import READERS, Reading
from evalsuite.judge.records import Question
from evalsuite.reading import read_text
from evalsuite.records import UserError

if TYPE_CHECKING:
    from jinja2 import Template

_DELIMITER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Shown:
    """What a judge is shown: everything up to the judged `turn` (0 is the first), one text a turn.

    Marks in the answers are broken already. `second` is empty where one answer is judged alone;
    `references` may be shorter than `turns`.
    """

    turn: int
    turns: tuple[str, ...]
    references: tuple[str, ...]
    first: tuple[str, ...]
    second: tuple[str, ...]
    delimiter: str

    @property
    def reference(self) -> str:
        """The judged turn's reference answer, "" without one."""
        return self.references[self.turn] if self.turn < len(self.references) else ""


class Prompts(Protocol):
    """The words around what is shown. `lines` are headings that an answer must not spell.

    `earlier_references` says that those of earlier turns are shown as well.
    """

    @property
    def hash(self) -> str:
        """Stands for every word of the prompts."""

    @property
    def lines(self) -> tuple[str, ...]: ...

    @property
    def earlier_references(self) -> bool: ...

    def messages(self, shown: Shown) -> list[dict[str, str]]:
        """The chat to send."""

    def problem_with(self, question: Question) -> str | None:
        """Why a question can't be put in these words; None when it can."""


@dataclass(frozen=True, slots=True)
class JinjaPrompts:
    """Our own prompts: a template for the system's message and one for the user's.

    The system's says how to judge. It gets the turn and whether there is a reference, nothing that
    anybody wrote.
    """

    system: str
    user: str
    lines: tuple[str, ...] = ()  # a code that is new for each call stands in every marker
    earlier_references: bool = False

    @property
    def hash(self) -> str:
        """SHA-256 of the templates' text."""
        return hashlib.sha256(f"{self.system}\0{self.user}".encode()).hexdigest()

    def messages(self, shown: Shown) -> list[dict[str, str]]:
        """The chat to send."""
        values = {
            "turn": shown.turn,
            "turns": shown.turns,
            "has_reference": bool(shown.reference),
            "reference": shown.reference,
            "first": shown.first,
            "second": shown.second,
            "delimiter": shown.delimiter,
        }
        return [
            {"role": "system", "content": _system(self.system, shown.turn, bool(shown.reference))},
            {"role": "user", "content": _template(self.user).render(values).strip()},
        ]

    def problem_with(self, question: Question) -> str | None:
        """None: they take any number of turns."""
        return None


@dataclass(frozen=True, slots=True)
class Preset:
    """One way of judging, whole: what is asked, how often, and how replies are read.

    `reader` is a name in READERS, `marks` are the kinds of marks that are broken in answers.
    `answers` in one call: 2, or 1 where each is judged alone. `orders`: 2, or 1 where the answer of
    the model named first always stands first. `top_logprobs` above 0: one token is asked for, and
    so many of those that could have stood there, with their log-probabilities.
    """

    name: str
    description: str
    prompts: Prompts
    reader: str
    marks: tuple[str, ...]
    answers: int
    orders: int
    temperature: float
    max_tokens: int
    expected_tokens: int
    top_logprobs: int = 0

    @property
    def template_hash(self) -> str:
        """Stands for every word of its prompts."""
        return self.prompts.hash

    @property
    def alone(self) -> bool:
        """Whether each answer is judged by itself."""
        return self.answers == 1

    def read(self, reply: str, finished: bool) -> Reading:
        """What a reply says; `finished` False: it was cut off at the most tokens."""
        return READERS[self.reader](reply, finished)

    def check(self, questions: Iterable[Question]) -> None:
        """Makes sure that every question can be put to the judge.

        Raises:
            UserError: one can't.
        """
        for question in questions:
            if problem := self.prompts.problem_with(question):
                raise UserError(f"question {question.question_id}: {problem}")


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
        prompts=JinjaPrompts(
            system=read_text(prompts / about["system"], "the prompt"),
            user=read_text(prompts / about["user"], "the prompt"),
        ),
        reader=about["reader"],
        marks=tuple(about["marks"]),
        answers=int(about["answers"]),
        orders=int(about["orders"]),
        temperature=float(about["temperature"]),
        max_tokens=int(about["max_tokens"]),
        expected_tokens=int(about["expected_tokens"]),
        top_logprobs=int(about.get("top_logprobs", 0)),
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
    """The chat that puts answers (one text a turn, up to `turn`) before a judge.

    `second` is empty where the preset judges each answer alone.
    """
    upto = turn + 1
    one, two = (
        tuple(neutral(text, preset.marks, preset.prompts.lines) for text in texts[:upto])
        for texts in (first, second)
    )
    shown = Shown(turn, question.turns[:upto], question.reference[:upto], one, two, delimiter)
    return preset.prompts.messages(shown)


@lru_cache(maxsize=64)
def _system(source: str, turn: int, has_reference: bool) -> str:
    return _template(source).render(turn=turn, has_reference=has_reference).strip()


@lru_cache(maxsize=64)
def _template(source: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
    # A prompt is made of its call alone; and a template's helpers are copied at each rendering.
    environment.globals.clear()
    return environment.from_string(source)
