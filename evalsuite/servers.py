"""Models behind servers made sure of: address, key and abilities, before anything long is run.

Knows names and the environment; sends a probe of some tokens and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from evalsuite.engine.openai import Abilities, OpenAIModel
from evalsuite.models import ModelSpec
from evalsuite.models.names import SERVER
from evalsuite.records import UserError
from evalsuite.remote import (
    OPENAI_KEY,
    OPENAI_URL,
    Endpoint,
    Patience,
    endpoint_url,
    key_for_other,
    key_from,
)
from evalsuite.remote.waiting import wait_for

# A probe is a few tokens; a server that is loading its model may take a while over the first.
_PATIENCE = Patience(timeout=120.0, tries=3, rate_tries=5)


@dataclass(frozen=True, slots=True)
class Server:
    """Where a model is asked and how: `chat` completions or plain ones, and whether it `scores`.

    `why_not` says why it doesn't.
    """

    endpoint: Endpoint
    chat: bool = True
    scores: bool = False
    why_not: str = ""


def resolve_servers(
    models: Sequence[ModelSpec],
    environ: Mapping[str, str],
    *,
    api_key_env: str | None = None,
    judge_urls: Collection[str] = (),
) -> dict[str, Server]:
    """Address and key of each model behind a server, by label. Sends nothing.

    The key in `api_key_env` goes to OpenAI only when no other server of the run wants it.

    Raises:
        UserError: a URL that can't be used, or a key that is missing or would go astray.
    """
    urls: dict[str, str] = {}
    for spec in models:
        if spec.kind == "server":
            _, at, address = spec.source.removeprefix(SERVER).partition("@")
            urls[spec.label] = endpoint_url(address, _flag(spec)) if at else OPENAI_URL
    others = {url for url in (*urls.values(), *judge_urls) if url.startswith("http")} - {OPENAI_URL}
    found: dict[str, Server] = {}
    for spec in models:
        if spec.kind != "server":
            continue
        url, key = urls[spec.label], None
        if url == OPENAI_URL:
            variable = OPENAI_KEY if others else api_key_env or OPENAI_KEY
            key = key_from(variable, environ, _flag(spec))
        elif api_key_env:
            key = key_for_other(api_key_env, environ, _flag(spec))
        model = spec.source.removeprefix(SERVER).partition("@")[0]
        found[spec.label] = Server(Endpoint(url, model, key))
    return found


def reach(server: Server, chat: str) -> Server:
    """The server with what a probe found, under a --chat value.

    auto: chat completions where it has them, since it knows the model's format; log-probabilities
    are of plain prompts.

    Raises:
        UserError: it can't be used, or not so.
    """
    able = wait_for(_probe(server.endpoint))
    where = f"{server.endpoint.model} at {server.endpoint.url}"
    if chat == "never" and not able.plain:
        raise UserError(f"--chat never: {where} has no plain completions")
    if chat == "always":
        if not able.chat:
            raise UserError(f"--chat always: {where} has no chat completions")
        why = "--chat always: a server scores plain prompts only"
        return replace(server, chat=True, scores=False, why_not=why)
    talks = able.chat and chat != "never"
    return replace(server, chat=talks, scores=able.scores, why_not=able.why_not)


async def _probe(endpoint: Endpoint) -> Abilities:
    async with OpenAIModel(endpoint, _PATIENCE) as model:
        return await model.probe()


def _flag(spec: ModelSpec) -> str:
    return f"--models {spec.source}"
