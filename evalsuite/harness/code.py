"""Tasks whose score is what the model's programs do: their programs collected, run, and told.

lm-eval's tasks build a program and ask for its verdict in one go, document by document. Here each
task is scored once without verdicts, to learn its programs; all are run; then lm-eval scores for
good. It knows tasks and lm-eval's scoring loop; it must not know how programs are run.
"""

from __future__ import annotations

import ast
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

from evalsuite.harness import code_eval
from evalsuite.harness.task_set import TaskSet
from evalsuite.records import UserError
from evalsuite.sandbox.records import Case, Outcome, Protection


class Programs(Protocol):
    """Whoever runs the programs that a model wrote; `protection` is what holds them."""

    protection: Protection

    def run(self, cases: Sequence[Case]) -> Sequence[Outcome]:
        """Outcomes of `cases`, in their order."""


DETAIL_KEPT = 300  # characters of why a program did not pass, in a sample

_Place = tuple[str, str, int]  # task, filter, document


class NoVerdictError(Exception):
    """Nobody can tell whether a program is right, for no fault of its own."""


@dataclass
class Verdicts:
    """What became of a model's programs, by program and by where it was asked for."""

    cases: dict[Case, Case] = field(default_factory=dict)  # as lm-eval asks: as it is run
    outcomes: dict[Case, Outcome] = field(default_factory=dict)
    places: dict[_Place, list[Case]] = field(default_factory=lambda: defaultdict(list))

    def judge(self, asked: Case) -> bool:
        """Whether a program passed, for the metric.

        Raises NoVerdictError when it could not be run: its item is then without a result.
        """
        outcome = self.outcomes[self.cases[asked]]
        if not outcome.decided:
            raise NoVerdictError(f"a program could not be run: {outcome.detail}")
        return outcome.passed

    def lines(self, task: str, filter_name: str, document: int) -> list[dict[str, str]]:
        """What became of a document's programs, in the order of its answers, for its sample."""
        outcomes = map(self.outcomes.__getitem__, self.places[task, filter_name, document])
        return [{"status": o.status, "detail": o.detail[:DETAIL_KEPT]} for o in outcomes]


def run_programs(
    task_set: TaskSet, answers: Sequence[tuple[Any, Any]], programs: Programs | None
) -> Verdicts:
    """Run every program of a model's answers, each distinct one once.

    `answers` are pairs of a generation's instance and its text, an instance once a repeat. Raises
    UserError when there are programs and nobody to run them.
    """
    verdicts = Verdicts()
    texts: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
    for instance, text in answers:
        texts[instance.task_name].append((instance, text))
    for name in sorted(task_set.code & task_set.tasks.keys()):
        if code_eval.calls_code_eval(task_set.tasks[name]):
            _collect(task_set, name, texts[name], verdicts)
    distinct = list(dict.fromkeys(verdicts.cases.values()))
    if distinct:
        if programs is None:
            raise UserError(
                f"{', '.join(sorted(task_set.code))}: the model's programs are to be run, and "
                "nothing that runs them was given."
            )
        verdicts.outcomes.update(zip(distinct, programs.run(distinct), strict=True))
    return verdicts


def _collect(
    task_set: TaskSet, name: str, answers: Sequence[tuple[Any, Any]], verdicts: Verdicts
) -> None:
    """Score a task as lm-eval will, and note its programs; what it reports now is not used."""
    task = task_set.tasks[name]
    fresh = task_set.fresh()[name]
    copies = dict(zip(map(id, task_set.instances[name]), fresh, strict=True))
    for instance, text in answers:
        copies[id(instance)].resps.append(text)
    fresh = [copy for copy in fresh if copy.resps]  # a server may have left some unanswered
    by_document: dict[int, list[Any]] = defaultdict(list)
    for copy in fresh:
        by_document[copy.doc_id].append(copy)
    task._instances = fresh
    try:
        task.apply_filters()
        for filter_name in fresh[0].filtered_resps:
            for number, copied in by_document.items():
                document = copied[0].doc
                here = verdicts.places[name, filter_name, number]

                def note(asked: Case, document: Any = document, here: list = here) -> bool:
                    here.append(verdicts.cases.setdefault(asked, _case(asked, document)))
                    return False

                # An answer that the scorer can't take fails again, and is told, when it counts.
                with code_eval.judging(note), suppress(Exception):
                    responses = [c.filtered_resps[filter_name] for c in copied]
                    task.process_results(document, responses)
    finally:
        task._instances = list(task_set.instances[name])


def _case(asked: Case, document: Mapping[str, Any]) -> Case:
    """A case with what its data set says beside lm-eval's program and tests.

    HumanEval's tests may call helpers that the `prompt` defines, but its entry point is always the
    candidate's. MBPP has a column of statements to run before the tests (`test_setup_code`, which
    one of its 500 test rows uses); lm-eval leaves it out, so that nothing passes on that row. Its
    reference solution (`code`) tells which functions are meant, where one is called `sum`.
    """
    prompt, setup = document.get("prompt"), document.get("test_setup_code")
    entry, reference = document.get("entry_point"), document.get("code")
    names: set[str] = set()
    if isinstance(entry, str) and entry.isidentifier():
        names.add(entry)
        if isinstance(prompt, str) and asked.candidate.startswith(prompt) and _parsed(prompt):
            asked = replace(asked, helpers=prompt)
    if isinstance(setup, str) and setup.strip():
        asked = replace(asked, tests=f"{setup}\n{asked.tests}")
    if isinstance(reference, str):
        names |= _functions(reference) & _called(asked.tests)
    return replace(asked, names=tuple(sorted(names)))


@lru_cache(maxsize=1024)  # a document's texts come once a sample
def _parsed(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\\d" in a data set's text is not ours to mend
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _functions(source: str) -> set[str]:
    tree = _parsed(source)
    return {n.name for n in tree.body if isinstance(n, ast.FunctionDef)} if tree else set()


def _called(source: str) -> set[str]:
    tree = _parsed(source)
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree else []
    return {function.id for function in calls if isinstance(function, ast.Name)}
