"""What is asked of every model of a run: tasks with their documents and finished requests.

Knows lm-eval's tasks as they were loaded; it must not know files, models or tokenizers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evalsuite.harness.families import Family
from evalsuite.records import Failure, TaskInfo


@dataclass(frozen=True, slots=True)
class Chat:
    """A prompt format of conversations: its name, its text, and whether few-shots are turns."""

    template: str
    source: str
    turns: bool = True


@dataclass(frozen=True)
class TaskSet:
    """Tasks that are ready to be asked.

    `instances` are lm-eval's requests by task, in its order; they are never answered themselves:
    `fresh()` makes the copies that one model's answers go into. `limit` is the number of documents
    a task that was asked for, `seed` that of the few-shot examples. `infos` are the lines of a
    report: a task each, or a family of tasks (`families`). `drawn` are the documents' indices by
    task where a suite draws them (then of all tasks, and `limit` is in them), else None. `code` are
    the tasks that run what the model wrote, `skipped` says of those left out for it why. `chat` is
    the format when the requests are conversations.
    """

    tasks: Mapping[str, Any]
    groups: Mapping[str, Any]
    infos: Mapping[str, TaskInfo]
    instances: Mapping[str, Sequence[Any]]
    warnings: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 1234
    code: frozenset[str] = frozenset()
    skipped: tuple[Failure, ...] = ()
    families: Mapping[str, Family] = field(default_factory=dict)
    drawn: Mapping[str, Sequence[int]] | None = None
    chat: Chat | None = None

    def fresh(self) -> dict[str, list[Any]]:
        """Copies of all instances with no answers in them, by task."""
        from lm_eval.api.instance import Instance

        return {
            name: [Instance(i.request_type, i.doc, i.arguments, i.idx, i.metadata) for i in items]
            for name, items in self.instances.items()
        }

    def without(self, names: Collection[str], *, shrink: bool = False) -> TaskSet:
        """The set without some tasks, and without the families that they are members of.

        With `shrink` a family whose documents weigh alike goes on with its other members.
        """
        families = dict(self.families)
        broken: set[str] = set()
        for family in self.families.values():
            left = tuple(member for member in family.members if member not in names)
            if len(left) == len(family.members):
                continue
            if shrink and left and all(family.metrics.values()):
                families[family.name] = replace(family, members=left)
            else:
                broken.add(families.pop(family.name).name)
        gone = {*names, *(m for name in broken for m in self.families[name].members)}
        if not gone:
            return self
        return replace(
            self,
            tasks={name: task for name, task in self.tasks.items() if name not in gone},
            groups={
                name: group
                for name, group in self.groups.items()
                if gone.isdisjoint(task.task_name for task in group.get_all_tasks())
            },
            infos={
                name: replace(info, members=families[name].members) if name in families else info
                for name, info in self.infos.items()
                if name not in gone | broken
            },
            instances={name: its for name, its in self.instances.items() if name not in gone},
            families=families,
        )

    def lost(self, reasons: Mapping[str, str]) -> dict[str, str]:
        """`reasons` by task as reasons by line: a family's is that of its first such member."""
        owner = {member: f.name for f in self.families.values() for member in f.members}
        lost: dict[str, str] = {}
        for name, reason in reasons.items():
            lost.setdefault(owner.get(name, name), reason)
        return lost
