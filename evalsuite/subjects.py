"""A model as a run asks it, from its name made sure of to scores and answers to the judge.

Hides from the pipeline where a model computes. Decides which prompt format its tasks get; knows the
store and the harness, no file of a run.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from evalsuite.config import RunConfig
from evalsuite.inference import Inference, Usage
from evalsuite.judge import Answer, Question
from evalsuite.judge.answers import TextAsker
from evalsuite.judging import BASE_MODEL_TEMPLATE, asker, sampling
from evalsuite.loading import LoadedModel
from evalsuite.models import ChatTemplate, ModelSpec, choose_template, named_template
from evalsuite.records import Failure, UserError
from evalsuite.remote_inference import RemoteInference
from evalsuite.servers import Server

if TYPE_CHECKING:
    from evalsuite.harness.code import Programs
    from evalsuite.harness.evaluate import Evaluation
    from evalsuite.harness.task_set import TaskSet


class Subject(Protocol):
    """One model of a run.

    `notes` are worth telling a person once everything was asked; `failed` says what it gave no
    numbers for.
    """

    @property
    def notes(self) -> Sequence[str]: ...

    @property
    def failed(self) -> Sequence[Failure]: ...

    @property
    def usage(self) -> Usage: ...

    def evaluate(self, task_set: TaskSet, programs: Programs | None = None) -> Evaluation:
        """Asks the tasks and scores them; `programs` runs those that the model wrote."""
        ...

    def answers(self, questions: Sequence[Question]) -> tuple[tuple[Answer, ...], int]:
        """Answers to all turns, and how many prompts were cut to fit the context."""
        ...

    def about(self) -> dict[str, Any]: ...


def task_template(spec: ModelSpec, folder: Path, chat: str) -> ChatTemplate | None:
    """The prompt format of a model's tasks under a --chat value; None: prompts as they stand.

    auto: an instruction model gets its own for every task, with scores as with answers. That is
    how lm-eval applies a template and how public leaderboards measure instruction models; a task
    scored without it would measure another prompt than the one that the model was trained for.

    Raises:
        UserError: "always", and there is none.
    """
    if chat == "never":
        return None
    template = choose_template(spec, folder)
    if template is None and chat == "always":
        raise UserError(
            f"--chat always: {spec.label} has no prompt format for conversations; name one with "
            "--template"
        )
    return template


def conversation_tasks(
    task_set: TaskSet, template: ChatTemplate | None, config: RunConfig
) -> tuple[TaskSet, tuple[str, ...]]:
    """The tasks in a prompt format (None: as they are), and notes on what it did to them.

    Raises:
        UserError: the format refuses the messages of a task.
    """
    if template is None:
        return task_set, ()
    from evalsuite.harness.chat import TemplateRender, in_chat
    from evalsuite.harness.task_set import Chat

    render = TemplateRender(template)
    chat = Chat(template.name, template.source, config.chat_fewshot == "turns")
    chatted = in_chat(task_set, render, chat)
    note = f"the prompt format {template.name} takes no system text: tasks go without theirs"
    return chatted, (note,) if render.without_system else ()


@dataclass
class LocalSubject:
    """A model in this process's memory."""

    model: LoadedModel
    config: RunConfig
    inference: Inference
    notes: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()

    @property
    def usage(self) -> Usage:
        """What it took so far."""
        return self.inference.usage

    @cached_property
    def template(self) -> ChatTemplate | None:
        """The prompt format of its tasks."""
        return task_template(self.model.spec, self.model.weights.folder, self.config.chat)

    def evaluate(self, task_set: TaskSet, programs: Programs | None = None) -> Evaluation:
        """Asks all tasks, in the model's prompt format where it has one, and scores them."""
        from evalsuite.harness.adapter import EngineLM
        from evalsuite.harness.evaluate import evaluate

        task_set, notes = conversation_tasks(task_set, self.template, self.config)
        self.notes += notes
        lm = EngineLM(
            self.model.tokenizer,
            self.model.engine.max_length,
            self.inference.score,
            self.inference.generate,
            run_seed=self.config.seed,
            stop=self.template.stop_strings if self.template else (),
        )
        return evaluate(task_set, lm, model=self.model.spec.label, programs=programs)

    def answers(self, questions: Sequence[Question]) -> tuple[tuple[Answer, ...], int]:
        """The model's answers to the judge's questions."""
        model = self.model
        asking = asker(model.template, model.tokenizer, model.engine.max_length, self.config)
        given, cut = asking.answers(questions, self.inference.generate)
        return tuple(given), cut

    def about(self) -> dict[str, Any]:
        """What the manifest says of the model; `chat` is the prompt format of its tasks."""
        chat = None
        if self.template is not None:
            chat = {"template": self.template.name, "fewshot": self.config.chat_fewshot}
        return {**self.model.about(), "chat": chat}


@dataclass
class ServerSubject:
    """A model behind a server."""

    spec: ModelSpec
    server: Server
    config: RunConfig
    inference: RemoteInference
    notes: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()

    @property
    def usage(self) -> Usage:
        """What it took so far."""
        return self.inference.usage

    def evaluate(self, task_set: TaskSet, programs: Programs | None = None) -> Evaluation:
        """Asks the tasks that the server can be asked, and scores them; names the others."""
        from evalsuite.harness.evaluate import evaluate
        from evalsuite.harness.remote import ServerLM, unaskable

        skipped = unaskable(task_set, scores=self.server.scores)
        self._skip(list(task_set.lost(dict.fromkeys(skipped, ""))), from_suites(self.config))
        task_set = task_set.without(skipped)
        talks: list[str] = []
        if self.server.chat:
            scored = unaskable(task_set, scores=False)
            talks = [name for name in task_set.tasks if name not in scored]
            task_set = self._in_chat(task_set, talks)
        lm = ServerLM(self.inference.ask, chat=talks, run_seed=self.config.seed)
        evaluation = evaluate(task_set, lm, model=self.spec.label, programs=programs)
        for line, reason in task_set.lost(lm.reasons).items():
            members = task_set.infos[line].members or (line,)
            items = {(name, i.doc_id) for name in members for i in task_set.instances[name]}
            why = f"{len(items & lm.lost)} of {len(items)} items have no result: {reason}"
            self.failed += (Failure(self.spec.label, line, "infer", why),)
        return evaluation

    def _skip(self, tasks: Sequence[str], suites: Collection[str]) -> None:
        if not tasks:
            return
        why = self.server.why_not or "it can't score a whole text without a context"
        named = [task for task in tasks if task not in suites]
        self.failed += tuple(
            Failure(self.spec.label, task, "plan", f"needs log-probabilities: {why}")
            for task in named
        )
        self.notes += (f"skipped, since {why}: {', '.join(tasks)}",)

    def _in_chat(self, task_set: TaskSet, talks: Sequence[str]) -> TaskSet:
        """The tasks in `talks` as messages, the others as they stand."""
        from evalsuite.harness.chat import as_json, in_chat
        from evalsuite.harness.task_set import Chat

        chat = Chat("server", "", self.config.chat_fewshot == "turns")
        if len(talks) < len(task_set.tasks):
            self.notes += (
                "its log-probabilities are of plain prompts, its answers of conversations",
            )
        return in_chat(task_set, as_json, chat, talks)

    def answers(self, questions: Sequence[Question]) -> tuple[tuple[Answer, ...], int]:
        """The model's answers to the judge's questions.

        Raises:
            UserError: one of them got no reply.
        """
        template = named_template(BASE_MODEL_TEMPLATE)
        asking = TextAsker(self.server.chat, template, sampling(self.config))
        return asking.answers(questions, self.inference.ask), 0

    def about(self) -> dict[str, Any]:
        """What the manifest says of the model; `served` are the ids that the server returned."""
        endpoint = self.server.endpoint
        chat = {"template": "server", "fewshot": self.config.chat_fewshot}
        return {
            "name": self.spec.label,
            "source": f"{endpoint.model} at {endpoint.url}",
            "endpoint": endpoint.url,
            "requested": endpoint.model,
            "served": list(self.inference.served),
            "revision": None,
            "registry": None,
            "template": "server" if self.server.chat else None,
            "adapter": None,
            "weights_sha256": None,
            "tokenizer_sha256": None,
            "parameters": None,
            "dtype": None,
            "quantize": None,
            "device": None,
            "workers": None,
            "ranks": None,
            "max_length": None,
            "note": "",
            "chat": chat if self.server.chat else None,
            "scores": self.server.scores,
            "why_no_scores": self.server.why_not,
        }


def from_suites(config: RunConfig) -> set[str]:
    """The tasks of a run that came with a suite and were not named themselves."""
    from evalsuite.harness.catalog import list_suites

    asked = config.tasks or ("core",)
    suites = (suite for suite in list_suites() if suite.name in asked)
    return {task for suite in suites for task in suite.tasks} - set(config.tasks)
