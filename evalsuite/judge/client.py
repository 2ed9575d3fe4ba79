"""A judge behind OpenAI's chat protocol: a chat in, its reply out.

Knows what a chat completion looks like; sending, and sending again, is the remote room's.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalsuite.judge.judges import JudgeSpec
from evalsuite.judge.letters import keep_probabilities
from evalsuite.judge.records import Message
from evalsuite.records import UserError
from evalsuite.remote import (
    CHAT,
    MOST,
    CallFailedError,
    Endpoint,
    Patience,
    Permit,
    RemoteClient,
    ServerError,
)
from evalsuite.remote.waiting import wait_for

__all__ = ["CallFailedError", "ChatClient", "Patience", "Reply", "ServerError", "reach_judge"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one call. `readable` False: no answer of the protocol, text is the body.

    `finish` is the server's reason ("stop", "length", …), `served` its model id; token counts are
    None when it told none. `lacks` says what the server left out that no further call would bring.
    """

    text: str
    readable: bool = True
    finish: str | None = None
    served: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    lacks: str | None = None


# Before a run: short, since nothing is lost yet, and a busy server may be slow with its list.
_AT_FIRST = Patience(timeout=20.0, connect_tries=2)


def reach_judge(spec: JudgeSpec, patience: Patience = _AT_FIRST) -> None:
    """Makes sure that a judge's server is there and takes the key. Costs nothing.

    Raises:
        UserError: it isn't, or it doesn't.
    """

    async def check() -> None:
        client = ChatClient(spec, temperature=0.0, max_tokens=1, patience=patience)
        async with client:
            await client.check()

    try:
        wait_for(check())
    except ServerError as error:
        raise UserError(f"--judge {spec.name}: {error}") from error


class ChatClient(RemoteClient[Reply]):
    """One judge, for use inside one event loop; `async with` closes it."""

    def __init__(
        self,
        spec: JudgeSpec,
        *,
        temperature: float,
        max_tokens: int,
        patience: Patience,
        top_logprobs: int = 0,
        concurrency: int = MOST,
    ) -> None:
        """`top_logprobs` above 0: a reply is its first token's rivals, see letters.py."""
        endpoint = Endpoint(spec.endpoint, spec.model, spec.key)
        super().__init__(endpoint, patience, self.read_reply, concurrency)
        self._settings: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens}
        self._weighed = top_logprobs > 0
        if self._weighed:
            self._settings |= {"logprobs": True, "top_logprobs": top_logprobs}
        self._model = spec.model

    async def ask(
        self,
        messages: Sequence[Message],
        begin: Callable[[], Awaitable[int]],
        settle: Callable[[int, bool], Awaitable[None]],
        permit: Permit | None = None,
    ) -> tuple[int, Reply]:
        """The reply, and the number of the send that brought it; see `exchange`."""
        return await self.exchange(CHAT, self.body(messages), begin, settle, permit)

    def body(self, messages: Sequence[Message]) -> dict[str, Any]:
        """What is sent for a chat."""
        chat = [dict(message) for message in messages]
        return {"model": self._model, "messages": chat, **self._settings}

    def read_reply(self, body: str) -> Reply:
        """The reply in a body; one that is no chat completion is kept as it is, unreadable."""
        try:
            loaded = json.loads(body)
            choice = loaded["choices"][0]
            text = _content(choice["message"]["content"])
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            return Reply(self.clean(body, limit=None), readable=False)
        usage = loaded.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        lacks = None
        if self._weighed:
            kept = _first_token(choice)
            text = text if kept is None else kept
            lacks = "log-probabilities of the tokens it writes" if kept is None else None
        return Reply(
            text=self.clean(text or "", limit=None),
            finish=_text(choice.get("finish_reason")),
            served=_text(loaded.get("model")),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            lacks=lacks,
        )


def _content(value: Any) -> str | None:
    """A message's text, also where it is a list of parts; a part that is no text is a TypeError."""
    if isinstance(value, list):
        return "".join(part["text"] for part in value)
    if value is not None and not isinstance(value, str):
        raise TypeError("content is no text")
    return value


def _first_token(choice: Mapping[str, Any]) -> str | None:
    """What could have been a choice's first token, kept as text; None where it doesn't say."""
    try:
        first = choice["logprobs"]["content"][0]
        tokens = {str(one["token"]): float(one["logprob"]) for one in first["top_logprobs"]}
        # The token that was drawn need not be among the likeliest.
        tokens.setdefault(str(first["token"]), float(first["logprob"]))
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return keep_probabilities(tokens.items())


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
