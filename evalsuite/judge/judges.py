"""Which judge a name means: its kind, endpoint, exact model, key and price.

Knows names, prices and the environment; must not know games. Where a key may go is decided by
remote/endpoint.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from evalsuite.judge.prices import Price, PriceTable, load_prices
from evalsuite.records import UserError
from evalsuite.remote import (
    OPENAI_KEY,
    OPENAI_URL,
    endpoint_url,
    is_this_machine,
    key_for_other,
    key_from,
)

KINDS = "gpt-4, openai:MODEL, openai:MODEL@URL, local:MODEL, reference, none"
_NO_KEY_HINT = "or use --judge reference or none"


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
    key_of_another: bool = False,
    asks: bool = True,
) -> JudgeSpec:
    """What a --judge value means on this machine. Sends nothing.

    `asks` False: nothing will be sent later, either, so that a key may be missing.

    `key_of_another`: `api_key_env` is meant for another server of the run as well, so its key does
    not go to OpenAI.

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
    endpoint = endpoint_url(address, f"--judge {name}") if at else OPENAI_URL
    exact = prices.pinned.get(model, model) if endpoint == OPENAI_URL else model
    price = prices.models.get(prices.pinned.get(exact, exact))
    if endpoint == OPENAI_URL:
        if price is None:
            raise UserError(
                f"--judge {name}: no price is known for {exact}, so its cost can't be told before; "
                "add it to a price table (tasks/judge/prices.yaml is one)"
            )
        variable = OPENAI_KEY if key_of_another else api_key_env or OPENAI_KEY
        needed = asks or bool(environ.get(variable))
        own = key_from(variable, environ, f"--judge {name}", _NO_KEY_HINT) if needed else None
        return JudgeSpec(name, "openai", exact, endpoint, own, price, prices.as_of, paid=True)
    key = None
    if api_key_env and (asks or environ.get(api_key_env)):
        key = key_for_other(api_key_env, environ, f"--judge {name}", _NO_KEY_HINT)
    here = is_this_machine(endpoint)
    if price is None and (here or not api_key_env):
        price = Price(0, 0)  # nobody is billed who showed no key
    # A server on this machine bills nobody; list prices are kept for those who set a budget.
    paid = not here and (price is None or price.input + price.output > 0) and bool(api_key_env)
    return JudgeSpec(name, "openai", exact, endpoint, key, price, prices.as_of, paid)


def for_batch(spec: JudgeSpec) -> JudgeSpec:
    """The judge as it is asked through the Batch API: at half its price where that is promised.

    Elsewhere than at OpenAI nobody says what a batch costs, so its full price stays the bound; a
    server on this machine stands for OpenAI's.

    Raises:
        UserError: it is no judge that takes batches.
    """
    if spec.kind != "openai":
        raise UserError(
            f"--judge-batch: {spec.name} takes no batches; gpt-4, openai:MODEL or openai:MODEL@URL "
            "may, the others are judged without --judge-batch"
        )
    if spec.price is None or not (spec.endpoint == OPENAI_URL or is_this_machine(spec.endpoint)):
        return spec
    half = Price(spec.price.input / 2, spec.price.output / 2)
    return replace(spec, price=half, prices_of=f"{spec.prices_of}, halved for a batch")


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
