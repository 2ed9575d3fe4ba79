"""What a judge costs: the dated price table, and how many tokens a text has at most.

Knows prices and texts; must not know games or HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from evalsuite.judge.files import judge_folder, read_mapping
from evalsuite.judge.records import Message
from evalsuite.records import UserError

# Of judge prompts on our own questions, in gpt-4's vocabulary (3.6 for code, 4.3 for prose).
_CHARACTERS_A_TOKEN = 4.0
_CALLS_TO_GO_BY = 20
# Role names and separators that a chat adds: OpenAI's own recipe says 3 a message and 3 a chat.
_EXPECTED_A_MESSAGE, _MOST_A_MESSAGE = 4, 16


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars a million tokens."""

    input: float
    output: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Dollars for so many tokens."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by exact model id as of a day; `pinned` says which exact model a moving name means."""

    as_of: str
    pinned: dict[str, str]
    models: dict[str, Price]


def load_prices(path: Path | None = None) -> PriceTable:
    """The price table in `path`, or the one that comes with the project.

    Raises:
        UserError: the file can't be read or is no price table.
    """
    path = path or judge_folder() / "prices.yaml"
    content = read_mapping(path, "the price table")
    try:
        models = {
            str(name): Price(float(price["input"]), float(price["output"]))
            for name, price in content["models"].items()
        }
        pinned = {str(name): str(exact) for name, exact in (content.get("pinned") or {}).items()}
        as_of = str(content["as_of"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} is no price table: it needs `as_of`, and under `models` an input and an "
            "output price in dollars a million tokens for each model"
        ) from error
    if any(price.input < 0 or price.output < 0 for price in models.values()):
        raise UserError(f"{path}: a price below 0")
    return PriceTable(as_of, pinned, models)


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """How many tokens a chat has: expected, and at most. `basis` says how it was counted."""

    basis: str
    _count: Callable[[str], int] | None
    _characters_a_token: float = _CHARACTERS_A_TOKEN

    def calibrated(self, calls: int, characters: int, tokens: int) -> TokenCounter:
        """This counter, or one that goes by what the server itself counted in earlier prompts.

        The model's own tokenizer is better, and a few prompts say too little.
        """
        if self._count is not None or calls < _CALLS_TO_GO_BY or not tokens:
            return self
        ratio = characters / tokens
        basis = f"{ratio:.2f} characters a token, as the server counted {calls:,} earlier prompts"
        return TokenCounter(f"{basis}; at most one a byte", None, ratio)

    def expected(self, messages: Sequence[Message]) -> int:
        """About how many tokens the server will count."""
        ratio = self._characters_a_token
        count = self._count or (lambda text: round(len(text) / ratio))
        return sum(count(m["content"]) + _EXPECTED_A_MESSAGE for m in messages) + 3

    def most(self, messages: Sequence[Message]) -> int:
        """A number of tokens that the server's count does not pass.

        Every token of a byte-level vocabulary stands for one byte at least, so without the
        model's own tokenizer the number of bytes bounds it.
        """
        count = self._count or (lambda text: len(text.encode("utf-8")))
        return sum(count(m["content"]) + _MOST_A_MESSAGE for m in messages) + _MOST_A_MESSAGE


@lru_cache(maxsize=16)
def token_counter(model: str) -> TokenCounter:
    """tiktoken's count for `model` where its vocabulary is on this machine, else a bound by bytes.

    Never reaches for the network: tiktoken would download a vocabulary it lacks, so it is asked
    only for one that lies in its cache.
    """
    encoding = _cached_encoding(model)
    if encoding is None:
        return TokenCounter(f"{_CHARACTERS_A_TOKEN} characters a token, at most one a byte", None)

    def count(text: str) -> int:
        return len(encoding.encode(text, disallowed_special=()))

    return TokenCounter(f"tiktoken {encoding.name}", count)


def _cached_encoding(model: str) -> Any:
    """tiktoken's encoding, if that package and its file for this model are here, else None."""
    import importlib

    try:
        tiktoken = importlib.import_module("tiktoken")
        load: Any = importlib.import_module("tiktoken.load")
        name = importlib.import_module("tiktoken.model").encoding_name_for_model(model)
    except (ImportError, KeyError):
        return None
    if not (_tiktoken_folder() / _file_name(name)).is_file():
        return None
    # A file that is not what it should be would be downloaded anew.
    fetch = load.read_file
    load.read_file = _refuse
    try:
        return tiktoken.get_encoding(name)
    except _NoNetworkError:
        return None
    finally:
        load.read_file = fetch


class _NoNetworkError(Exception):
    """tiktoken wanted to download."""


def _refuse(path: str) -> bytes:
    raise _NoNetworkError(path)


def _tiktoken_folder() -> Path:
    """Where tiktoken keeps its vocabularies: by its variables, else in the temporary folder."""
    import os
    import tempfile

    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if variable in os.environ:
            return Path(os.environ[variable] or os.devnull)  # "": nothing is kept
    return Path(tempfile.gettempdir()) / "data-gym-cache"


def _file_name(encoding: str) -> str:
    import hashlib

    url = f"https://openaipublic.blob.core.windows.net/encodings/{encoding}.tiktoken"
    return hashlib.sha1(url.encode()).hexdigest()
