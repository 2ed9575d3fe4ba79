"""The few places where lm-eval is bent: quiet, templates compiled once, documents processed once.

Everything here leaves prompts and numbers as lm-eval makes them. It knows lm-eval's internals of
the pinned version, so that no other module has to.
"""

from __future__ import annotations

import difflib
import functools
import io
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from evalsuite.harness import code_eval
from evalsuite.records import UserError

MAX_WARNINGS = 20  # distinct ones; a task can repeat a warning for every document


class _Collector(logging.Handler):
    """Keeps lm-eval's distinct warnings, for whoever started the run to show in one place."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.messages) < MAX_WARNINGS:
            self.messages.setdefault(" ".join(record.getMessage().split())[:300])


@contextmanager
def quiet() -> Iterator[_Collector]:
    """No log lines or progress bars from lm-eval and datasets; warnings are collected instead."""
    import datasets

    logger, collector = logging.getLogger("lm_eval"), _Collector()
    before = logger.level, logger.propagate
    bars = datasets.are_progress_bars_disabled()
    verbosity = datasets.logging.get_verbosity()
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    logger.addHandler(collector)
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        yield collector
    finally:
        datasets.logging.set_verbosity(verbosity)
        if not bars:
            datasets.enable_progress_bars()
        logger.removeHandler(collector)
        logger.level, logger.propagate = before


class NoDocumentsError(Exception):
    """The split that a task evaluates is empty."""


@dataclass
class Place:
    """Where lm-eval is in a task while it builds, which its errors don't say.

    `splits` are those that the definition names; `document` and `number` the one whose requests are
    built, `formatted` the one last formatted: the same or a few-shot example. `target` and
    `choices` are what the last of these gave, `fault` the error that a field's function let out.
    """

    splits: frozenset[str] = frozenset()
    document: Any = None
    number: int | None = None
    formatted: Any = None
    target: Any = None
    choices: Any = None
    fault: tuple[BaseException, str] | None = None

    def describe(self, error: BaseException) -> str:
        """What is known of where `error` came from, as words to stand before it; may be empty."""
        if self.formatted is None:
            return ""
        if self.number is None:
            where = "document 0"  # lm-eval tries the first one while it loads a task
        elif self.formatted is self.document:
            where = f"document {self.number}"
        else:
            where = f"a few-shot example of document {self.number}"
        if self.fault is not None and self.fault[0] is error:
            return f"{self.fault[1]}, {where}: "
        return f"{where}: "

    def target_out_of_range(self) -> bool:
        """Whether the last document's target is the number of a choice that it doesn't have."""
        return (
            isinstance(self.target, int)
            and isinstance(self.choices, list)
            and not -len(self.choices) <= self.target < len(self.choices)
        )


@contextmanager
def building() -> Iterator[Place]:
    """For loading tasks and building their requests; says where lm-eval is.

    - Metrics are checked before lm-eval reads data: it asks the hub for those it doesn't know.
    - The metric `code_eval`, which lm-eval would load from the hub, is one that runs nothing.
    - Each jinja template is compiled once; lm-eval compiles it again for every document, which is
      95 % of its time (MMLU with 5 examples: 62 s).
    - A task's `process_docs` runs once a split. On the hub's data an on-disk cache does that for
      lm-eval; documents in memory have none, and a `process_docs` that shuffles must not be asked
      twice.
    - The random generators start as in lm-eval's simple_evaluate, and go back to where they were.
    """
    import lm_eval.api.task
    import lm_eval.utils
    import numpy as np
    from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED

    environment = lm_eval.utils.env
    compiled = functools.lru_cache(maxsize=4096)(environment.from_string)
    real_config = lm_eval.api.task.TaskConfig
    task_class: Any = lm_eval.api.task.ConfigurableTask
    place = Place()

    def task_config(**config: Any) -> Any:
        _check_metrics(config)
        place.splits = frozenset(_splits(config))
        if callable(process := config.get("process_docs")):
            config["process_docs"] = _once_a_split(process)
        return real_config(**config)

    states = random.getstate(), np.random.get_state()
    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    try:
        with ExitStack() as stack:
            stack.enter_context(code_eval.provided())
            stack.enter_context(_replaced(environment, "from_string", compiled))
            stack.enter_context(_replaced(lm_eval.api.task, "TaskConfig", task_config))
            stack.enter_context(_replaced(lm_eval.api.task, "tqdm", _counting(place)))
            for field in ("doc_to_text", "doc_to_target", "doc_to_choice"):
                noted = _noted(place, field, getattr(task_class, field))
                stack.enter_context(_replaced(task_class, field, noted))
            not_empty = property(_not_empty(lm_eval.api.task.Task.eval_docs.fget))
            stack.enter_context(_replaced(lm_eval.api.task.Task, "eval_docs", not_empty))
            yield place
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@contextmanager
def aggregating() -> Iterator[None]:
    """For lm-eval's evaluate: templates compiled once, bootstraps in this process and silent."""
    import lm_eval.api.metrics
    import lm_eval.utils

    metrics: Any = lm_eval.api.metrics
    environment = lm_eval.utils.env
    compiled = functools.lru_cache(maxsize=4096)(environment.from_string)

    def bootstrap(f: Callable[[Any], float], values: Any, iters: int) -> float:
        # lm-eval's own single-process form. Its pool of forks is slow to start, and unsafe beside
        # an engine's threads; both announce themselves on stdout, which belongs to the run.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return metrics.sample_stddev(metrics._bootstrap_internal_no_mp(f, values, iters))

    with ExitStack() as stack:
        stack.enter_context(_replaced(environment, "from_string", compiled))
        stack.enter_context(_replaced(metrics, "bootstrap_stderr", bootstrap))
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """`owner.name` is `value` while this is open."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _counting(place: Place) -> Callable[..., Iterator[Any]]:
    """For tqdm around lm-eval's (number, document) pairs: no bar, but a note of them."""

    def counting(items: Iterable[Any], *_: Any, **__: Any) -> Iterator[Any]:
        for place.number, place.document in items:
            yield place.number, place.document

    return counting


def _noted(place: Place, field: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A task's `field` function that notes its document, its value and what went wrong."""

    @functools.wraps(function)
    def noted(self: Any, doc: Any, *args: Any, **kwargs: Any) -> Any:
        place.formatted = doc
        try:
            value = function(self, doc, *args, **kwargs)
        except Exception as error:
            place.fault = (error, field)
            raise
        if field == "doc_to_target":
            place.target = value
        elif field == "doc_to_choice":
            place.choices = value
        return value

    return noted


@contextmanager
def examples_once(task: Any) -> Iterator[None]:
    """While a task's requests are built, each few-shot example is formatted once.

    lm-eval formats every example again for every document, five of six times in MMLU with five.
    Only templates without chance in them are kept; a task's own functions are asked each time.
    """
    examples = {id(doc) for doc in getattr(getattr(task, "sampler", None), "df", None) or ()}
    if not examples:
        yield
        return
    kept: dict[tuple[Any, ...], Any] = {}

    def once(real: Callable[..., Any], own: Any) -> Callable[..., Any]:
        def formatted(doc: Any, template: Any = None) -> Any:
            used = own if template is None else template
            if id(doc) not in examples or not isinstance(used, str) or "random" in used:
                return real(doc) if template is None else real(doc, template)
            key = (id(doc), real.__name__, used)
            if key not in kept:
                kept[key] = real(doc) if template is None else real(doc, template)
            value = kept[key]
            return list(value) if isinstance(value, list) else value

        return formatted

    fields = ("doc_to_text", "doc_to_target", "doc_to_choice")
    for field in fields:
        setattr(task, field, once(getattr(task, field), getattr(task.config, field, None)))
    try:
        yield
    finally:
        for field in fields:
            delattr(task, field)


def _not_empty(documents: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def not_empty(task: Any) -> Any:
        docs = documents(task)
        if hasattr(docs, "__len__") and len(docs) == 0:
            raise NoDocumentsError
        return docs

    return not_empty


def _splits(config: Mapping[str, Any]) -> Iterator[str]:
    """The splits that a definition names."""
    fewshot = config.get("fewshot_config")
    inner = fewshot.get("split") if isinstance(fewshot, Mapping) else None
    keys = ("training_split", "validation_split", "test_split", "fewshot_split")
    yield from (split for split in (inner, *map(config.get, keys)) if isinstance(split, str))


def _check_metrics(config: Mapping[str, Any]) -> None:
    """Raise UserError for a metric or aggregation that lm-eval hasn't.

    Functions are their task's own, and so are the names that its process_results gives. A metric of
    the evaluate library is one that says so by `hf_evaluate: true`, or a path.
    """
    import lm_eval.api.metrics  # noqa: F401  (fills the registries)
    from lm_eval.api import registry

    metrics = config.get("metric_list")
    for entry in metrics if isinstance(metrics, list) else ():
        name = entry.get("metric") if isinstance(entry, Mapping) else None
        if not isinstance(name, str):
            continue
        known = name in registry.metric_registry or entry.get("hf_evaluate") is True or "/" in name
        if not known and config.get("process_results") is None:
            raise UserError(_no_such(config, "metric", name, registry.metric_registry))
        aggregation = entry.get("aggregation")
        if isinstance(aggregation, str):
            if aggregation not in registry.aggregation_registry:
                raise UserError(
                    _no_such(config, "aggregation", aggregation, registry.aggregation_registry)
                )
        elif "aggregation" not in entry and name not in registry.metric_agg_registry:
            raise UserError(
                f"The task {config.get('task')}: the metric {name} needs a line "
                "`aggregation:`, e.g. `aggregation: mean`."
            )


def _no_such(config: Mapping[str, Any], kind: str, name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.6)
    hint = f"nearest: {', '.join(near)}." if near else f"there are {', '.join(sorted(known))}."
    return f"The task {config.get('task')}: no {kind} {name}; {hint}"


def _once_a_split(process: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`process` with its result kept for each split; the split is kept too, so ids stay its own."""
    kept: dict[int, tuple[Any, Any]] = {}

    @functools.wraps(process)  # lm-eval writes the function's source into its results
    def processed(split: Any) -> Any:
        if id(split) not in kept:
            kept[id(split)] = (split, process(split))
        return kept[id(split)][1]

    return processed
