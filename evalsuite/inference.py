"""Requests to responses: what the store has is taken from it, the rest is computed batch by batch.

This is the one place where an engine meets the store. It knows neither tasks nor files of a run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from evalsuite.engine.base import Engine, generation_input
from evalsuite.progress import Progress
from evalsuite.records import (
    Batch,
    GenerateRequest,
    GenerateResponse,
    Request,
    ScoreRequest,
    ScoreResponse,
)
from evalsuite.store import Store, identity_hash, plan_key, request_key

_Asked = TypeVar("_Asked", bound=Request)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a model's part of a run took.

    `distinct_tokens` were computed, in this start or an earlier one, where a tool that shares no
    prefix computes `total_tokens`; what answers could have been longer is in neither.
    `new_tokens` were generated. `computed_tokens` and `seconds` are this start's alone.
    """

    requests: int = 0
    from_store: int = 0
    distinct_tokens: int = 0
    total_tokens: int = 0
    new_tokens: int = 0
    computed_tokens: int = 0
    batches: int = 0
    batches_begun: int = 0
    seconds: float = 0.0


class Inference:
    """Runs requests of one run through one engine, with the store in between."""

    def __init__(
        self, engine: Engine, store: Store, run: str, progress: Progress, *, refresh: bool = False
    ) -> None:
        self._engine, self._store, self._run = engine, store, run
        self._progress, self._refresh = progress, refresh
        self._identity = identity_hash(engine.identity)
        self.usage = Usage()

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Responses to `requests`, in their order."""
        return self._infer("scoring", requests, self._engine.plan_scoring, self._engine.score)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[GenerateResponse]:
        """Responses to `requests`, in their order."""
        answers = self._infer(
            "generating", requests, self._engine.plan_generation, self._engine.generate
        )
        new_tokens = sum(len(answer.tokens) for answer in answers)
        self.usage = replace(self.usage, new_tokens=self.usage.new_tokens + new_tokens)
        return answers

    def _infer(
        self,
        stage: str,
        requests: Sequence[_Asked],
        make_batches: Callable[[Sequence[_Asked]], list[Batch]],
        compute: Callable[[Sequence[_Asked]], Sequence[Any]],
    ) -> list[Any]:
        began = time.monotonic()
        keys = [request_key(self._identity, request) for request in requests]
        distinct = dict(zip(keys, requests, strict=True))  # equal requests are computed once
        plan = plan_key(self._run, self._identity, distinct)
        order = list(distinct)
        missing = [order[i] for i in self._store.missing(plan, order, refresh=self._refresh)]
        asked = [distinct[key] for key in missing]
        batches = make_batches(asked)
        committed = self._store.committed(plan)

        done = sum(b.distinct_tokens for n, b in enumerate(batches) if n in committed)
        self._progress.start(stage, sum(b.distinct_tokens for b in batches), done)
        computed = 0
        todo = [(number, batch) for number, batch in enumerate(batches) if number not in committed]
        begin = partial(self._store.begin, plan)
        with closing(self._computed(todo, asked, compute, begin)) as finished:
            for number, batch, answers in finished:
                its = [asked[i] for i in batch.requests]
                named = zip((missing[i] for i in batch.requests), answers, strict=True)
                self._store.commit(plan, number, dict(named))
                took = batch.distinct_tokens - self._unwritten(its, answers)
                computed += took
                self._progress.advance(batch.distinct_tokens, took)
        self._progress.finish()

        responses = self._store.get(keys)
        unwritten = self._unwritten(asked, [responses[key] for key in missing])
        before = self.usage
        self.usage = Usage(
            requests=before.requests + len(requests),
            from_store=before.from_store + len(order) - len(missing),
            distinct_tokens=before.distinct_tokens
            + sum(b.distinct_tokens for b in batches)
            - unwritten,
            total_tokens=before.total_tokens + sum(b.total_tokens for b in batches) - unwritten,
            new_tokens=before.new_tokens,
            computed_tokens=before.computed_tokens + computed,
            batches=before.batches + len(batches),
            batches_begun=before.batches_begun + self._store.counts(plan)[0],
            seconds=before.seconds + time.monotonic() - began,
        )
        return [responses[key] for key in keys]

    def _computed(
        self,
        todo: Sequence[tuple[int, Batch]],
        asked: Sequence[_Asked],
        compute: Callable[[Sequence[_Asked]], Sequence[Any]],
        begin: Callable[[int], None],
    ) -> Generator[tuple[int, Batch, Sequence[Any]]]:
        """Batches with their answers as they come, as many in flight as the engine has workers.

        The store is touched by this thread alone: `begin` here, and commits where this is read.
        """
        if self._engine.workers == 1:
            for number, batch in todo:
                begin(number)
                yield number, batch, compute([asked[i] for i in batch.requests])
            return
        waiting = iter(todo)
        flying: dict[Future[Sequence[Any]], tuple[int, Batch]] = {}
        with ThreadPoolExecutor(self._engine.workers) as pool:
            try:
                while True:
                    for number, batch in islice(waiting, self._engine.workers - len(flying)):
                        begin(number)
                        its = [asked[i] for i in batch.requests]
                        flying[pool.submit(compute, its)] = (number, batch)
                    if not flying:
                        return
                    done, _ = wait(flying, return_when=FIRST_COMPLETED)
                    for future in done:
                        number, batch = flying.pop(future)
                        yield number, batch, future.result()
            except BaseException as error:
                # Interrupted, or whoever reads this gave up: so is what is in flight, or the pool
                # would wait for it.
                if not isinstance(error, Exception):
                    self._engine.close()
                raise

    def _unwritten(self, asked: Sequence[Request], answers: Sequence[Any]) -> int:
        """Tokens that a plan counts as generated, and that the answers did without."""
        return sum(
            generation_input(request, self._engine.max_length)[1] - len(answer.tokens)
            for request, answer in zip(asked, answers, strict=True)
            if isinstance(request, GenerateRequest)
        )
