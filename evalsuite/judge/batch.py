"""Plays games through OpenAI's Batch API: calls in files, replies within a day, half the price.

What will be sent is in the store before it is, and the server is asked for it before it is sent
again; so a kill at any moment neither pays twice nor loses a reply. Knows calls, the store's
batches and the server's; must not know how answers were made.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from evalsuite.judge.batch_results import Result, read_results
from evalsuite.judge.calls import all_keys, worst_cost
from evalsuite.judge.client import CallFailedError, ChatClient, Patience, ServerError
from evalsuite.judge.judges import JudgeSpec
from evalsuite.judge.table import Table, judgment_of
from evalsuite.progress import Progress
from evalsuite.records import UserError
from evalsuite.remote import Endpoint
from evalsuite.remote.batches import (
    CALLS_TO,
    MOST_BYTES,
    MOST_REQUESTS,
    BatchClient,
    NoSuchThingError,
    ServerBatch,
    UnsureError,
)
from evalsuite.remote.waiting import wait_for
from evalsuite.store.batches import Batches, OpenBatch
from evalsuite.store.judgments import Judgment

_DOWNLOADS = 3  # of a file that holds less than it should
_LONGEST_PAUSE = 15.0
# Only a look whether there is such a thing: what else is wrong is said when it matters.
_LOOK = Patience(timeout=20.0, tries=2, connect_tries=1, rate_tries=2, longest_backoff=2.0)


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


def check_batches(spec: JudgeSpec) -> None:
    """Makes sure that a judge's server has batches, as far as one request can tell.

    Raises:
        UserError: it has none.
    """

    async def look() -> bool:
        async with BatchClient(_endpoint(spec), _LOOK) as client:
            return await client.exists()

    try:
        if wait_for(look()):
            return
    except (CallFailedError, ServerError):
        return  # a server that is away, or a wrong key: judging says so, the scores are kept
    raise UserError(f"{spec.endpoint} has no Batch API: leave out --judge-batch")


def relevant(batches: Batches, table: Table, run: str, *, refresh: bool) -> list[OpenBatch]:
    """The open batches whose replies this run wants: its own, and others' with the same calls."""
    wanted = set(all_keys(table.distinct.values(), table.attempts))
    return [
        batch
        for batch in batches.open()
        if batch.run == run or (not refresh and not wanted.isdisjoint(batch.lines))
    ]


def mark_sent(table: Table, batches: Sequence[OpenBatch]) -> None:
    """Tells the table which of its calls these batches hold."""
    held = {key for batch in batches for key in batch.lines}
    table.under_way = {
        key
        for key, call in table.distinct.items()
        if any(call.key(attempt) in held for attempt in range(table.attempts))
        and not table.standing(key).settled
    }


class BatchPlay:
    """The batches of one run's table, inside one event loop."""

    def __init__(
        self,
        table: Table,
        batches: Batches,
        spec: JudgeSpec,
        progress: Progress,
        *,
        run: str,
        refresh: bool,
        rules: BatchRules,
        patience: Patience,
    ) -> None:
        self._table, self._batches, self._spec, self._progress = table, batches, spec, progress
        self._run, self._refresh, self._rules, self._patience = run, refresh, rules, patience
        self._open = relevant(batches, table, run, refresh=refresh)
        self._states: dict[str, ServerBatch] = {}
        self._halt: str | None = None  # why nothing more is sent

    async def play(self, limit: float | None, *, send: bool = True) -> None:
        """Collects what ended, sends what is missing, and waits a little for both to go on.

        `limit` dollars are never passed. With `send` False what ended is collected, no more.
        Whatever is left says `stopped` of the table.
        """
        spec, preset = self._spec, self._table.preset
        client = BatchClient(_endpoint(spec), self._patience)
        chat = ChatClient(
            spec,
            temperature=preset.temperature,
            max_tokens=preset.max_tokens,
            patience=self._patience,
        )
        async with client, chat:
            try:
                await self._go_on(client, chat, limit, send)
            except (CallFailedError, ServerError) as error:
                self._table.stopped = str(error)
            except NoSuchThingError as error:
                self._table.stopped = f"{error}; has this server a Batch API?"
        mark_sent(self._table, self._open)

    async def _go_on(
        self, client: BatchClient, chat: ChatClient, limit: float | None, send: bool
    ) -> None:
        rules, pause = self._rules, self._rules.first_pause
        until = time.monotonic() + rules.wait
        while True:
            done = await self._collect(client, chat)
            if not send:
                return
            short = None if self._halt else await self._send_missing(client, chat, limit)
            if done:
                until, pause = time.monotonic() + rules.wait, rules.first_pause
            if not self._open:
                self._table.stopped = self._halt or short
                return
            left = until - time.monotonic()
            if left <= 0 or self._halt:
                self._table.stopped = self._halt or self._pending()
                return
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _pending(self) -> str:
        """What a person is told of batches that are not done."""
        states = [self._states[batch.tag] for batch in self._open if batch.tag in self._states]
        shown = ", ".join(f"{s.id} ({s.status}, {s.completed} of {s.total})" for s in states[:3])
        more = f" and {len(states) - 3} more" if len(states) > 3 else ""
        calls = sum(len(batch.lines) for batch in self._open)
        return (
            f"{calls} calls are in a batch that is not done: {shown}{more}; "
            "the same command goes on with it"
        )

    # ---- what the server has

    async def _collect(self, client: BatchClient, chat: ChatClient) -> bool:
        """Keeps the results of every batch that ended; True when there was one."""
        ended = False
        unknown = [batch for batch in self._open if batch.server_id is None]
        found = await self._find(client, unknown) if unknown else {}
        for batch in list(self._open):
            server_id = batch.server_id
            if server_id is None:
                there = found.get(batch.tag)
                if there is None:  # it never came to be: nothing of it is owed
                    self._drop(batch, "never begun")
                    continue
                server_id = there.id
                self._batches.record(batch.tag, server_id)
                self._replace(batch, server_id)
            try:
                state = await client.retrieve(server_id)
            except NoSuchThingError as error:
                self._halt = (
                    f"the batch {server_id} is not among those of this key ({error}): was it sent "
                    "with another one? Without --judge-batch its calls are asked directly"
                )
                continue
            self._states[batch.tag] = state
            if state.ended:
                await self._keep(client, chat, batch, state)
                ended = True
        return ended

    async def _find(
        self, client: BatchClient, batches: Sequence[OpenBatch]
    ) -> dict[str, ServerBatch]:
        """The server's batches with these tags, after they had the time to appear in its list."""
        wanted = {batch.tag for batch in batches}
        posted = max((batch.posted or 0.0 for batch in batches), default=0.0)
        pause = self._rules.first_pause
        while True:
            found: dict[str, ServerBatch] = {}
            for one in sorted(await client.all(), key=lambda one: (one.created, one.id)):
                if one.tag not in wanted:
                    continue
                if one.tag in found:
                    self._table.remarks.append(
                        f"the server has a batch twice, {found[one.tag].id} and {one.id}: cancel "
                        "the second"
                    )
                    continue
                found[one.tag] = one
            left = posted + self._rules.visible_after - time.time()
            if len(found) == len(wanted) or left <= 0:
                return found
            await asyncio.sleep(min(pause, left))

    async def _keep(
        self, client: BatchClient, chat: ChatClient, batch: OpenBatch, state: ServerBatch
    ) -> None:
        """Results into judgments: the replies, and what became of the others."""
        kept: dict[bytes, tuple[Judgment, float]] = {}
        failed: dict[bytes, tuple[str | None, float]] = {}
        if state.status == "failed":
            # Refused as a whole, before any call was made.
            self._halt = (
                f"{self._spec.endpoint} refused the batch {state.id} "
                f"({client.clean(state.problem) or 'no reason given'}); nothing of it was billed"
            )
            failed = dict.fromkeys(batch.lines, (None, 0.0))
        else:
            results, lost = await self._results(client, batch, state)
            for key, line in batch.lines.items():
                result = results.get(key.hex())
                if result is not None and result.body is not None:
                    reply = chat.read_reply(result.body)
                    kept[key] = judgment_of(self._spec, line.delimiter, reply, line.reserved)
                elif result is not None:
                    failed[key] = chat.clean(result.error), 0.0
                elif lost:
                    failed[key] = "its result in a batch can't be read", line.reserved
                else:
                    failed[key] = f"its batch was {state.status} before its turn", 0.0
        self._batches.end(batch, state.status, kept, failed)
        self._open = [one for one in self._open if one.tag != batch.tag]
        before = set(self._table.missing())
        self._table.reload()
        for key in before.difference(self._table.missing()):
            self._progress.advance(self._table.expected(key))

    async def _results(
        self, client: BatchClient, batch: OpenBatch, state: ServerBatch
    ) -> tuple[dict[str, Result], bool]:
        """Results by custom id, and whether there are fewer of them than the server did."""
        wanted = {key.hex() for key in batch.lines}
        for number in range(_DOWNLOADS):
            texts = [
                await self._download(client, file)
                for file in (state.output_file, state.error_file)
                if file
            ]
            found = read_results(texts, wanted)
            replies = sum(result.body is not None for result in found.results.values())
            short = found.broken or found.doubtful or replies < state.completed
            # A batch that ended in its own time has a result for every call.
            short = short or (state.status == "completed" and len(found.results) < len(wanted))
            if not short:
                break
            if number + 1 < _DOWNLOADS:
                await asyncio.sleep(min(self._rules.first_pause, 1.0))
        about = f"results of the batch {state.id}"
        if short and (missing := len(wanted) - len(found.results)):
            self._table.remarks.append(
                f"{missing} {about} are missing or can't be read: counted at their worst cost and "
                "asked again"
            )
        if found.strange:
            self._table.remarks.append(f"{found.strange} {about} are not of its calls: left aside")
        return found.results, bool(short)

    async def _download(self, client: BatchClient, file: str) -> bytes:
        try:
            return await client.download(file)
        except NoSuchThingError as error:
            raise ServerError(
                f"{self._spec.endpoint} has no results {file} any more ({error}); without "
                "--judge-batch these calls are asked directly"
            ) from error

    def _replace(self, batch: OpenBatch, server_id: str) -> None:
        named = OpenBatch(batch.tag, batch.run, batch.posted, server_id, batch.lines)
        self._open = [named if one.tag == batch.tag else one for one in self._open]

    def _drop(self, batch: OpenBatch, why: str) -> None:
        self._batches.end(batch, why, {}, dict.fromkeys(batch.lines, (None, 0.0)))
        self._open = [one for one in self._open if one.tag != batch.tag]

    # ---- what it is sent

    async def _send_missing(
        self, client: BatchClient, chat: ChatClient, limit: float | None
    ) -> str | None:
        """Sends the calls that no batch holds. Returns why some were not, if so."""
        table, rules = self._table, self._rules
        mark_sent(table, self._open)
        keys = [key for key in table.missing() if not table.is_sent(key)]
        next_keys = {key: table.distinct[key].key(self._attempt(key)) for key in keys}
        failures = self._batches.failures(self._run, next_keys.values())
        lines: list[bytes] = []
        calls: list[tuple[bytes, str, float]] = []
        size, reserved, spent = 0, 0.0, table.judgments.spent()
        for key in keys:
            reasons = failures.get(next_keys[key], [])
            if len(reasons) >= rules.sends:
                table.errors[key] = f"{reasons[-1]}, in {len(reasons)} batches"
                continue
            call = table.distinct[key]
            delimiter = call.delimiter()
            messages = call.messages(table.preset, delimiter)
            worst = worst_cost(self._spec, table.preset, messages)
            line = _line(next_keys[key], chat.body(messages))
            if len(line) > rules.most_bytes:
                table.errors[key] = f"it has {len(line):,} bytes, more than a batch may have"
                continue
            full = len(lines) == rules.most_requests or size + len(line) > rules.most_bytes
            if full and lines:
                await self._send(client, lines, calls)
                lines, calls, size, reserved, spent = [], [], 0, 0.0, table.judgments.spent()
            if limit is not None and spent + reserved + worst > limit:
                if lines:
                    await self._send(client, lines, calls)
                return (
                    f"${table.judgments.spent():.4f} of ${limit:.4f} is spent or set aside, and "
                    f"the next call can cost ${worst:.4f}; a larger --budget goes on from here"
                )
            lines.append(line)
            calls.append((next_keys[key], delimiter, worst))
            size, reserved = size + len(line), reserved + worst
        if lines:
            await self._send(client, lines, calls)
        return None

    def _attempt(self, key: bytes) -> int:
        return len(self._table.standing(key).attempts)

    async def _send(
        self,
        client: BatchClient,
        lines: Sequence[bytes],
        calls: Sequence[tuple[bytes, str, float]],
    ) -> None:
        """One batch: written down, uploaded, begun, its id kept."""
        batch = self._batches.intend(self._run, calls)
        self._open.append(batch)
        try:
            file = await client.upload(f"evalsuite-{batch.tag}.jsonl", b"".join(lines))
        except (CallFailedError, ServerError, NoSuchThingError):
            self._drop(batch, "not uploaded")
            raise
        state = await self._begin(client, batch, file)
        self._batches.record(batch.tag, state.id)
        self._replace(batch, state.id)
        self._states[batch.tag] = state
        self._table.sent += len(lines)
        self._progress.note(f"judging: {len(lines)} calls sent as the batch {state.id}")

    async def _begin(self, client: BatchClient, batch: OpenBatch, file: str) -> ServerBatch:
        """Begins an uploaded batch. Where that may have worked unseen, the list is asked first."""
        unsure = 0
        while True:
            self._batches.post(batch.tag)
            posted = time.time()
            try:
                return await client.create(file, batch.tag)
            except UnsureError as error:
                unsure += 1
                asked = OpenBatch(batch.tag, batch.run, posted, None, batch.lines)
                if there := (await self._find(client, [asked])).get(batch.tag):
                    return there
                if unsure >= self._patience.tries:
                    raise CallFailedError(f"{error}, {unsure} times") from error
            except (CallFailedError, ServerError, NoSuchThingError):
                if not unsure:
                    self._drop(batch, "refused")
                raise


def _line(key: bytes, body: object) -> bytes:
    request = {"custom_id": key.hex(), "method": "POST", "url": CALLS_TO, "body": body}
    return json.dumps(request, ensure_ascii=False).encode() + b"\n"


def _endpoint(spec: JudgeSpec) -> Endpoint:
    return Endpoint(spec.endpoint, spec.model, spec.key)
