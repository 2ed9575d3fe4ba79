"""What went wrong with a send, and what that means for this call and the others.

Knows HTTP's statuses and the exceptions of the packages that send; must not know when a call is
sent again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from evalsuite.remote.endpoint import Endpoint

if TYPE_CHECKING:
    import openai

# Exceptions of httpx and aiohttp by name, since either package may be the one that sends.
_NOT_REACHED = frozenset(
    ("ConnectError", "ProxyError", "ClientConnectorError", "ConnectionTimeoutError")
)
_CUT = frozenset(("ServerDisconnectedError", "ClientOSError", "ClientPayloadError"))
SHOWN: Final = 160  # characters of a server's message in an error line


@dataclass(frozen=True, slots=True)
class Trouble:
    """A send that brought no reply. `billed` says that the server may have done the work."""

    reason: str
    kind: str  # "rate", "again", "unreached", "refused", "fatal"
    billed: bool = False
    wait: float | None = None
    late: bool = False  # it was given up at the timeout


class Troubles:
    """Reads what comes of sends to one endpoint. `reached`: it has answered at least once.

    A server that asks for more than `longest_wait` seconds ends the run.
    """

    def __init__(self, endpoint: Endpoint, longest_wait: float) -> None:
        self._spec, self._longest_wait = endpoint, longest_wait
        self.reached = False

    def unreadable(self, error: Exception) -> Trouble:
        """An answer came, and is not one of the protocol."""
        return Trouble(f"{self._spec.url} answered what can't be read ({error})", "again", True)

    def without_answer(self, error: Exception) -> Trouble:
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
            self.reached = True
            return self._connection_trouble("cut the connection", billed=True)
        return replace(self._connection_trouble("gave no answer in time", billed=True), late=True)

    def of_status(self, error: openai.APIStatusError) -> Trouble:
        """What an answer with an error's status means for the call and for all others."""
        status, where = error.status_code, self._spec.url
        said = self.clean(server_message(error))
        wait = _retry_after(error.response.headers)
        if wait is not None and wait > self._longest_wait:
            return Trouble(
                f"{where} asks to wait {wait:.0f} s ({said}); run again then to go on", "fatal"
            )
        if status == 429:
            if error.code == "insufficient_quota":
                return Trouble(f"{where}: the account has no credit left ({said})", "fatal")
            return Trouble(f"{where} limits the rate ({said})", "rate", wait=wait)
        if status in (408, 409, 425) or status >= 500:
            # A gateway that gave up waiting doesn't know what the model behind it did.
            billed = status in (408, 504)
            return Trouble(f"{where} answered {status} ({said})", "again", billed, wait)
        if status in (401, 403):
            if self._spec.key:
                hint = "check the key" if status == 401 else "the key has no right to this model"
            else:
                hint = "it wants a key: put one into a variable and name it with --api-key-env"
            return Trouble(f"{where} refused with {status} ({said}); {hint}", "fatal")
        if status == 404:
            return Trouble(
                f"{where} has no model {self._spec.model}, or the URL is wrong: 404 ({said})",
                "fatal",
            )
        if 300 <= status < 400:
            return Trouble(f"{where} answered with a redirect: name the final URL", "fatal")
        return Trouble(f"{where} refused the call with {status} ({said})", "refused")

    def _connection_trouble(self, what: str, *, billed: bool = False) -> Trouble:
        kind = "again" if self.reached else "unreached"
        return Trouble(f"{self._spec.url} {what}", kind, billed)

    def clean(self, text: str, limit: int | None = SHOWN) -> str:
        """A server's text without the key, should it echo it, and without broken characters."""
        if self._spec.key:
            text = text.replace(self._spec.key, "[key]")
        text = text.encode("utf-8", "replace").decode("utf-8")
        if limit is None:
            return text
        line = " ".join(text.split())
        return line if len(line) <= limit else line[:limit] + "…"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what caused it, outermost first."""
    while error is not None:
        yield error
        error = error.__cause__


def _class_names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def server_message(error: openai.APIStatusError) -> str:
    """What the server says in its error's body."""
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
