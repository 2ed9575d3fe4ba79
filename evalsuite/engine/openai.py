"""A model behind a server that speaks OpenAI's protocol: text requests out, replies in.

What the server can do is found out by a probe before anything is asked: chat completions, plain
completions, and log-probabilities of a prompt, which count only when they are proven right. Knows
the protocol's bodies; sending and sending again is the remote room's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalsuite.records import TextReply, TextRequest
from evalsuite.remote import (
    CHAT,
    OPENAI_URL,
    PLAIN,
    CallFailedError,
    Endpoint,
    Pace,
    Patience,
    Permit,
    RemoteClient,
    ServerError,
    UnreadableError,
)

# Raised whenever a change here changes what is sent or read: kept replies are then not reused.
VERSION = 1
_MOST_STOPS = 4  # of api.openai.com; what it doesn't get is cut off its answers here
_LARGEST_SEED = 2**31 - 1  # some servers take no more
# Texts to prove log-probabilities with; one that the server tokenises otherwise proves nothing.
_PROOFS = (
    "One, two, three, four, five, six, seven, eight, nine,",
    "The sun rises in the east and sets in the",
    "Question: What is the capital of France?\nAnswer:",
)
# Batches of other sizes round otherwise, in bfloat16 by some hundredths; neighbours differ by more.
_CLOSE = 0.1

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server gives. `why_not` says why `scores` is false."""

    chat: bool
    plain: bool
    scores: bool
    why_not: str = ""


class OpenAIModel:
    """One model of one server, for use inside one event loop; `async with` closes it."""

    def __init__(self, endpoint: Endpoint, patience: Patience) -> None:
        self.endpoint = endpoint
        self._client = RemoteClient(endpoint, patience, _loaded)

    async def __aenter__(self) -> OpenAIModel:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.__aexit__(*error)

    @property
    def pace(self) -> Pace:
        """How many calls its server takes at once."""
        return self._client.pace

    async def ask(self, request: TextRequest, permit: Permit | None = None) -> TextReply:
        """The answer to one request; a `permit` that holds a slot is used for it.

        Raises:
            CallFailedError: this request gets no answer; others may.
            ServerError: the server will answer none.
        """
        if request.continuation is not None:
            return await self._score(request, request.continuation, permit)
        path = CHAT if request.chat else PLAIN
        loaded = await self._post(path, _body(self.endpoint, request), permit)
        try:
            return _answer(loaded, chat=request.chat)
        except _EXPECTED as error:
            raise CallFailedError(f"{self.endpoint.url}: no completion in its answer") from error

    async def probe(self) -> Abilities:
        """What the server can do, found out by a few calls of some tokens.

        Raises:
            ServerError: it can't be reached, wants another key, or has no such model.
        """
        failures: list[str] = []
        hello = json.dumps([{"role": "user", "content": "Say yes."}])
        chat = await self._works(TextRequest(hello, chat=True, max_new_tokens=1), failures)
        plain = await self._works(TextRequest(_PROOFS[0], max_new_tokens=1), failures)
        if not chat and not plain:
            raise ServerError(f"{self.endpoint.model}: {failures[0]}")
        why = "the server has no plain completions" if not plain else await self._unproven()
        return Abilities(chat, plain, not why, why)

    async def _works(self, request: TextRequest, failures: list[str]) -> bool:
        try:
            await self.ask(request)
        except ServerError as error:
            # A model for one kind of completions alone answers 404 to the other.
            if "404" not in str(error):
                raise
            failures.append(str(error))
            return False
        except CallFailedError as error:
            failures.append(str(error))
            return False
        return True

    # ---- log-probabilities

    async def _unproven(self) -> str:
        """Why the log-probabilities of prompts can't be relied on; "" when they are right.

        The model goes on with a text and says how likely each of its tokens was. The same tokens,
        now as a part of the prompt, must be as likely: a server that is off by one (without a BOS
        token, say) or leaves a token out gives others.
        """
        reason = "its tokens could not be compared"
        for text in _PROOFS:
            try:
                written = _Scored.read(await self._echo(text, 4), text, of_prompt=False)
                more = "".join(written.tokens)
                if not more:
                    continue
                whole = _Scored.read(await self._echo(text + more, 1), text + more)
                again, logprobs = whole.after(len(text + more) - len(text))
            except (CallFailedError, ServerError) as error:
                return f"it gives no log-probabilities of a prompt ({error})"
            except _EXPECTED as error:
                return f"it gives no log-probabilities of a prompt ({_words(error)})"
            if again != written.tokens:
                continue
            if all(abs(a - b) <= _CLOSE for a, b in zip(logprobs, written.logprobs, strict=True)):
                return ""
            reason = "they differ from those of the tokens when it writes them itself"
            return f"its log-probabilities of a prompt are not right: {reason}"
        return f"its log-probabilities of a prompt could not be proven right: {reason}"

    async def _echo(self, text: str, new_tokens: int, permit: Permit | None = None) -> Body:
        return await self._post(
            PLAIN,
            {
                "model": self.endpoint.model,
                "prompt": text,
                "max_tokens": new_tokens,
                "temperature": 0,
                "logprobs": 1,
                "echo": True,
            },
            permit,
        )

    async def _score(
        self, request: TextRequest, continuation: str, permit: Permit | None
    ) -> TextReply:
        whole = request.prompt + continuation
        loaded = await self._echo(whole, 1, permit)
        try:
            scored = _Scored.read(loaded, whole)
            try:
                first = scored.start_of(len(continuation))
            except ValueError:
                # A token lies over the border. lm-eval counts the context's own tokens then, as is
                # done here; it also scores after those tokens, and a server only after the whole
                # text's, so that the numbers differ a little in this rare case.
                context = _Scored.read(await self._echo(request.prompt, 1), request.prompt)
                first = len(context.tokens)
            logprobs = [float(value) for value in scored.logprobs[first:]]
            if not logprobs or not all(map(math.isfinite, logprobs)):
                raise ValueError("a token of the continuation has no log-probability")
        except _EXPECTED as error:
            raise CallFailedError(
                f"{self.endpoint.url}: its log-probabilities can't be read ({_words(error)})"
            ) from error
        return TextReply(
            served=_text(loaded.get("model")),
            prompt_tokens=_count(loaded, "prompt_tokens"),
            completion_tokens=_count(loaded, "completion_tokens"),
            logprob=sum(logprobs),
            is_greedy=all(scored.greedy[first:]),
        )

    async def _post(self, path: Any, body: Body, permit: Permit | None = None) -> Body:
        return (await self._client.exchange(path, body, permit=permit))[1]


# ---- bodies --------------------------------------------------------------------------------------

# What reading an answer of another form raises.
_EXPECTED = (KeyError, IndexError, TypeError, ValueError, AttributeError)


def _body(endpoint: Endpoint, request: TextRequest) -> dict[str, Any]:
    """What is sent for an answer."""
    openai = endpoint.url == OPENAI_URL
    asked: dict[str, Any] = {"model": endpoint.model}
    if request.chat:
        asked["messages"] = json.loads(request.prompt)
    else:
        asked["prompt"] = request.prompt
    # OpenAI's newer chat models refuse the older name, which is all that other servers know.
    most = "max_completion_tokens" if openai and request.chat else "max_tokens"
    asked |= {
        most: request.max_new_tokens,
        "temperature": request.temperature,
        "seed": request.seed & _LARGEST_SEED,
    }
    if request.temperature:
        asked["top_p"] = request.top_p
    stop = list(request.stop[:_MOST_STOPS] if openai else request.stop)
    return {**asked, "stop": stop} if stop else asked


def _answer(loaded: Body, *, chat: bool) -> TextReply:
    choice = loaded["choices"][0]
    text = choice["message"]["content"] if chat else choice["text"]
    if text is not None and not isinstance(text, str):
        raise TypeError("its text is no text")
    finish = _text(choice.get("finish_reason"))
    if finish == "content_filter":
        raise CallFailedError("the server's content filter held the answer back")
    return TextReply(
        # What no file takes (lone surrogates) is replaced.
        text=(text or "").encode("utf-8", "replace").decode("utf-8"),
        finish=finish,
        served=_text(loaded.get("model")),
        prompt_tokens=_count(loaded, "prompt_tokens"),
        completion_tokens=_count(loaded, "completion_tokens"),
    )


@dataclass(frozen=True, slots=True)
class _Scored:
    """A text's tokens with their log-probabilities; those of a first token are infinite (none)."""

    tokens: list[str]
    logprobs: list[float]
    greedy: list[bool]

    @classmethod
    def read(cls, loaded: Body, text: str, *, of_prompt: bool = True) -> _Scored:
        """The tokens of the prompt `text`, or those that were written after it.

        Raises ValueError (or what another form than the protocol's raises) when they aren't there.
        """
        told = loaded["choices"][0]["logprobs"]
        tokens = [str(token) for token in told["tokens"]]
        values = told["token_logprobs"]
        best = told.get("top_logprobs") or [None] * len(tokens)
        if not len(tokens) == len(values) == len(best):
            raise ValueError("it gives not one for each token")
        border = _count(loaded, "prompt_tokens")
        if border is None:
            raise ValueError("it does not count the prompt's tokens")
        where = slice(0, border) if of_prompt else slice(border, None)
        numbers = [math.inf if value is None else float(value) for value in values[where]]
        if len(numbers) < (border if of_prompt else 1) or any(n > 0 for n in numbers[1:]):
            raise ValueError("it gives not one for each token of the prompt")
        likeliest = [
            not isinstance(top, Mapping) or not top or value >= max(top.values())
            for top, value in zip(best[where], numbers, strict=True)
        ]
        return cls(tokens[where], numbers, likeliest)

    def start_of(self, length: int) -> int:
        """Where the last `length` characters begin. Raises ValueError inside a token."""
        first = len(self.tokens)
        while length > 0 and first > 0:
            first -= 1
            length -= len(self.tokens[first])
        if length:
            raise ValueError("the continuation begins inside a token")
        return first

    def after(self, length: int) -> tuple[list[str], list[float]]:
        """The tokens of the last `length` characters, and their log-probabilities."""
        first = self.start_of(length)
        return self.tokens[first:], self.logprobs[first:]


def _loaded(text: str) -> Body:
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("no JSON") from error
    if not isinstance(loaded, dict) or not isinstance(loaded.get("choices"), list):
        raise UnreadableError("no completion")
    return loaded


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else "they are not in its answer"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(loaded: Body, name: str) -> int | None:
    usage = loaded.get("usage")
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def identity(endpoint: Endpoint, texts: Sequence[str] = ()) -> str:
    """What decides this model's answers besides the request."""
    return json.dumps(["openai", VERSION, endpoint.url, endpoint.model, *texts])
