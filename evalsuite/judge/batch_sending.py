"""Sends a batch so that it is never begun twice: written down, uploaded, begun, its id kept.

Where beginning one may have worked unseen, the server's list is asked before it is tried again.
Knows the store's batches and the server's; must not know games or verdicts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evalsuite.judge.client import CallFailedError, Patience, ServerError
from evalsuite.remote.batches import (
    MOST_BYTES,
    MOST_REQUESTS,
    BatchClient,
    NoSuchThingError,
    ServerBatch,
    UnsureError,
)
from evalsuite.store.batches import Batches, OpenBatch


@dataclass(frozen=True, slots=True)
class BatchRules:
    """How batches are sent and waited for. Times are seconds.

    `wait` is how long a run stays with its batches after the last one ended, before it ends as
    pending.
    A call is in `sends` batches at most that bring no reply for it. A batch that was asked for is
    seen in the server's list `visible_after` so long.
    """

    wait: float = 60.0
    first_pause: float = 1.0
    sends: int = 3
    visible_after: float = 30.0
    most_requests: int = MOST_REQUESTS
    most_bytes: int = MOST_BYTES


class BatchSender:
    """Sends to one endpoint. `remarks` are what a person should know of what was found there."""

    def __init__(
        self, client: BatchClient, batches: Batches, rules: BatchRules, patience: Patience
    ) -> None:
        self._client, self._batches, self._rules = client, batches, rules
        self._patience = patience
        self.remarks: list[str] = []

    async def find(self, batches: Sequence[OpenBatch]) -> dict[str, ServerBatch]:
        """The server's batches with these tags, after they had the time to appear in its list.

        Raises:
            CallFailedError, ServerError: it could not be asked.
            NoSuchThingError: it has no batches.
        """
        wanted = {batch.tag for batch in batches}
        posted = max((batch.posted or 0.0 for batch in batches), default=0.0)
        while True:
            found: dict[str, ServerBatch] = {}
            listed = await self._client.all()
            for one in sorted(listed, key=lambda one: (one.created, one.id)):
                if one.tag not in wanted:
                    continue
                first = found.setdefault(one.tag, one)
                if first is not one:
                    self.remarks.append(
                        f"the server has a batch twice, {first.id} and {one.id}: cancel the second"
                    )
            left = posted + self._rules.visible_after - time.time()
            if len(found) == len(wanted) or left <= 0:
                return found
            await asyncio.sleep(min(self._rules.first_pause, left))

    async def send(
        self, run: str, lines: Sequence[bytes], calls: Sequence[tuple[bytes, str, float]]
    ) -> tuple[OpenBatch, ServerBatch]:
        """A batch of these lines for these calls (key, delimiter, worst case), begun.

        Raises:
            CallFailedError, ServerError, NoSuchThingError: it was not; where it may have been all
                the same, it stays open in the store.
        """
        batch = self._batches.intend(run, calls)
        try:
            file = await self._client.upload(f"evalsuite-{batch.tag}.jsonl", b"".join(lines))
        except (CallFailedError, ServerError, NoSuchThingError):
            drop(self._batches, batch, "not uploaded")
            raise
        state = await self._begin(batch, file)
        self._batches.record(batch.tag, state.id)
        return batch, state

    async def _begin(self, batch: OpenBatch, file: str) -> ServerBatch:
        unsure = 0
        while True:
            asked = replace(batch, posted=self._batches.post(batch.tag))
            try:
                return await self._client.create(file, batch.tag)
            except UnsureError as error:
                unsure += 1
                if there := (await self.find([asked])).get(batch.tag):
                    return there
                if unsure >= self._patience.tries:
                    raise CallFailedError(f"{error}, {unsure} times") from error
            except (CallFailedError, ServerError, NoSuchThingError):
                if not unsure:
                    drop(self._batches, batch, "refused")
                raise


def drop(batches: Batches, batch: OpenBatch, why: str) -> None:
    """Ends a batch that never came to be: nothing of it is owed."""
    batches.end(batch, why, {}, dict.fromkeys(batch.lines, (None, 0.0)))
