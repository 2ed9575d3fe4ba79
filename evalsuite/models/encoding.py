"""A conversation as token ids: BOS exactly once, and no content that passes for a special token.

Knows prompt formats (chat.py) and transformers' fast tokenizers; no model, no engine. The ids are
those of the tokenizer's own call on the rendered text, except where a message's content spells a
special token: that stays text.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evalsuite.models.chat import ChatTemplate, Message
from evalsuite.records import UserError


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A prompt ready for an engine.

    `text` is what the template rendered, without a BOS that the tokenizer adds. `literal` counts
    the special tokens' names in the messages that were encoded as plain text.
    """

    text: str
    tokens: tuple[int, ...]
    literal: int = 0


@dataclass(frozen=True, slots=True)
class _Added:
    """An added token: what it is called, and what it is called in the twin."""

    name: str
    private: str
    id: int
    control: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a renamed token stands in the twin's text, and the twin's id it must come out with."""

    number: int
    start: int
    end: int
    id: int | None


class ChatEncoder:
    """Encodes conversations for one tokenizer and one template.

    How contents are kept apart from the template's own tokens: `</s>` in a message and `</s>` from
    the template are the same characters, so the text alone can't tell them apart. The encoder has
    a twin of the tokenizer in which every control token has a secret name, made anew each time.
    What the template writes is renamed before the twin reads it, what a message spells is not, and
    the twin's ids are mapped back. Nothing else of the tokenizer differs, so the tokens of any
    other text are those of the tokenizer itself: the text is neither cut into pieces nor changed.

    Control tokens are those that the tokenizer calls special and those that the template writes.
    """

    def __init__(self, tokenizer: Any, template: ChatTemplate) -> None:
        """Raises UserError for a tokenizer that the `tokenizers` library doesn't run."""
        from tokenizers import Tokenizer

        self.template = template
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise UserError(
                "conversations need a fast tokenizer (tokenizer.json), which this model lacks"
            )
        described = json.loads(backend.to_str())
        secret = secrets.token_hex(8)
        self._added: dict[str, _Added] = {}
        for number, token in enumerate(described["added_tokens"]):
            name = token["content"]
            # Some vocabularies add runs of spaces; templates write those as ordinary text.
            written = name in template.source and not name.isspace()
            control = bool(token["special"] or written)
            token["content"] = f"\ue000{secret}{number}\ue001" if control else name
            self._added[name] = _Added(name, token["content"], token["id"], control)
        described.update(truncation=None, padding=None, post_processor=None)
        self._twin = Tokenizer.from_str(json.dumps(described))
        # The twin numbers renamed tokens in its own way.
        self._ids = {self._twin.token_to_id(t.private): t.id for t in self._added.values()}
        self._control_ids = {t.id for t in self._added.values() if t.control}
        self._quote, self._end_quote = f"\ue002{secret}\ue003", "\ue004"
        # Longest first: the tokenizer, too, prefers the longest of several names at one place.
        longest = sorted(self._added, key=len, reverse=True)
        self._names = re.compile("|".join(map(re.escape, longest)) or "(?!)")
        self._quoted = re.compile(f"{self._quote}([0-9]+){self._end_quote}")
        self._numbers = {name: number for number, name in enumerate(self._added)}
        self._bos = tokenizer.bos_token if tokenizer.bos_token in self._added else None
        self._prefix = _prefix(tokenizer)

    def encode(
        self,
        messages: Sequence[Message],
        system: str | None = None,
        add_generation_prompt: bool = True,
    ) -> ChatPrompt:
        """The prompt for a conversation, as `ChatTemplate.render` takes it.

        Raises:
            UserError: as `render` does; a template that writes BOS twice or changes the special
                tokens that a message spells; a tokenizer that makes special tokens from any text.
        """
        text = self.template.render(messages, system, add_generation_prompt)
        quoted = [
            {**message, "content": self._quote_all(message["content"])} for message in messages
        ]
        quoted_system = None if system is None else self._quote_all(system)
        literal = sum(len(self._quoted.findall(m["content"])) for m in quoted)
        literal += len(self._quoted.findall(quoted_system or ""))
        marked = text
        if literal:
            marked = self.template.render(quoted, quoted_system, add_generation_prompt)
            if self._unquote_all(marked) != text:
                raise UserError(
                    f"the prompt template {self.template.name!r} treats special tokens inside a "
                    "message in a way of its own, so they can't be told from the template's"
                )
        return ChatPrompt(text, self._encode(marked), literal)

    def _encode(self, marked: str) -> tuple[int, ...]:
        """Ids of a rendered text in which the contents' special tokens are quoted."""
        kept: frozenset[int] = frozenset()
        while True:
            text, own = self._renamed(marked, kept)
            encoding = self._twin.encode(text, add_special_tokens=False)
            missed = _missed(encoding, own)
            if not missed:
                break
            # The tokenizer itself doesn't take this name for a token where it stands (some want a
            # space beside them, some a text's beginning): there it is text, under its own name.
            kept |= missed
        tokens = [self._ids.get(token, token) for token in encoding.ids]
        # Some models of a vocabulary look whole words up and find a special token among them.
        if sum(token in self._control_ids for token in tokens) != len(own):
            raise UserError(
                "this tokenizer turns a message's text into special tokens; "
                "the conversation can't be encoded safely"
            )
        if self._bos is None:
            return (*self._prefix, *tokens)
        # The text may say itself that it begins with BOS; the tokenizer then adds none.
        bos = self._added[self._bos]
        if not text.startswith(bos.private):
            tokens = [*self._prefix, *tokens]
        if tokens[:2] == [bos.id, bos.id]:
            raise UserError(
                f"the prompt template {self.template.name!r} and the tokenizer put BOS twice"
            )
        return tuple(tokens)

    def _renamed(self, marked: str, kept: frozenset[int]) -> tuple[str, list[_Place]]:
        """The text with the template's tokens under their secret names, and where those stand.

        `kept` are the numbers of those that keep their own names.
        """
        parts: list[str] = []
        places: list[_Place] = []
        length = at = 0

        def write(text: str) -> None:
            nonlocal length
            parts.append(text)
            length += len(text)

        for number, match in enumerate(self._names.finditer(marked)):
            write(self._unquote_all(marked[at : match.start()]))
            token = self._added[match[0]]
            if token.control and number not in kept:
                inside = self._twin.token_to_id(token.private)
                places.append(_Place(number, length, length + len(token.private), inside))
                write(token.private)
            else:
                write(match[0])
            at = match.end()
        write(self._unquote_all(marked[at:]))
        return "".join(parts), places

    def _quote_all(self, content: str) -> str:
        def quote(match: re.Match[str]) -> str:
            if not self._added[match[0]].control:
                return match[0]
            return f"{self._quote}{self._numbers[match[0]]}{self._end_quote}"

        return self._names.sub(quote, content)

    def _unquote_all(self, text: str) -> str:
        names = list(self._added)
        return self._quoted.sub(lambda match: names[int(match[1])], text)


def encode_chat(
    tokenizer: Any,
    template: ChatTemplate,
    messages: Sequence[Message],
    system: str | None = None,
    add_generation_prompt: bool = True,
) -> ChatPrompt:
    """One conversation encoded; for many, keep a ChatEncoder, whose making takes longer.

    Raises UserError as ChatEncoder and its `encode` do.
    """
    return ChatEncoder(tokenizer, template).encode(messages, system, add_generation_prompt)


def _missed(encoding: Any, places: Sequence[_Place]) -> frozenset[int]:
    """The numbers of the places that an encoding did not read as one token."""
    found = list(zip(encoding.ids, encoding.offsets, strict=True))
    at, missed = 0, set()
    for place in places:
        while at < len(found) and found[at][1][1] < place.end:
            at += 1
        # A token may take spaces beside it along, so it covers the place or more.
        hit = at < len(found) and found[at][0] == place.id and found[at][1][0] <= place.start
        if not hit:
            missed.add(place.number)
    return frozenset(missed)


def _prefix(tokenizer: Any) -> list[int]:
    """What the tokenizer puts before a text by its own rule: BOS, or nothing."""
    bare = list(tokenizer("x", add_special_tokens=False)["input_ids"])
    full = list(tokenizer("x", add_special_tokens=True)["input_ids"])
    starts = (at for at in range(len(full)) if full[at : at + len(bare)] == bare)
    return full[: next(starts, 0)]
