"""Asks a server that speaks OpenAI's protocol, and goes on asking where that makes sense.

The openai package sends; when to send again is decided here. Knows HTTP and one endpoint; must not
know games, tasks or dollars. Nothing it raises or returns holds the key.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, TypeVar

from evalsuite.records import UserError
from evalsuite.remote.concurrency import MOST, Outcome, Pace, Permit, pace_of
from evalsuite.remote.endpoint import OPENAI_URL, Endpoint, is_this_machine
from evalsuite.remote.troubles import SHOWN, Trouble, Troubles, server_message

if TYPE_CHECKING:
    import openai

_Read = TypeVar("_Read")
_Sent = TypeVar("_Sent")

CHAT: Final = "chat/completions"
PLAIN: Final = "completions"
Path = Literal["chat/completions", "completions"]

# A key of one's own is not wanted by most servers, but the header is.
_NO_KEY = "EMPTY"
# What may leave this machine besides the body. The openai package adds organisations, projects and
# whatever OPENAI_CUSTOM_HEADERS holds, for any host.
_HEADERS = frozenset(
    {b"accept", b"accept-encoding", b"connection", b"content-length", b"content-type", b"host"}
    | {b"transfer-encoding", b"user-agent"}
    # By this one the openai package knows, when the response is there, to hand out its text.
    | {b"x-stainless-raw-response"}
)
_OPENAI_HEADERS = _HEADERS | {b"openai-organization", b"openai-project"}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on. Seconds; `tries` are sends of one call.

    `rate_tries` counts 429 alone, which say nothing against the call. `connect_tries` counts for a
    server that never answered anything. A server that asks for more than `longest_wait` ends the
    run: it can be resumed then.
    """

    timeout: float = 180.0
    tries: int = 6
    rate_tries: int = 30
    connect_tries: int = 3
    first_wait: float = 1.0
    longest_backoff: float = 30.0
    longest_wait: float = 300.0

    def backoff(self, times: int) -> float:
        """Seconds to wait after failing so many times (1 is the first), randomly shortened.

        Calls that failed together would else come back in the same instant.
        """
        backoff = min(self.first_wait * 2 ** min(max(times, 1) - 1, 20), self.longest_backoff)
        return backoff * random.uniform(0.5, 1.0)


class CallFailedError(Exception):
    """This call got no reply; others may. The message says why."""


class UnreadableError(Exception):
    """An answer that isn't one of the protocol; the message says what is wrong with it."""


class ServerError(UserError):
    """No call will get a reply: a wrong key, no such model, no server."""


async def _unnumbered() -> int:
    return 0


async def _unsettled(_: int, __: bool) -> None:
    return None


class RemoteClient(Generic[_Read]):
    """One endpoint and model, for use inside one event loop; `async with` closes it.

    `read` turns the text of an answer into what is wanted of it; where it raises UnreadableError,
    the call is sent again. `concurrency` is the most calls at once; how many there are adapts to
    the server, and all clients of one endpoint and model have that in common.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        patience: Patience,
        read: Callable[[str], _Read],
        concurrency: int = MOST,
    ) -> None:
        import openai

        spec = endpoint
        self._spec, self._patience, self._read = endpoint, patience, read
        self._authorization = (b"Authorization", f"Bearer {spec.key or _NO_KEY}".encode())
        self._client = openai.AsyncOpenAI(
            api_key=spec.key or _NO_KEY,
            base_url=spec.url,
            max_retries=0,
            timeout=patience.timeout,
            http_client=_http_client(
                # Another host must be named by a person, not by a server.
                follow_redirects=False,
                # A proxy can't reach this machine's own servers as this process does.
                trust_env=not is_this_machine(spec.url),
                event_hooks={"request": [self._strip_headers]},
            ),
        )
        self._troubles = Troubles(spec, patience.longest_wait)
        self._rate_refusals = 0  # in a row, of all calls
        self.pace: Pace = pace_of(spec.url, spec.model, concurrency)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def exchange(
        self,
        path: Path,
        body: Mapping[str, Any],
        begin: Callable[[], Awaitable[int]] = _unnumbered,
        settle: Callable[[int, bool], Awaitable[None]] = _unsettled,
        permit: Permit | None = None,
    ) -> tuple[int, _Read]:
        """What `path` answers to `body`, and the number of the send that brought it.

        `begin` is awaited before each send and returns its number. `settle` is awaited after each
        send that brought nothing, with whether it may have been billed; the one that brought the
        reply is the caller's to settle. A `permit` that holds a slot is used for the first send;
        none is held afterwards.

        Raises:
            CallFailedError: it was tried as often as patience allows, or the server refuses it.
            ServerError: the server will answer no call.
        """
        permit = permit or Permit(self.pace)
        counts = {"rate": 0, "again": 0, "unreached": 0}
        ending: Outcome = "unsent"
        try:
            while True:
                await permit.take(first=counts["rate"] > 0)
                number = await begin()
                began = time.monotonic()
                outcome = await self._send(path, body)
                ending = "failed"
                if not isinstance(outcome, Trouble):
                    self._rate_refusals = 0
                    permit.give("answered", time.monotonic() - began)
                    return number, outcome
                ending = "late" if outcome.late else "failed"
                await settle(number, outcome.billed)
                if outcome.kind == "fatal":
                    raise ServerError(outcome.reason)
                if outcome.kind == "refused":
                    raise CallFailedError(outcome.reason)
                counts[outcome.kind] += 1
                self._check_patience(outcome, counts)
                await self._back_off(outcome, counts[outcome.kind], permit)
        finally:
            permit.give(ending)

    async def check(self) -> None:
        """Asks for the server's list of models, which costs nothing: is it there, is the key right?

        Whatever else it answers proves nothing: not every server has such a list, and not every
        key may see it.

        Raises:
            ServerError: nobody answers at this address, or the key is refused.
        """
        import openai

        unreached = 0
        while True:
            try:
                async with asyncio.timeout(self._patience.timeout):
                    await self._client.get("/models", cast_to=object)
            except openai.APIStatusError as error:
                # OpenAI says 401 to a good key, too, when it was made without this right.
                if error.status_code == 401 and "scope" not in server_message(error):
                    raise ServerError(self._status_trouble(error).reason) from error
                return
            except Exception as error:
                trouble = self._troubles.without_answer(error)
                if trouble.kind != "unreached" or trouble.billed:
                    return
                unreached += 1
                self._check_patience(trouble, {"unreached": unreached, "again": 0, "rate": 0})
                await asyncio.sleep(self._patience.backoff(unreached))
            else:
                return

    # ---- one send

    async def _send(self, path: Path, body: Mapping[str, Any]) -> _Read | Trouble:
        outcome = await self._attempt(lambda: self._post(path, body), self._patience.timeout)
        if isinstance(outcome, Trouble):
            return outcome
        try:
            return self._read(outcome)
        except UnreadableError as error:
            return self._troubles.unreadable(error)

    async def _post(self, path: Path, body: Mapping[str, Any]) -> str:
        # By its typed methods the package walks through every message and header, which takes
        # longer than all else that happens to a call; this is its own way for bodies as they are.
        # A whole URL is not put together from parts again for each call.
        return await self._client.post(f"{self._spec.url}/{path}", cast_to=str, body=body)

    async def _attempt(
        self, send: Callable[[], Awaitable[_Sent]], timeout: float
    ) -> _Sent | Trouble:
        """What one exchange with the server brings, or what went wrong with it."""
        import openai

        try:
            # A server that sends a byte now and then would never meet the client's own timeout.
            async with asyncio.timeout(timeout):
                sent = await send()
        except openai.APIStatusError as error:
            self._troubles.reached = True
            return self._status_trouble(error)
        except Exception as error:
            return self._troubles.without_answer(error)
        self._troubles.reached = True
        return sent

    def _status_trouble(self, error: openai.APIStatusError) -> Trouble:
        return self._troubles.of_status(error)

    # ---- when to send again

    def _check_patience(self, trouble: Trouble, counts: dict[str, int]) -> None:
        patience = self._patience
        if trouble.kind == "unreached" and counts["unreached"] >= patience.connect_tries:
            if self._troubles.reached:  # another call got through meanwhile
                return
            raise ServerError(f"{trouble.reason}: is a server running there?")
        tried = counts["again"] + counts["unreached"]
        if tried >= patience.tries:
            raise CallFailedError(f"{trouble.reason}, {tried} times")
        if counts["rate"] >= patience.rate_tries:
            raise CallFailedError(f"{trouble.reason}, {counts['rate']} times")

    async def _back_off(self, trouble: Trouble, times: int, permit: Permit) -> None:
        backoff = self._patience.backoff(times)
        if trouble.kind == "rate":
            self._rate_refusals += 1
            permit.give("refused", wait=trouble.wait)
            if trouble.wait is None:
                if self.pace.shut_out:  # nothing gets through: nobody else need try meanwhile
                    everyone = self._patience.backoff(self._rate_refusals // self.pace.limit)
                    self.pace.close_until(time.monotonic() + everyone)
                await asyncio.sleep(backoff)
            return
        if trouble.wait is not None:
            # The server asks everybody to wait, so nobody sends before it is over.
            self.pace.close_until(time.monotonic() + trouble.wait)
            permit.give("failed")
            return
        # The slot is kept meanwhile: a server in trouble is not helped by other calls.
        await asyncio.sleep(backoff)
        if trouble.kind != "unreached":
            permit.give("late" if trouble.late else "failed")
        # Else the slot is kept until patience ends: in turn with others, at a pace that shrinks,
        # all calls of a run would have to fail before the first of them gave up.

    # ---- what leaves and what is shown

    async def _strip_headers(self, request: Any) -> None:
        """The last gate before the socket: this endpoint's own headers and no others."""
        allowed = _OPENAI_HEADERS if self._spec.url == OPENAI_URL else _HEADERS
        kept = [(name, value) for name, value in request.headers.raw if name.lower() in allowed]
        # Made anew: the package adds a dozen, and each deletion walks through all of them.
        request.headers = type(request.headers)([*kept, self._authorization])

    def clean(self, text: str, limit: int | None = SHOWN) -> str:
        """A server's text without the key, should it echo it, and without broken characters."""
        return self._troubles.clean(text, limit)


def _http_client(**settings: Any) -> Any:
    """The package's own HTTP client, over aiohttp where that is there: half the work a call.

    httpx's own pool looks through all of its connections for each request.
    """
    import openai

    try:
        return openai.DefaultAioHttpClient(**settings)
    except (AttributeError, RuntimeError):  # an openai of an earlier year, or without its extra
        return openai.DefaultAsyncHttpxClient(**settings)
