"""Asks a server that speaks OpenAI's protocol, and goes on asking where that makes sense.

The openai package sends; when to send again is decided here. Knows HTTP and one endpoint; must not
know games, tasks or dollars. Nothing it raises or returns holds the key.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, TypeVar

from evalsuite.records import UserError
from evalsuite.remote.concurrency import MOST, Outcome, Pace, Permit, pace_of
from evalsuite.remote.endpoint import OPENAI_URL, Endpoint, is_this_machine

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
# Exceptions of httpx and aiohttp by name, since either package may be the one that sends.
_NOT_REACHED = frozenset(
    ("ConnectError", "ProxyError", "ClientConnectorError", "ConnectionTimeoutError")
)
_CUT = frozenset(("ServerDisconnectedError", "ClientOSError", "ClientPayloadError"))
_SHOWN = 160  # characters of a server's message in an error line


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


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A send that brought no reply. `billed` says that the server may have done the work."""

    reason: str
    kind: str  # "rate", "again", "unreached", "refused", "fatal"
    billed: bool = False
    wait: float | None = None
    late: bool = False  # it was given up at the timeout


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
        self._reached = False
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
                if not isinstance(outcome, _Trouble):
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
                if error.status_code == 401 and "scope" not in _message(error):
                    raise ServerError(self._status_trouble(error).reason) from error
                return
            except Exception as error:
                trouble = self._no_answer(error)
                if trouble.kind != "unreached" or trouble.billed:
                    return
                unreached += 1
                self._check_patience(trouble, {"unreached": unreached, "again": 0, "rate": 0})
                await asyncio.sleep(self._patience.backoff(unreached))
            else:
                return

    # ---- one send

    async def _send(self, path: Path, body: Mapping[str, Any]) -> _Read | _Trouble:
        outcome = await self._attempt(lambda: self._post(path, body), self._patience.timeout)
        if isinstance(outcome, _Trouble):
            return outcome
        try:
            return self._read(outcome)
        except UnreadableError as error:
            return self._unreadable(error)

    async def _post(self, path: Path, body: Mapping[str, Any]) -> str:
        # By its typed methods the package walks through every message and header, which takes
        # longer than all else that happens to a call; this is its own way for bodies as they are.
        # A whole URL is not put together from parts again for each call.
        return await self._client.post(f"{self._spec.url}/{path}", cast_to=str, body=body)

    async def _attempt(
        self, send: Callable[[], Awaitable[_Sent]], timeout: float
    ) -> _Sent | _Trouble:
        """What one exchange with the server brings, or what went wrong with it."""
        import openai

        try:
            # A server that sends a byte now and then would never meet the client's own timeout.
            async with asyncio.timeout(timeout):
                sent = await send()
        except openai.APIStatusError as error:
            self._reached = True
            return self._status_trouble(error)
        except Exception as error:
            return self._no_answer(error)
        self._reached = True
        return sent

    def _unreadable(self, error: UnreadableError) -> _Trouble:
        return _Trouble(f"{self._spec.url} answered what can't be read ({error})", "again", True)

    def _no_answer(self, error: Exception) -> _Trouble:
        """What became of a send that no answer came to, by the causes of its exception."""
        import openai

        causes = list(_causes(error))
        names = {name for cause in causes for name in _class_names(cause)}
        if not names & {"APIConnectionError", "TimeoutError", "ClientError"}:
            raise error
        if names & _NOT_REACHED or (
            # The aiohttp transport calls every broken connection a timeout of connecting.
            "ConnectTimeout" in names and "ClientConnectionError" not in names
        ):
            last = self.clean(str(causes[-1]))
            return self._connection_trouble(f"cannot be reached ({last})")
        if names & _CUT or not isinstance(error, TimeoutError | openai.APITimeoutError):
            self._reached = True
            return self._connection_trouble("cut the connection", billed=True)
        return replace(self._connection_trouble("gave no answer in time", billed=True), late=True)

    def _status_trouble(self, error: openai.APIStatusError) -> _Trouble:
        status, where = error.status_code, self._spec.url
        said = self.clean(_message(error))
        wait = _retry_after(error.response.headers)
        if wait is not None and wait > self._patience.longest_wait:
            return _Trouble(
                f"{where} asks to wait {wait:.0f} s ({said}); run again then to go on", "fatal"
            )
        if status == 429:
            if error.code == "insufficient_quota":
                return _Trouble(f"{where}: the account has no credit left ({said})", "fatal")
            return _Trouble(f"{where} limits the rate ({said})", "rate", wait=wait)
        if status in (408, 409, 425) or status >= 500:
            # A gateway that gave up waiting doesn't know what the model behind it did.
            billed = status in (408, 504)
            return _Trouble(f"{where} answered {status} ({said})", "again", billed, wait)
        if status in (401, 403):
            if self._spec.key:
                hint = "check the key" if status == 401 else "the key has no right to this model"
            else:
                hint = "it wants a key: put one into a variable and name it with --api-key-env"
            return _Trouble(f"{where} refused with {status} ({said}); {hint}", "fatal")
        if status == 404:
            return _Trouble(
                f"{where} has no model {self._spec.model}, or the URL is wrong: 404 ({said})",
                "fatal",
            )
        if 300 <= status < 400:
            return _Trouble(f"{where} answered with a redirect: name the final URL", "fatal")
        return _Trouble(f"{where} refused the call with {status} ({said})", "refused")

    def _connection_trouble(self, what: str, *, billed: bool = False) -> _Trouble:
        kind = "again" if self._reached else "unreached"
        return _Trouble(f"{self._spec.url} {what}", kind, billed)

    # ---- when to send again

    def _check_patience(self, trouble: _Trouble, counts: dict[str, int]) -> None:
        patience = self._patience
        if trouble.kind == "unreached" and counts["unreached"] >= patience.connect_tries:
            if self._reached:  # another call got through meanwhile
                return
            raise ServerError(f"{trouble.reason}: is a server running there?")
        tried = counts["again"] + counts["unreached"]
        if tried >= patience.tries:
            raise CallFailedError(f"{trouble.reason}, {tried} times")
        if counts["rate"] >= patience.rate_tries:
            raise CallFailedError(f"{trouble.reason}, {counts['rate']} times")

    async def _back_off(self, trouble: _Trouble, times: int, permit: Permit) -> None:
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

    def clean(self, text: str, limit: int | None = _SHOWN) -> str:
        """A server's text without the key, should it echo it, and without broken characters."""
        if self._spec.key:
            text = text.replace(self._spec.key, "[key]")
        text = text.encode("utf-8", "replace").decode("utf-8")
        if limit is None:
            return text
        line = " ".join(text.split())
        return line if len(line) <= limit else line[:limit] + "…"


def _http_client(**settings: Any) -> Any:
    """The package's own HTTP client, over aiohttp where that is there: half the work a call.

    httpx's own pool looks through all of its connections for each request.
    """
    import openai

    try:
        return openai.DefaultAioHttpClient(**settings)
    except (AttributeError, RuntimeError):  # an openai of an earlier year, or without its extra
        return openai.DefaultAsyncHttpxClient(**settings)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what caused it, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__


def _class_names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _message(error: openai.APIStatusError) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        message = inner.get("message") if isinstance(inner, dict) else inner
        if isinstance(message, str) and message.strip():
            return message
    return error.response.text.strip() or error.response.reason_phrase


def _retry_after(headers: Any) -> float | None:
    """Seconds to wait by the Retry-After header (a number or an HTTP date), if there is one."""
    milliseconds, given = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds is not None:
            return max(0.0, float(milliseconds) / 1000)
        if given is None:
            return None
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(given)
    except (TypeError, ValueError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
