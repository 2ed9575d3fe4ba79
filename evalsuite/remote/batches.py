"""OpenAI's Batch API: files of calls up, batches begun and looked after, files of results down.

Knows HTTP, one endpoint and what the server says of its batches; must not know games, judgments or
dollars. Headers and keys pass the same gate as every other call's.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from evalsuite.remote.client import (
    CallFailedError,
    Patience,
    RemoteClient,
    ServerError,
    UnreadableError,
)
from evalsuite.remote.concurrency import Permit
from evalsuite.remote.endpoint import Endpoint
from evalsuite.remote.troubles import Trouble

if TYPE_CHECKING:
    import openai

_T = TypeVar("_T")

# By this name a batch's metadata carries the tag that its sender gave it.
TAG = "evalsuite"
CALLS_TO: Any = "/v1/chat/completions"
# What the API allows in one batch.
MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
_A_PAGE = 100
_NO_SUCH_PATH = (404, 405, 501)
# Files of many megabytes take longer than a call does.
_BYTES_A_SECOND = 500_000
_LARGEST_DOWNLOAD_SECONDS = 1800.0
# Nothing of a batch changes any more.
ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass(frozen=True, slots=True)
class ServerBatch:
    """A batch as the server tells of it. `completed` of `total` calls have a result so far.

    `tag` is what its sender wrote into the metadata, None for a batch of somebody else's.
    `problem` is why it failed as a whole.
    """

    id: str
    status: str
    tag: str | None
    created: float
    output_file: str | None
    error_file: str | None
    completed: int
    total: int
    problem: str = ""

    @property
    def ended(self) -> bool:
        return self.status in ENDED


class NoSuchThingError(Exception):
    """The server has nothing at that address; the message says what it said."""


class UnsureError(Exception):
    """The batch may have been begun, or not: the server must be asked before it is tried again."""


class BatchClient(RemoteClient[str]):
    """One endpoint's batches, for use inside one event loop; `async with` closes it.

    Raises of every method: ServerError when the server answers nothing of this kind, and
    CallFailedError when it was tried as often as patience allows or is refused.
    """

    def __init__(self, endpoint: Endpoint, patience: Patience) -> None:
        super().__init__(endpoint, patience, str)

    async def exists(self) -> bool:
        """Whether the server has batches at all."""
        try:
            await self._page(None, limit=1)
        except NoSuchThingError:
            return False
        return True

    async def all(self) -> list[ServerBatch]:
        """Every batch of this key, page by page.

        Raises:
            NoSuchThingError: the server has no batches.
        """
        found: list[ServerBatch] = []
        seen: set[str] = set()
        after: str | None = None
        while True:
            batches, more = await self._page(after, limit=_A_PAGE)
            found += batches
            if not more or not batches:
                return found
            after = batches[-1].id
            if after in seen:
                raise ServerError(f"{self._spec.url} lists its batches without an end")
            seen.add(after)

    async def retrieve(self, batch: str) -> ServerBatch:
        """What the server says of one batch now.

        Raises:
            NoSuchThingError: it knows no such batch.
        """
        raw = self._client.batches.with_raw_response

        async def get() -> str:
            return str((await raw.retrieve(batch)).text)

        return await self._repeat(get, lambda text: _batch(_object(text)))

    async def upload(self, name: str, content: bytes) -> str:
        """Uploads a file of calls. Returns its id."""
        raw = self._client.files.with_raw_response
        file = (name, content, "application/jsonl")

        async def send() -> str:
            return str((await raw.create(file=file, purpose="batch")).text)

        timeout = self._patience.timeout + len(content) / _BYTES_A_SECOND
        return await self._repeat(send, lambda text: _text(_object(text), "id"), timeout=timeout)

    async def create(self, file: str, tag: str) -> ServerBatch:
        """Begins a batch of an uploaded file's calls, its metadata tagged.

        Raises:
            UnsureError: the server may have begun it all the same.
            NoSuchThingError: the server has no such file, or no batches.
        """
        raw = self._client.batches.with_raw_response

        async def send() -> str:
            begun = await raw.create(
                input_file_id=file,
                endpoint=CALLS_TO,
                completion_window="24h",
                metadata={TAG: tag},
            )
            return str(begun.text)

        return await self._repeat(send, lambda text: _batch(_object(text)), once=True)

    async def download(self, file: str) -> bytes:
        """A file's content.

        Raises:
            NoSuchThingError: there is no such file.
        """
        raw = self._client.files.with_raw_response

        async def get() -> bytes:
            content: bytes = (await raw.content(file)).content
            return content

        return await self._repeat(get, lambda content: content, timeout=_LARGEST_DOWNLOAD_SECONDS)

    # ---- sending until it holds

    async def _page(self, after: str | None, limit: int) -> tuple[list[ServerBatch], bool]:
        raw = self._client.batches.with_raw_response

        async def get() -> str:
            page = raw.list(limit=limit) if after is None else raw.list(limit=limit, after=after)
            return str((await page).text)

        return await self._repeat(get, _listed)

    async def _repeat(
        self,
        send: Callable[[], Awaitable[_T]],
        read: Callable[[_T], Any],
        *,
        timeout: float | None = None,
        once: bool = False,
    ) -> Any:
        """What `read` makes of an answer. `once`: not again after one that may have had effect."""
        counts = {"rate": 0, "again": 0, "unreached": 0}
        permit = Permit(self.pace)
        try:
            while True:
                await permit.take(first=counts["rate"] > 0)
                outcome: Any = await self._attempt(send, timeout or self._patience.timeout)
                if not isinstance(outcome, Trouble):
                    try:
                        return read(outcome)
                    except UnreadableError as error:
                        outcome = self._troubles.unreadable(error)
                if outcome.kind == "missing":
                    raise NoSuchThingError(outcome.reason)
                if outcome.kind == "fatal":
                    raise ServerError(outcome.reason)
                if outcome.kind == "refused":
                    raise CallFailedError(outcome.reason)
                if once and outcome.kind == "again":
                    raise UnsureError(outcome.reason)
                counts[outcome.kind] += 1
                self._check_patience(outcome, counts)
                await self._back_off(outcome, counts[outcome.kind], permit)
        finally:
            # Files take as long as they take: how long says nothing of the pace of calls.
            permit.give("failed")

    def _status_trouble(self, error: openai.APIStatusError) -> Trouble:
        trouble = super()._status_trouble(error)
        if error.status_code in _NO_SUCH_PATH:
            return replace(trouble, kind="missing")
        return trouble


# ---- what the server says ------------------------------------------------------------------------


def _object(text: str) -> Mapping[str, Any]:
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("no JSON") from error
    if not isinstance(loaded, dict):
        raise UnreadableError("no JSON object")
    return loaded


def _listed(text: str) -> tuple[list[ServerBatch], bool]:
    page = _object(text)
    rows = page.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UnreadableError("no list of batches")
    return [_batch(row) for row in rows], bool(page.get("has_more"))


def _batch(row: Mapping[str, Any]) -> ServerBatch:
    metadata, counts = row.get("metadata"), row.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    created = row.get("created_at")
    return ServerBatch(
        id=_text(row, "id"),
        status=_text(row, "status"),
        tag=metadata.get(TAG) if isinstance(metadata, dict) else None,
        created=float(created) if isinstance(created, int | float) else 0.0,
        output_file=row.get("output_file_id") or None,
        error_file=row.get("error_file_id") or None,
        completed=_count(counts, "completed"),
        total=_count(counts, "total"),
        problem=_problem(row.get("errors")),
    )


def _problem(errors: Any) -> str:
    """The messages of a batch that failed as a whole, on one line."""
    rows = errors.get("data") if isinstance(errors, dict) else None
    said = [row.get("message") for row in rows if isinstance(row, dict)] if rows else []
    return "; ".join(" ".join(str(text).split()) for text in dict.fromkeys(said) if text)


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise UnreadableError(f"without {name}")
    return value


def _count(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
