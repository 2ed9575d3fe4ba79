"""The `code_eval` metric as lm-eval's tasks call it, with the running of programs taken out.

A task's own functions build its programs and average its verdicts; what a program does when it is
run is decided elsewhere, all of a model's programs at once. It knows the metric's interface and
arithmetic; it must not know how programs are run, and never runs one.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from evalsuite.sandbox.records import Case
from evalsuite.stats import pass_at_k

Judge = Callable[[Case], bool]  # whether a candidate passed its tests

_judge: ContextVar[Judge | None] = ContextVar("evalsuite_code_judge", default=None)


class CodeEval:
    """What `evaluate.load("code_eval")` gives while a task is loaded here.

    It runs nothing: it asks whoever is `judging`, and is an error outside of that.
    """

    name = "code_eval"

    def compute(
        self,
        predictions: Sequence[Sequence[str]] | None = None,
        references: Sequence[str] | None = None,
        k: Sequence[int] = (1, 10, 100),
        **_: Any,
    ) -> tuple[dict[str, float], dict[int, list[tuple[int, dict[str, Any]]]]]:
        """pass@k for each k up to the number of candidates, and every candidate's result.

        `predictions` are lists of candidates, one list a test in `references`, as in the evaluate
        library's metric. Raises what the judge raises.
        """
        judge = _judge.get()
        if judge is None:
            raise RuntimeError("code_eval was asked while no programs are judged")
        verdicts = [
            [judge(Case(candidate, tests)) for candidate in candidates]
            for tests, candidates in zip(references or (), predictions or (), strict=True)
        ]
        results = {
            item: [
                (number, {"task_id": item, "completion_id": number, "passed": passed})
                for number, passed in enumerate(its)
            ]
            for item, its in enumerate(verdicts)
        }
        fewest = min((len(its) for its in verdicts), default=0)
        return {f"pass@{n}": _mean_pass_at_k(verdicts, n) for n in k if n <= fewest}, results


def _mean_pass_at_k(verdicts: Sequence[Sequence[bool]], k: int) -> float:
    values = [pass_at_k(len(its), sum(its), k) for its in verdicts]
    return sum(values) / len(values)


CODE_EVAL = CodeEval()


@contextmanager
def judging(judge: Judge) -> Iterator[None]:
    """While this is open, `code_eval` asks `judge` about each program."""
    token = _judge.set(judge)
    try:
        yield
    finally:
        _judge.reset(token)


# ---- while tasks are loaded ----------------------------------------------------------------------


class _Evaluate(types.ModuleType):
    """Stands for the evaluate library: `code_eval` is ours, everything else the library's own.

    The library itself takes seconds to import, and would ask the network for the metric.
    """

    library: Any = None

    def load(self, path: str, *args: Any, **kwargs: Any) -> Any:
        if path in ("code_eval", "evaluate-metric/code_eval"):
            return CODE_EVAL
        return _library(self).load(path, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system's own questions
            raise AttributeError(name)
        return getattr(_library(self), name)


def _library(stand: _Evaluate) -> Any:
    """The evaluate library itself, imported when something else of it is asked for."""
    if stand.library is None:
        now = sys.modules.pop("evaluate", None)
        try:
            stand.library = importlib.import_module("evaluate")
        finally:
            if now is not None:
                sys.modules["evaluate"] = now
    return stand.library


@contextmanager
def provided() -> Iterator[None]:
    """For loading tasks: their `evaluate.load("code_eval")` gives ours.

    lm-eval's modules try the metric on a program of their own when they are imported; no program
    is run then, and what it would say is not read.
    """
    stand = _Evaluate("evaluate")
    stand.library = sys.modules.get("evaluate")
    sys.modules["evaluate"] = stand
    try:
        with judging(lambda case: False):
            yield
    finally:
        if stand.library is None:
            del sys.modules["evaluate"]
        else:
            sys.modules["evaluate"] = stand.library


def runs_code(task: Any) -> bool:
    """Whether scoring a loaded task means running what the model wrote."""
    return bool(getattr(task, "UNSAFE_CODE", False)) or calls_code_eval(task)


def calls_code_eval(task: Any) -> bool:
    """Whether a loaded task judges programs by `code_eval`, and so runs none itself.

    A module that was imported elsewhere may hold the library's metric, which runs programs in this
    very process's user and folder: it gets ours.
    """
    functions = [
        *getattr(task, "_metric_fn_list", {}).values(),
        getattr(task.config, "process_results", None),
    ]
    found = False
    for function in functions:
        owner = getattr(function, "__self__", function)  # lm-eval keeps a function's `__call__`
        found = found or isinstance(owner, CodeEval)
        space: dict[str, Any] = getattr(owner, "__globals__", {})
        for name, value in list(space.items()):
            if value is CODE_EVAL:
                found = True
            elif _is_the_librarys(value):
                space[name] = CODE_EVAL
                found = True
    return found


def _is_the_librarys(value: Any) -> bool:
    return (
        not isinstance(value, types.ModuleType)
        and getattr(value, "name", None) == "code_eval"
        and hasattr(value, "compute")
    )


def all_answers(responses: Sequence[Any], _documents: Sequence[Any]) -> Sequence[Any]:
    """A filter for lm-eval's `custom`: every sampled answer to a document, as they are."""
    return responses
