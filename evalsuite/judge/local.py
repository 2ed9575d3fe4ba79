"""A judge that is a model on this machine: asked in chunks, its replies kept like a server's.

Knows chats and the table of calls; must not know engines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evalsuite.judge.client import Reply
from evalsuite.judge.records import Message
from evalsuite.judge.table import Table
from evalsuite.progress import Progress

_CHUNK = 32  # games it gets at once, and that a kill can cost


@dataclass(frozen=True, slots=True)
class LocalReply:
    """What a local judge wrote. `finished` False: it was cut off at the most tokens."""

    text: str
    finished: bool
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class LocalJudge:
    """A model on this machine: chats in, replies out, in the same order.

    `identity` stands for its weights and settings in the keys. `generate` gets the chats, the most
    new tokens and the temperature. `weigh` gets the chats for presets that ask for one token: its
    replies are what letters.py keeps, of its candidates as beginnings of a reply.
    """

    identity: str
    generate: Callable[[Sequence[Sequence[Message]], int, float], Sequence[LocalReply]]
    weigh: Callable[[Sequence[Sequence[Message]]], Sequence[LocalReply]] | None = None


def play_local(table: Table, local: LocalJudge, progress: Progress) -> None:
    """Chunk by chunk, invalid ones again until no attempt is left."""
    while missing := table.missing():
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            calls = [table.distinct[key] for key in chunk]
            delimiters = [call.delimiter() for call in calls]
            chats = [
                call.messages(table.preset, delimiter)
                for call, delimiter in zip(calls, delimiters, strict=True)
            ]
            if table.preset.top_logprobs and local.weigh is not None:
                replies = local.weigh(chats)
            else:
                replies = local.generate(chats, table.preset.max_tokens, table.preset.temperature)
            for key, call, delimiter, reply in zip(chunk, calls, delimiters, replies, strict=True):
                kept = Reply(
                    text=reply.text.encode("utf-8", "replace").decode("utf-8"),
                    finish="stop" if reply.finished else "length",
                    prompt_tokens=reply.prompt_tokens,
                    completion_tokens=reply.completion_tokens,
                )
                attempt_key = call.key(len(table.standing(key).attempts))
                number = table.judgments.begin(attempt_key, 0.0)
                table.sent += 1
                table.keep(number, key, call, delimiter, kept, 0.0)
                if table.standing(key).settled:
                    progress.advance(table.expected(key))
