"""The same tasks as conversations: prompts in a model's chat format, few-shots as turns or in one.

lm-eval builds the messages, by its own `--apply_chat_template`; it is given a function that turns
them into text. Knows tasks and that function; no tokenizer, no model.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from evalsuite.harness import lmeval
from evalsuite.harness.collector import resting
from evalsuite.harness.drawing import documents
from evalsuite.harness.faults import task_errors
from evalsuite.harness.task_set import Chat, TaskSet
from evalsuite.models import ChatTemplate
from evalsuite.records import UserError

Message = Mapping[str, str]

# transformers' own mark: where an answer that has been begun is to be gone on with.
_CONTINUE = "CONTINUE_FINAL_MESSAGE_TAG "


class Render(Protocol):
    """Messages to a prompt; without a generation prompt the last message is gone on with."""

    def __call__(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str: ...


def in_chat(
    task_set: TaskSet, render: Render, chat: Chat, names: Collection[str] | None = None
) -> TaskSet:
    """The task set with its requests built anew as conversations; the one given stays as it was.

    `chat` says what the format is; `chat.turns` whether few-shots are turns of the conversation
    or stand in one message with the question. With `names` only these tasks are conversations.

    Raises:
        UserError: the format refuses the messages of a task.
    """
    wanted = set(task_set.tasks if names is None else names)
    tasks = {name: task for name, task in task_set.tasks.items() if name in wanted}
    instances: dict[str, Sequence[Any]] = dict(task_set.instances)
    with resting(), lmeval.quiet() as log, lmeval.building() as place:
        for task in tasks.values():
            task.set_fewshot_seed(seed=task_set.seed)
        for name, task in tasks.items():
            try:
                with task_errors(name, place), lmeval.examples_once(task):
                    task.build_all_requests(
                        **documents(task_set.limit, task_set.drawn, name),
                        rank=0,
                        world_size=1,
                        apply_chat_template=True,
                        fewshot_as_multiturn=chat.turns,
                        chat_template=render,
                    )
                instances[name] = tuple(task.instances)
            finally:
                task._instances = list(task_set.instances[name])
    return dataclasses.replace(
        task_set,
        instances=instances,
        warnings=tuple(dict.fromkeys((*task_set.warnings, *log.messages))),
        chat=chat if tasks else task_set.chat,
    )


class TemplateRender:
    """Prompts by a template, as lm-eval's hf backend makes them.

    A template that takes no system text gets the conversation without one; `without_system` says
    whether that happened.
    """

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self.without_system = False

    def __call__(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """The prompt's text. Raises UserError for messages that the template refuses."""
        try:
            return self._text(messages, add_generation_prompt)
        except UserError:
            rest = [message for message in messages if message["role"] != "system"]
            if len(rest) == len(messages):
                raise
            text = self._text(rest, add_generation_prompt)
            self.without_system = True
            return text

    def _text(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        if add_generation_prompt:
            return self._template.render(messages)
        *before, last = messages
        marked = {**last, "content": last["content"] + _CONTINUE}
        text = self._template.render([*before, marked], add_generation_prompt=False)
        at = text.rfind(_CONTINUE.strip())
        if at < 0:
            raise UserError(
                f"the prompt template {self._template.name!r} leaves out an answer that has been "
                "begun, so it can't be gone on with"
            )
        # A template that trims an answer takes the mark's space along.
        return text[:at] if text.startswith(_CONTINUE, at) else text[:at].rstrip()


def as_json(messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
    """The messages themselves, for a server that applies its own template; lm-eval's form of it.

    An answer that has been begun is the last message.
    """
    return json.dumps([dict(message) for message in messages], ensure_ascii=False)
