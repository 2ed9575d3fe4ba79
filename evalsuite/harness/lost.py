"""Items whose scorer failed: kept apart, so that one of them is no wrong answer and ends no run.

Knows lm-eval's process_results and its samples; it must not know metrics or models.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from evalsuite.records import UserError


class ScorerErrors:
    """Items whose scorer failed: without a result, where lm-eval would end the whole run.

    A task's own process_results may meet an answer that it can't take; that says nothing about the
    model, so the item is neither right nor wrong.
    """

    def __init__(self) -> None:
        self._lost: list[tuple[str, int, str]] = []  # task, which of its calls, what was wrong

    def watch(self, name: str, task: Any) -> None:
        """From here on errors of a task's scorer are kept, and its metrics left out."""
        score, calls = task.process_results, itertools.count()

        def watched(doc: Any, results: Any) -> Any:
            call = next(calls)
            try:
                return score(doc, results)
            except UserError:
                raise
            except Exception as error:
                text = " ".join(str(error).split())[:300]
                self._lost.append((name, call, f"{type(error).__name__}: {text}"))
                return {}

        task.process_results = watched

    def mark(self, samples: Mapping[str, Any]) -> None:
        """Puts `error` into lm-eval's samples of the items that were lost."""
        for name, call, text in self._lost:
            samples[name][call]["error"] = text  # a sample a call, in the order of the calls
