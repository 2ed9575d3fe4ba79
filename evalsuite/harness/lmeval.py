"""The few places where lm-eval is bent: quiet, templates compiled once, documents processed once.

Everything here leaves prompts and numbers as lm-eval makes them. It knows lm-eval's internals of
the pinned version, so that no other module has to.
"""

from __future__ import annotations

import functools
import io
import logging
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

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


@contextmanager
def building() -> Iterator[None]:
    """For loading tasks and building their requests.

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

    def task_config(**config: Any) -> Any:
        if callable(process := config.get("process_docs")):
            config["process_docs"] = _once_a_split(process)
        return real_config(**config)

    states = random.getstate(), np.random.get_state()
    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    try:
        with ExitStack() as stack:
            stack.enter_context(_replaced(environment, "from_string", compiled))
            stack.enter_context(_replaced(lm_eval.api.task, "TaskConfig", task_config))
            stack.enter_context(_replaced(lm_eval.api.task, "tqdm", _no_bar))
            yield
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


def _no_bar(items: Iterable[Any], *_: Any, **__: Any) -> Iterable[Any]:
    return items


def _once_a_split(process: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`process` with its result kept for each split; the split is kept too, so ids stay its own."""
    kept: dict[int, tuple[Any, Any]] = {}

    @functools.wraps(process)  # lm-eval writes the function's source into its results
    def processed(split: Any) -> Any:
        if id(split) not in kept:
            kept[id(split)] = (split, process(split))
        return kept[id(split)][1]

    return processed
