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

from evalsuite.judge.batch_results import Result, read_results
from evalsuite.judge.batch_sending import BatchRules, BatchSender, drop
from evalsuite.judge.calls import all_keys, worst_cost
from evalsuite.judge.client import CallFailedError, ChatClient, Patience, ServerError
from evalsuite.judge.judges import JudgeSpec
from evalsuite.judge.table import Table, judgment_of
from evalsuite.progress import Progress
from evalsuite.records import UserError
from evalsuite.remote import Endpoint
from evalsuite.remote.batches import CALLS_TO, BatchClient, NoSuchThingError, ServerBatch
from evalsuite.remote.waiting import wait_for
from evalsuite.store.batches import Batches, OpenBatch
from evalsuite.store.judgments import Judgment

_DOWNLOADS = 3  # of a file that holds less than it should
_LONGEST_PAUSE = 15.0
# Only a look whether there is such a thing: what else is wrong is said when it matters.
_LOOK = Patience(timeout=20.0, tries=2, connect_tries=1, rate_tries=2, longest_backoff=2.0)


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
    """The batches of one run's table, inside one event loop. `spec` has a batch's prices."""

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
        self._states: dict[str, ServerBatch] = {}
        self._halt: str | None = None  # why nothing more is sent

    async def play(self, limit: float | None, *, send: bool = True) -> None:
        """Collects what ended, sends what is missing, and waits a little for both to go on.

        `limit` dollars are never passed. With `send` False what ended is collected, no more.
        What is left is said by the table's `stopped` and `under_way`.
        """
        table, spec = self._table, self._spec
        self._client = BatchClient(_endpoint(spec), self._patience)
        self._chat = ChatClient(
            spec,
            temperature=table.preset.temperature,
            max_tokens=table.preset.max_tokens,
            patience=self._patience,
            top_logprobs=table.preset.top_logprobs,
        )
        self._sender = BatchSender(self._client, self._batches, self._rules, self._patience)
        async with self._client, self._chat:
            try:
                table.stopped = await self._go_on(limit, send)
            except (CallFailedError, ServerError) as error:
                table.stopped = str(error)
            except NoSuchThingError as error:
                table.stopped = f"{error}; has this server a Batch API?"
        table.remarks += self._sender.remarks
        mark_sent(table, self._open())

    def _open(self) -> list[OpenBatch]:
        return relevant(self._batches, self._table, self._run, refresh=self._refresh)

    async def _go_on(self, limit: float | None, send: bool) -> str | None:
        """All that can be done now. Returns why it is not everything, if so."""
        rules, pause = self._rules, self._rules.first_pause
        until = time.monotonic() + rules.wait
        while True:
            done = await self._collect()
            if not send:
                return None
            short = None if self._halt else await self._send_missing(limit)
            if done:
                until, pause = time.monotonic() + rules.wait, rules.first_pause
            left = until - time.monotonic()
            if self._halt or not (waiting := self._open()):
                return self._halt or short
            if left <= 0:
                return self._pending(waiting)
            await asyncio.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _pending(self, waiting: Sequence[OpenBatch]) -> str:
        """What a person is told of batches that are not done."""
        states = [self._states[batch.tag] for batch in waiting if batch.tag in self._states]
        shown = ", ".join(f"{s.id} ({s.status}, {s.completed} of {s.total})" for s in states[:3])
        more = f" and {len(states) - 3} more" if len(states) > 3 else ""
        calls = sum(len(batch.lines) for batch in waiting)
        return (
            f"{calls} calls are in a batch that is not done: {shown}{more}; "
            "the same command goes on with it"
        )

    # ---- what the server has

    async def _collect(self) -> bool:
        """Keeps the results of every batch that ended; True when there was one."""
        ended = False
        batches = self._open()
        unknown = [batch for batch in batches if batch.server_id is None]
        found = await self._sender.find(unknown) if unknown else {}
        for batch in batches:
            server_id = batch.server_id
            if server_id is None:
                if batch.tag not in found:
                    drop(self._batches, batch, "never begun")
                    continue
                server_id = found[batch.tag].id
                self._batches.record(batch.tag, server_id)
            try:
                state = await self._client.retrieve(server_id)
            except NoSuchThingError as error:
                self._halt = (
                    f"the batch {server_id} is not among those of this key ({error}): was it sent "
                    "with another one? Without --judge-batch its calls are asked directly"
                )
                continue
            self._states[batch.tag] = state
            if state.ended:
                await self._keep(batch, state)
                ended = True
        return ended

    async def _keep(self, batch: OpenBatch, state: ServerBatch) -> None:
        """Results into judgments: the replies, and what became of the others."""
        kept: dict[bytes, tuple[Judgment, float]] = {}
        failed: dict[bytes, tuple[str | None, float]] = {}
        if state.status == "failed":
            # Refused as a whole, before any call was made.
            why = self._client.clean(state.problem) or "no reason given"
            self._halt = (
                f"{self._spec.endpoint} refused the batch {state.id} ({why}); nothing of it was "
                "billed"
            )
            failed = dict.fromkeys(batch.lines, (None, 0.0))
        else:
            results, lost = await self._results(batch, state)
            for key, line in batch.lines.items():
                result = results.get(key.hex())
                if result is not None and result.body is not None:
                    reply = self._chat.read_reply(result.body)
                    kept[key] = judgment_of(self._spec, line.delimiter, reply, line.reserved)
                    if reply.lacks:
                        self._halt = (
                            f"{self._spec.endpoint} gives no {reply.lacks}, and preset "
                            f"{self._table.preset.name} judges by them: choose another "
                            "--judge-preset"
                        )
                elif result is not None:
                    failed[key] = self._chat.clean(result.error), 0.0
                elif lost:
                    failed[key] = "its result in a batch can't be read", line.reserved
                else:
                    failed[key] = f"its batch was {state.status} before its turn", 0.0
        self._batches.end(batch, state.status, kept, failed)
        before = set(self._table.missing())
        self._table.reload()
        for key in before.difference(self._table.missing()):
            self._progress.advance(self._table.expected(key))

    async def _results(
        self, batch: OpenBatch, state: ServerBatch
    ) -> tuple[dict[str, Result], bool]:
        """Results by custom id, and whether there are fewer of them than the server did."""
        wanted = {key.hex() for key in batch.lines}
        for number in range(_DOWNLOADS):
            texts = [
                await self._download(file) for file in (state.output_file, state.error_file) if file
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

    async def _download(self, file: str) -> bytes:
        try:
            return await self._client.download(file)
        except NoSuchThingError as error:
            raise ServerError(
                f"{self._spec.endpoint} has no results {file} any more ({error}); without "
                "--judge-batch these calls are asked directly"
            ) from error

    # ---- what it is sent

    async def _send_missing(self, limit: float | None) -> str | None:
        """Sends the calls that no batch holds. Returns why some were not, if so."""
        table, rules = self._table, self._rules
        mark_sent(table, self._open())
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
            line = _line(next_keys[key], self._chat.body(messages))
            if len(line) > rules.most_bytes:
                table.errors[key] = f"it has {len(line):,} bytes, more than a batch may have"
                continue
            full = len(lines) == rules.most_requests or size + len(line) > rules.most_bytes
            if full and lines:
                await self._send(lines, calls)
                lines, calls, size, reserved, spent = [], [], 0, 0.0, table.judgments.spent()
            if limit is not None and spent + reserved + worst > limit:
                if lines:
                    await self._send(lines, calls)
                return (
                    f"${table.judgments.spent():.4f} of ${limit:.4f} is spent or set aside, and "
                    f"the next call can cost ${worst:.4f}; a larger --budget goes on from here"
                )
            lines.append(line)
            calls.append((next_keys[key], delimiter, worst))
            size, reserved = size + len(line), reserved + worst
        if lines:
            await self._send(lines, calls)
        return None

    def _attempt(self, key: bytes) -> int:
        return len(self._table.standing(key).attempts)

    async def _send(
        self, lines: Sequence[bytes], calls: Sequence[tuple[bytes, str, float]]
    ) -> None:
        batch, state = await self._sender.send(self._run, lines, calls)
        self._states[batch.tag] = state
        self._table.sent += len(lines)
        self._progress.note(f"judging: {len(lines)} calls sent as the batch {state.id}")


def _line(key: bytes, body: object) -> bytes:
    request = {"custom_id": key.hex(), "method": "POST", "url": CALLS_TO, "body": body}
    return json.dumps(request, ensure_ascii=False).encode() + b"\n"


def _endpoint(spec: JudgeSpec) -> Endpoint:
    return Endpoint(spec.endpoint, spec.model, spec.key)
