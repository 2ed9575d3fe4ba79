"""Where calls go and which key goes with them.

The one place that decides it: OPENAI_API_KEY goes to https://api.openai.com only. Knows addresses
and the environment; sends nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from evalsuite.records import UserError

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_HOST = "api.openai.com"
OPENAI_KEY = "OPENAI_API_KEY"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's URL and the model to ask for. `key` is never shown, kept or compared."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False, compare=False)


def endpoint_url(address: str, flag: str) -> str:
    """An address as a person gives it, as the URL that calls go to; `flag` begins an error's line.

    Raises:
        UserError: it is no URL, or one that can't be used.
    """
    try:
        url = urlsplit(address)
        port = url.port
    except ValueError as error:
        raise UserError(f"{flag}: {address} is not a URL ({error})") from error
    if url.username is not None or url.password is not None:
        # The rest of the message must not repeat the address: it holds a password.
        raise UserError(
            f"{flag.split()[0]}: a URL with a user or password in it would be written into the "
            "store; put the key into a variable and name it with --api-key-env"
        )
    if url.scheme not in ("http", "https") or not url.hostname:
        raise UserError(f"{flag}: a URL begins with http:// or https:// and a host")
    if url.query or url.fragment:
        raise UserError(f"--judge {url.scheme}://{url.netloc}…: a URL without ? and # is wanted")
    host = url.hostname.lower()
    if host == OPENAI_HOST and (url.scheme != "https" or port not in (None, 443)):
        raise UserError(f"{flag}: {OPENAI_HOST} is asked by https only")
    if host == OPENAI_HOST:
        return OPENAI_URL
    shown = f"[{host}]" if ":" in host else host
    path = url.path.rstrip("/") or "/v1"
    return f"{url.scheme}://{shown}{f':{port}' if port else ''}{path}"


def key_from(variable: str, environ: Mapping[str, str], flag: str, hint: str = "") -> str:
    """The key in an environment variable; `hint` says what else to do without one.

    Raises:
        UserError: there is none, or it is no key.
    """
    key = environ.get(variable, "").strip()
    if not key:
        raise UserError(f"{flag} needs an API key: set {variable}{', ' if hint else ''}{hint}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(f"{variable} holds characters that no API key has")
    return key


def key_for_other(variable: str, environ: Mapping[str, str], flag: str, hint: str = "") -> str:
    """The key for a server that isn't OpenAI's.

    Raises:
        UserError: there is none, or it is OpenAI's.
    """
    openai_key = environ.get(OPENAI_KEY, "").strip()
    key = key_from(variable, environ, flag, hint)
    if variable == OPENAI_KEY or (openai_key and key == openai_key):
        raise UserError(
            f"{OPENAI_KEY} goes to {OPENAI_HOST} only: put this server's own key into another "
            "variable and name it with --api-key-env"
        )
    return key


def is_this_machine(endpoint: str) -> bool:
    """Whether a URL's host is the loopback interface."""
    host = urlsplit(endpoint).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
