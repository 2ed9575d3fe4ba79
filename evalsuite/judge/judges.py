"""Which judge a name means: its kind, endpoint, exact model, key and price.

The one place that decides where a key may go: OPENAI_API_KEY goes to https://api.openai.com only.
Knows names, addresses and the environment; must not know games.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from evalsuite.judge.prices import Price, PriceTable, load_prices
from evalsuite.records import UserError

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_HOST = "api.openai.com"
OPENAI_KEY = "OPENAI_API_KEY"
KINDS = "gpt-4, openai:MODEL, openai:MODEL@URL, local:MODEL, reference, none"


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """A judge by name, made exact. `key` is never shown, kept or compared.

    `model` is the exact id that is asked for. `price` is None when none is known. `paid` says that
    a person must agree before anything is spent.
    """

    name: str
    kind: Literal["none", "reference", "local", "openai"]
    model: str = ""
    endpoint: str = ""
    key: str | None = field(default=None, repr=False, compare=False)
    price: Price | None = None
    prices_of: str = ""
    paid: bool = False


def default_judge(models_named: bool, environ: Mapping[str, str]) -> str:
    """The judge when none is named: the demo never spends money, nor does a machine without key."""
    return "gpt-4" if models_named and environ.get(OPENAI_KEY) else "reference"


def resolve_judge(
    name: str,
    environ: Mapping[str, str],
    *,
    api_key_env: str | None = None,
    prices: PriceTable | None = None,
) -> JudgeSpec:
    """What a --judge value means on this machine. Sends nothing.

    Raises:
        UserError: no such judge, a URL that can't be used, or a key that is missing or would go
            to the wrong host.
    """
    if name in ("none", "reference"):
        return JudgeSpec(name, name)  # type: ignore[arg-type]
    kind, _, rest = name.partition(":")
    if kind == "local" and rest:
        return JudgeSpec(name, "local", rest, "local", price=Price(0, 0))
    prices = prices or load_prices()
    if name in prices.pinned:
        kind, rest = "openai", name
    if kind != "openai" or not rest:
        raise UserError(f"no judge {name!r}: it is one of {KINDS}")
    model, at, address = rest.partition("@")
    if not model or (at and not address):
        raise UserError(f"--judge {name}: write openai:MODEL@URL")
    endpoint = _endpoint(address, name) if at else OPENAI_URL
    exact = prices.pinned.get(model, model) if endpoint == OPENAI_URL else model
    price = prices.models.get(prices.pinned.get(exact, exact))
    if endpoint == OPENAI_URL:
        if price is None:
            raise UserError(
                f"--judge {name}: no price is known for {exact}, so its cost can't be told before; "
                "add it to a price table (tasks/judge/prices.yaml is one)"
            )
        own = _key(api_key_env or OPENAI_KEY, environ, name)
        return JudgeSpec(name, "openai", exact, endpoint, own, price, prices.as_of, paid=True)
    key = _key_for_other(api_key_env, environ, name) if api_key_env else None
    here = is_this_machine(endpoint)
    if price is None and (here or key is None):
        price = Price(0, 0)  # nobody is billed who showed no key
    # A server on this machine bills nobody; list prices are kept for those who set a budget.
    paid = not here and (price is None or price.input + price.output > 0) and key is not None
    return JudgeSpec(name, "openai", exact, endpoint, key, price, prices.as_of, paid)


def check_budget(spec: JudgeSpec, budget: float | None) -> None:
    """Refuses a --budget that can't be kept because no price is known.

    Raises:
        UserError: it can't be.
    """
    if budget is not None and budget < 0:
        raise UserError(f"--budget must be 0 or more, not {budget:g}")
    if budget is not None and spec.price is None:
        raise UserError(
            f"--budget can't be kept: no price is known for {spec.model} at {spec.endpoint}; add "
            "the model to a price table (tasks/judge/prices.yaml is one)"
        )


def _endpoint(address: str, name: str) -> str:
    try:
        url = urlsplit(address)
        port = url.port
    except ValueError as error:
        raise UserError(f"--judge {name}: {address} is not a URL ({error})") from error
    if url.username is not None or url.password is not None:
        # The rest of the message must not repeat the address: it holds a password.
        raise UserError(
            "--judge: a URL with a user or password in it would be written into the store; put "
            "the key into a variable and name it with --api-key-env"
        )
    if url.scheme not in ("http", "https") or not url.hostname:
        raise UserError(f"--judge {name}: a URL begins with http:// or https:// and a host")
    if url.query or url.fragment:
        raise UserError(f"--judge {url.scheme}://{url.netloc}…: a URL without ? and # is wanted")
    host = url.hostname.lower()
    if host == OPENAI_HOST and (url.scheme != "https" or port not in (None, 443)):
        raise UserError(f"--judge {name}: {OPENAI_HOST} is asked by https only")
    if host == OPENAI_HOST:
        return OPENAI_URL
    shown = f"[{host}]" if ":" in host else host
    path = url.path.rstrip("/") or "/v1"
    return f"{url.scheme}://{shown}{f':{port}' if port else ''}{path}"


def _key(variable: str, environ: Mapping[str, str], name: str) -> str:
    key = environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"--judge {name} needs an API key: set {variable}, or use --judge reference or none"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(f"{variable} holds characters that no API key has")
    return key


def _key_for_other(variable: str, environ: Mapping[str, str], name: str) -> str:
    openai_key = environ.get(OPENAI_KEY, "").strip()
    key = _key(variable, environ, name)
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
