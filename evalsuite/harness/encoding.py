"""Texts to tokens, each distinct line once: prompts repeat their examples thousands of times.

Gives exactly what the tokenizer gives for the whole text. It knows tokenizers; it must not know
tasks, requests or engines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Literal

from lm_eval.models.utils import has_bos_prefix

Cut = Literal["before", "after"]  # a line break; None: the text can't be cut

_AFTER = re.compile(r"(?<=\n)(?=\S)")


class _SameObject(dict[int, int]):
    """One int object a token id: a plan holds millions of ids, and each new int takes 32 bytes."""

    def __missing__(self, token: int) -> int:
        self[token] = token
        return token


class TextEncoder:
    """A tokenizer that remembers lines.

    A text is cut at line breaks where the tokenizer can't make a token across the cut (`cut_of`
    says where that is), and the tokens of its pieces are joined. `bos_text` is the text that gets
    no second BOS when it opens a text, by lm-eval's rule.
    """

    def __init__(self, tokenizer: Any, bos_text: str) -> None:
        self.tokenizer, self.bos_text = tokenizer, bos_text
        self.cut: Cut | None = cut_of(tokenizer)
        self._kept: dict[tuple[str, str], tuple[int, ...]] = {}
        self._ids = _SameObject()
        self._lead = self._lead_of_a_line()
        special = sorted(getattr(tokenizer, "added_tokens_encoder", {}), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, special)) or r"(?!)")
        self._special_firsts = {token[0] for token in special if token}
        self._seam: tuple[str, int] = ("", 0)  # a context and where its last piece begins

    def _lead_of_a_line(self) -> int:
        """Tokens that the tokenizer puts before a text's own: SentencePiece's space in front."""
        if self.cut != "before":
            return 0
        one, two = (self.tokenizer.encode(t, add_special_tokens=False) for t in ("\n", "\n\n"))
        return 2 * len(one) - len(two)

    def pieces(self, text: str) -> list[tuple[str, str]]:
        """The pieces of a text, each with how it is encoded: "whole", "plain" (no BOS), "line"."""
        opening = "plain" if has_bos_prefix(text, self.bos_text) else "whole"
        if self.cut is None or self._has_special(text):
            return [(opening, text)]
        first, *rest = self._lines(text)
        return [(opening, first), *[("line", piece) for piece in rest]]

    def _lines(self, text: str) -> list[str]:
        if self.cut == "after":
            return _AFTER.split(text)
        first, *rest = text.split("\n")
        if not first and rest:  # a text's first character stays with what follows
            first = "\n" + rest.pop(0)
        return [first, *["\n" + line for line in rest]]

    def _last_line(self, text: str) -> int:
        """Where the last piece of a text that can be cut begins."""
        end = text.rfind("\n")
        if self.cut == "before":
            return max(end, 0)
        while end >= 0 and (end + 1 == len(text) or text[end + 1].isspace()):
            end = text.rfind("\n", 0, end)
        return end + 1

    def _has_special(self, text: str) -> bool:
        firsts = any(first in text for first in self._special_firsts)
        return firsts and self._special.search(text) is not None

    def learn(self, texts: Iterable[str]) -> None:
        """Encode the pieces of texts that are new, in few calls, which run on all cores."""
        self._encode(p for text in texts for p in self.pieces(text) if p not in self._kept)

    def _encode(self, pieces: Iterable[tuple[str, str]]) -> None:
        new = dict.fromkeys(pieces)
        for how in ("whole", "plain", "line"):
            group = [piece for its, piece in new if its == how]
            if not group:
                continue
            options = {} if how == "whole" else {"add_special_tokens": False}
            batch = self.tokenizer(group, return_attention_mask=False, verbose=False, **options)
            lead, same = (self._lead if how == "line" else 0), self._ids.__getitem__
            for piece, tokens in zip(group, batch["input_ids"], strict=True):
                self._kept[how, piece] = tuple(map(same, tokens[lead:]))

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a text with the tokenizer's own special tokens."""
        return self._join(self.pieces(text))

    def continuation(self, context: str, continuation: str) -> tuple[int, ...]:
        """The tokens of both together past as many as `context` alone has: lm-eval's rule."""
        if self._seam[0] is not context:
            cut = self.cut is not None and not self._has_special(context)
            self._seam = context, self._last_line(context) if cut else 0
        start = self._seam[1]
        tail = context[start:] + continuation
        if start == 0 or self._has_special(tail):
            return self.encode(context + continuation)[len(self.encode(context)) :]
        together = [("line", piece) for piece in self._tail_lines(tail)]
        return self._join(together)[len(self._join([("line", context[start:])])) :]

    def _tail_lines(self, tail: str) -> list[str]:
        if self.cut == "after":
            return _AFTER.split(tail)
        _, *rest = tail.split("\n")  # a line's piece begins with its break
        return ["\n" + line for line in rest]

    def _join(self, pieces: Sequence[tuple[str, str]]) -> tuple[int, ...]:
        self._encode(piece for piece in pieces if piece not in self._kept)
        if len(pieces) == 1:
            return self._kept[pieces[0]]
        return tuple(chain.from_iterable(map(self._kept.__getitem__, pieces)))

    def forget(self) -> None:
        """Drop what was remembered; the memory of a long text that won't come again."""
        self._kept.clear()


def cut_of(tokenizer: Any) -> Cut | None:
    """Where a text may be cut so that its pieces' tokens, joined, are the text's tokens.

    - "before" each line break but a text's first character: SentencePiece's BPE without words
      (LLaMA 1 and 2), where no token but the line break's own holds one.
    - "after" line breaks that no white space follows: byte-level BPE over GPT-2's or Llama 3's
      words, of which none goes on after a line break.
    - None for all others, for tokenizers in Python, and where tokens may swallow white space.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    layout = json.loads(backend.to_str())
    model, words = layout["model"], layout.get("pre_tokenizer")
    if model.get("type") != "BPE" or model.get("dropout"):
        return None
    added = layout.get("added_tokens") or ()
    if any(t["lstrip"] or t["rstrip"] or "\n" in t["content"] for t in added):
        return None
    special = tokenizer.encode("a"), tokenizer.encode("a", add_special_tokens=False)
    if special[0][len(special[0]) - len(special[1]) :] != special[1]:
        return None  # something is put after a text as well
    if words is None:
        plain = _steps(layout.get("normalizer"), "normalizers") <= {"Prepend", "Replace"}
        holds = [token for token in model["vocab"] if "\n" in token and token != "\n"]
        own = "\n" in model["vocab"] or "<0x0A>" in model["vocab"]
        return "before" if plain and own and not holds else None
    if layout.get("normalizer") is None and _breaks_at_lines(words):
        return "after"
    return None


def _steps(part: Any, key: str) -> set[str]:
    if part is None:
        return set()
    return {step["type"] for step in part.get(key, [part])}


_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _breaks_at_lines(words: Any) -> bool:
    """Whether a pre-tokenizer is GPT-2's or Llama 3's rule and adds nothing in front."""
    steps = words.get("pretokenizers", [words])
    for step in steps:
        if step["type"] == "ByteLevel":
            if step.get("add_prefix_space"):
                return False
        elif step["type"] != "Split" or step["pattern"].get("Regex") != _LLAMA_3:
            return False
    return any(step["type"] == "ByteLevel" for step in steps)
