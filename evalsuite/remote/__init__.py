"""Servers that speak OpenAI's protocol: where a key may go, and how a call is sent until it holds.

What judges and evaluated models behind servers have in common. Knows no games and no tasks.
Importing this loads no HTTP client.
"""

from evalsuite.remote.client import (
    CHAT,
    PLAIN,
    CallFailedError,
    Patience,
    RemoteClient,
    ServerError,
    UnreadableError,
)
from evalsuite.remote.concurrency import MOST, Pace, Permit, pace_of
from evalsuite.remote.endpoint import (
    OPENAI_HOST,
    OPENAI_KEY,
    OPENAI_URL,
    Endpoint,
    endpoint_url,
    is_this_machine,
    key_for_other,
    key_from,
)

__all__ = [
    "CHAT",
    "MOST",
    "OPENAI_HOST",
    "OPENAI_KEY",
    "OPENAI_URL",
    "PLAIN",
    "CallFailedError",
    "Endpoint",
    "Pace",
    "Patience",
    "Permit",
    "RemoteClient",
    "ServerError",
    "UnreadableError",
    "endpoint_url",
    "is_this_machine",
    "key_for_other",
    "key_from",
    "pace_of",
]
