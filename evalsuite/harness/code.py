"""Tasks whose score is what the model's programs do: their programs collected, run, and told.

lm-eval's tasks build a program and ask for its verdict in one go, document by document. Here each
task is scored once without verdicts, to learn its programs; all are run; then lm-eval scores for
good. It knows tasks and lm-eval's scoring loop; it must not know how programs are run.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evalsuite.harness import code_eval
from evalsuite.harness.tasks import TaskSet
from evalsuite.records import Program, ProgramResult, UserError

RunPrograms = Callable[[Sequence[Program]], Sequence[ProgramResult]]

_Place = tuple[str, str, int]  # task, filter, document


@dataclass
class Verdicts:
    """What became of a model's programs, by program and by where it was asked for."""

    programs: dict[Program, Program] = field(default_factory=dict)  # as asked: as run
    results: dict[Program, ProgramResult] = field(default_factory=dict)
    places: dict[_Place, list[Program]] = field(default_factory=lambda: defaultdict(list))

    def judge(self, asked: Program) -> bool | None:
        """Whether a program passed, for the metric; None without a verdict."""
        status = self.results[self.programs[asked]].status
        return None if status == "infra_error" else status == "passed"

    def at(self, task: str, filter_name: str, document: int) -> list[ProgramResult]:
        """The results of a sample's programs, in the order of its answers; [] for other tasks."""
        places = self.places.get((task, filter_name, document), [])
        return [self.results[program] for program in places]


def run_programs(
    task_set: TaskSet, answers: Sequence[tuple[Any, Any]], run: RunPrograms | None
) -> Verdicts:
    """Run every program of a model's answers, each distinct one once.

    `answers` are pairs of a generation's instance and its text, an instance once a repeat. Raises
    UserError when there are programs and nobody to run them.
    """
    verdicts = Verdicts()
    texts: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
    for instance, text in answers:
        texts[instance.task_name].append((instance, text))
    for name in sorted(task_set.code):
        if code_eval.calls_code_eval(task_set.tasks[name]):
            _collect(task_set, name, texts[name], verdicts)
    distinct = list(dict.fromkeys(verdicts.programs.values()))
    if distinct:
        if run is None:
            raise UserError("The tasks run code that the model wrote, and nothing was given to it.")
        verdicts.results.update(zip(distinct, run(distinct), strict=True))
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

                def note(asked: Program, document: Any = document, here: list = here) -> None:
                    program = verdicts.programs.setdefault(asked, _program(asked, document))
                    here.append(program)

                with code_eval.judging(note):
                    responses = [c.filtered_resps[filter_name] for c in copied]
                    task.process_results(document, responses)
    finally:
        task._instances = list(task_set.instances[name])


def _program(asked: Program, document: Mapping[str, Any]) -> Program:
    """A program with what its data set gives to the tests beside the candidate.

    HumanEval's tests may call helpers that the `prompt` defines. MBPP has a column of statements to
    run before the tests (`test_setup_code`, one of its 500 test rows has any), which lm-eval leaves
    out, so that even the reference solution of that row fails there.
    """
    prompt, setup = document.get("prompt"), document.get("test_setup_code")
    if isinstance(prompt, str) and prompt and asked.candidate.startswith(prompt):
        asked = replace(asked, helpers=prompt)
    if isinstance(setup, str) and setup.strip():
        asked = replace(asked, tests=f"{setup}\n{asked.tests}")
    return asked


# ---- in the samples and results ------------------------------------------------------------------


def annotate(name: str, samples: Sequence[dict[str, Any]], verdicts: Verdicts) -> set[int]:
    """Write each sample's program results into it; returns the documents without a verdict.

    A document is without one when any of its programs could not be run: its metrics are null then.
    """
    lost = set()
    for sample in samples:
        results = verdicts.at(name, sample["filter"], sample["doc_id"])
        if not results:
            continue
        sample["programs"] = [{"status": r.status, "detail": r.detail} for r in results]
        if any(result.status == "infra_error" for result in results):
            lost.add(sample["doc_id"])
            sample.update({metric: None for metric in sample["metrics"]})
    return lost


def leave_out(
    raw: Mapping[str, Any], name: str, samples: Sequence[Mapping[str, Any]], lost: set[int]
) -> None:
    """lm-eval's results of a task as they are without the documents that are `lost`.

    Means and their standard errors are made again from what is left; a metric that was not a mean
    of documents, and one of which nothing is left, is "N/A", lm-eval's word.
    """
    from lm_eval.api.metrics import mean, mean_stderr

    results = raw["results"][name]
    for key, value in list(results.items()):
        metric, comma, filter_name = key.rpartition(",")
        if not comma or not isinstance(value, float) or not math.isnan(value):
            continue
        if metric.endswith("_stderr"):
            continue
        values = [
            sample[metric]
            for sample in samples
            if sample["filter"] == filter_name and sample["doc_id"] not in lost
        ]
        results[key] = mean(values) if values else "N/A"
        results[f"{metric}_stderr,{filter_name}"] = (
            mean_stderr(values) if len(values) > 1 else "N/A"
        )
