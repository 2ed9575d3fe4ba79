"""Text requests to replies: what the store has is taken from it, the rest is asked of a server.

The one place where a server's model meets the store. Knows neither tasks nor files of a run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from evalsuite.engine.openai import OpenAIModel, identity
from evalsuite.inference import Usage
from evalsuite.progress import Progress
from evalsuite.records import NoReply, TextReply, TextRequest
from evalsuite.remote import MOST, CallFailedError, Endpoint, Patience, Permit, ServerError
from evalsuite.remote.waiting import wait_for
from evalsuite.store import Store
from evalsuite.store.replies import Replies, reply_key

# So many calls in a row that failed for good, none between that worked: the server is gone.
_FAILURES_IN_A_ROW = 8
_CHARACTERS_A_TOKEN = 4  # for the progress line only: the server alone can count


class RemoteInference:
    """Asks one model behind a server, with the store in between; each reply is kept as it comes.

    `served` are the model ids that the server returned.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        store: Store,
        run: str,
        progress: Progress,
        *,
        refresh: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self._endpoint, self._progress = endpoint, progress
        self._patience = patience or Patience()
        self._replies = Replies(store, run, refresh=refresh)
        self._identity = identity(endpoint)
        self.usage = Usage()
        self.served: dict[str, None] = {}

    def ask(self, requests: Sequence[TextRequest]) -> list[TextReply | NoReply]:
        """The replies in the requests' order; NoReply where the server gave none."""
        began = time.monotonic()
        keys = [reply_key(self._identity, request) for request in requests]
        distinct = dict(zip(keys, requests, strict=True))
        found = self._replies.get(distinct)
        missing = {key: request for key, request in distinct.items() if key not in found}
        total = sum(map(_size, distinct.values()))
        self._progress.start("asking", total, total - sum(map(_size, missing.values())))
        failed: dict[bytes, NoReply] = {}
        if missing:
            wait_for(self._ask(missing, failed))
        self._progress.finish()
        replies = self._replies.get(distinct)
        self.served.update(dict.fromkeys(r.served for r in replies.values() if r.served))
        tokens = [(r.prompt_tokens or 0, r.completion_tokens or 0) for r in replies.values()]
        before = self.usage
        self.usage = replace(
            before,
            requests=before.requests + len(requests),
            from_store=before.from_store + len(found),
            distinct_tokens=before.distinct_tokens + sum(map(sum, tokens)),
            total_tokens=before.total_tokens + sum(map(sum, tokens)),
            new_tokens=before.new_tokens + sum(new for _, new in tokens),
            seconds=before.seconds + time.monotonic() - began,
        )
        return [replies.get(key) or failed[key] for key in keys]

    async def _ask(self, missing: dict[bytes, TextRequest], failed: dict[bytes, NoReply]) -> None:
        """Workers take one request after another; once the server is gone none is taken."""
        todo = iter(missing.items())
        stopped: str | None = None
        failures = 0

        async def worker(model: OpenAIModel) -> None:
            nonlocal stopped, failures
            permit = Permit(model.pace)
            while stopped is None:
                await permit.take()
                item = None if stopped else next(todo, None)
                if item is None:
                    break
                key, request = item
                try:
                    reply = await model.ask(request, permit)
                except CallFailedError as error:
                    failed[key] = NoReply(str(error))
                    failures += 1
                    if failures == _FAILURES_IN_A_ROW:
                        stopped = f"{error}; {failures} calls failed in a row"
                except ServerError as error:
                    stopped = str(error)
                else:
                    failures = 0
                    self._replies.keep(key, self._endpoint.url, self._endpoint.model, reply)
                    self._progress.advance(_size(request))
            permit.give("unsent")

        model = OpenAIModel(self._endpoint, self._patience)
        async with model, asyncio.TaskGroup() as group:
            for _ in range(min(MOST, len(missing))):
                group.create_task(worker(model))
        have = self._replies.get(missing)
        for key in missing:
            if key not in have and key not in failed:
                failed[key] = NoReply(stopped or "it was not asked")


def _size(request: TextRequest) -> int:
    text = len(request.prompt) + len(request.continuation or "")
    return text // _CHARACTERS_A_TOKEN + 1 + request.max_new_tokens
