"""A conversation as the text that a model was trained to continue.

Knows prompt formats: ours (templates/, by name) and those that folders bring. Turns messages into
text; tokens are encoding.py's, which model has which format registry.py's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from evalsuite.models import rendering
from evalsuite.models.names import ModelSpec
from evalsuite.models.registry import BASE_RAW, REPO, ModelEntry, find, find_template, registry
from evalsuite.records import UserError

Message = Mapping[str, str]
"""{"role": "system", "user" or "assistant", "content": text}"""

TEMPLATES = Path(__file__).parent / "templates"
# Real ones have a few thousand characters.
_LONGEST_SOURCE = 1_000_000


@dataclass(frozen=True)
class ChatTemplate:
    """A prompt format.

    `name` is one of ours, or "repo" for a folder's own. `stop_strings` end an answer besides EOS.
    `bos` says who writes the BOS token: "tokenizer" puts its id first, "template" has it in the
    text (or knows that there is none). `system` is the system text when none is given; a folder's
    own template has its own. `special` are the folder's special tokens by role, for its template.
    """

    name: str
    source: str
    stop_strings: tuple[str, ...]
    bos: Literal["tokenizer", "template"]
    system: str | None = None
    special: Mapping[str, str] = field(default_factory=dict)
    _worker: rendering.Worker | None = field(default=None, repr=False, compare=False)

    def render(
        self,
        messages: Sequence[Message],
        system: str | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt's text for a conversation of user and assistant in turn.

        `system` is the system text; it may also come as the first message. With
        `add_generation_prompt` the text ends where the model's answer begins.

        Raises:
            UserError: roles out of order, or a folder's template that refuses or misbehaves.
        """
        if messages and messages[0]["role"] == "system":
            if system is not None:
                raise UserError("a conversation has one system text, not two")
            system, messages = messages[0]["content"], messages[1:]
        _check_turns(messages)
        turns = [{"role": m["role"], "content": m["content"]} for m in messages]
        variables: dict[str, Any] = {"add_generation_prompt": add_generation_prompt}
        try:
            if self._worker is None:
                given = system if system is not None else self.system
                return rendering.render(self.source, {**variables, "system": given, "turns": turns})
            head = [] if system is None else [{"role": "system", "content": system}]
            variables.update(self.special, messages=[*head, *turns])
            return self._worker.render(self.source, variables)
        except rendering.RenderError as error:
            raise UserError(
                f"the prompt template {self.name!r} can't be used for this conversation: {error}"
            ) from error


def _check_turns(messages: Sequence[Message]) -> None:
    wanted = "user"
    for message in messages:
        if message["role"] != wanted:
            raise UserError(
                f"a conversation goes user, assistant, user, …; here {message['role']!r} stands "
                f"where {wanted!r} belongs"
            )
        wanted = "assistant" if wanted == "user" else "user"


def named_template(name: str) -> ChatTemplate | None:
    """One of our templates by name; None for `base_raw`, which is no format at all.

    Raises:
        UserError: an unknown name, or `repo`, which needs a folder.
    """
    exact = find_template(name)
    if exact == BASE_RAW:
        return None
    if exact == REPO:
        raise UserError("the template 'repo' is a folder's own; it has no text without one")
    facts = registry().templates[exact]
    source = (TEMPLATES / f"{exact}.jinja").read_text(encoding="utf-8")
    return ChatTemplate(exact, source, facts.stop, facts.bos, facts.system)


def repo_template(folder: Path, *, seconds: float = rendering.MOST_SECONDS) -> ChatTemplate | None:
    """The chat template that a folder brings; None when there is none.

    It is looked for where transformers does: chat_template.jinja, then tokenizer_config.json; then
    chat_template.json. Rendered in a process of its own, `seconds` at most for a conversation.

    Raises:
        UserError: a file that can't be read.
    """
    settings = _json(folder / "tokenizer_config.json")
    source = _repo_source(folder, settings)
    if source is None:
        return None
    if len(source) > _LONGEST_SOURCE:
        raise UserError(f"{folder}: its chat template has {len(source):,} characters; refused")
    special = _special_tokens(folder, settings)
    eos = special.get("eos_token")
    return ChatTemplate(
        REPO,
        source,
        (eos,) if eos else (),
        "template",
        None,
        special,
        rendering.Worker(seconds),
    )


def choose_template(spec: ModelSpec, folder: Path) -> ChatTemplate | None:
    """The prompt format of a model: named by --template or the registry, else the folder's own.

    A folder's template wins only where the registry has none. None: a base model, or a folder
    about which nothing is known; it can't chat.

    Raises:
        UserError: a template file that can't be read.
    """
    if spec.template is not None:
        return named_template(spec.template)
    own = repo_template(folder)
    if own is not None:
        return own
    entry: ModelEntry | None = find(spec.entry) if spec.entry else None
    if entry is not None and entry.template == REPO and entry.alternatives:
        return named_template(entry.alternatives[0])
    return None


def _repo_source(folder: Path, settings: Mapping[str, Any]) -> str | None:
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        return _text(jinja)
    found = settings.get("chat_template")
    if found is None:
        found = _json(folder / "chat_template.json").get("chat_template")
    if isinstance(found, list):  # several by name; "default" is the one for plain conversations
        named = {str(each.get("name")): each.get("template") for each in found}
        found = named.get("default")
    if found is not None and not isinstance(found, str):
        raise UserError(f"{folder}: the chat template in its files is no text")
    return found


def _special_tokens(folder: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """bos_token, eos_token and their like as texts, from where the folder has them."""
    found = {}
    for source in (_json(folder / "special_tokens_map.json"), settings):
        for name, value in source.items():
            text = value.get("content") if isinstance(value, dict) else value
            if name.endswith("_token") and isinstance(text, str):
                found[name] = text
    return found


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        loaded = json.loads(_text(path))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{path} does not hold a JSON object")
    return loaded


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read: {error}") from error
