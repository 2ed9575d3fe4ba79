"""A judge behind OpenAI's chat protocol: a chat in, its reply out.

Knows what a chat completion looks like; sending, and sending again, is the remote room's.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from evalsuite.judge.judges import JudgeSpec
from evalsuite.judge.records import Message
from evalsuite.remote import CHAT, CallFailedError, Endpoint, Patience, RemoteClient, ServerError

__all__ = ["CallFailedError", "ChatClient", "Patience", "Reply", "ServerError"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one call. `readable` False: no answer of the protocol, text is the body.

    `finish` is the server's reason ("stop", "length", …), `served` its model id; token counts are
    None when it told none.
    """

    text: str
    readable: bool = True
    finish: str | None = None
    served: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class ChatClient(RemoteClient[Reply]):
    """One judge, for use inside one event loop; `async with` closes it."""

    def __init__(
        self, spec: JudgeSpec, *, temperature: float, max_tokens: int, patience: Patience
    ) -> None:
        super().__init__(Endpoint(spec.endpoint, spec.model, spec.key), patience, self.read_reply)
        self._settings = {"temperature": temperature, "max_tokens": max_tokens}
        self._model = spec.model

    async def ask(
        self,
        messages: Sequence[Message],
        begin: Callable[[], Awaitable[int]],
        settle: Callable[[int, bool], Awaitable[None]],
    ) -> tuple[int, Reply]:
        """The reply, and the number of the send that brought it; see `exchange`."""
        return await self.exchange(CHAT, self.body(messages), begin, settle)

    def body(self, messages: Sequence[Message]) -> dict[str, Any]:
        """What is sent for a chat."""
        chat = [dict(message) for message in messages]
        return {"model": self._model, "messages": chat, **self._settings}

    def read_reply(self, body: str) -> Reply:
        """The reply in a body; one that is no chat completion is kept as it is, unreadable."""
        try:
            loaded = json.loads(body)
            choice = loaded["choices"][0]
            text = choice["message"]["content"]
            if text is not None and not isinstance(text, str):
                raise TypeError("content is no text")
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            return Reply(self.clean(body, limit=None), readable=False)
        usage = loaded.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        return Reply(
            text=self.clean(text or "", limit=None),
            finish=_text(choice.get("finish_reason")),
            served=_text(loaded.get("model")),
            prompt_tokens=_count(usage.get("prompt_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
        )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
