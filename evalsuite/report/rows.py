"""One sample of lm-eval as one small row: prompt, choices or answers, what was right.

Knows lm-eval's file format and nothing else. A text that several rows share (the prompt of two
models) is kept once, in `Texts`.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Choices compared by how much more likely their question makes them: than nothing, than "Answer:".
_WITH_HALVES = frozenset(("acc_mutual_info", "acc_answer_norm"))
TEXT_LIMIT = 50_000  # characters of one text on the page: the middle of longer ones is left out


@dataclass(frozen=True, slots=True)
class Choice:
    text: int
    logprob: float | None
    greedy: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One item as one model answered it. Texts are indices into the table of texts.

    `score` is the item's number under the task's main metric. `gold` and `picked` are indices into
    `choices`. `answers` are the model's own words; `extracted` what a filter took out of them.
    """

    model: int
    task: int
    doc: int | str
    score: float | None
    prompt: int
    target: int
    choices: tuple[Choice, ...]
    gold: tuple[int, ...]
    picked: int | None
    answers: tuple[int, ...]
    extracted: tuple[int, ...]
    metrics: Mapping[str, float]
    truncated: int


@dataclass
class Texts:
    """Texts by number, each kept once, long ones without their middle."""

    table: list[str] = field(default_factory=list)
    size: int = 0  # characters
    _numbers: dict[str, int] = field(default_factory=dict)

    def add(self, text: str) -> int:
        if len(text) > TEXT_LIMIT:
            half = TEXT_LIMIT // 2
            gone = len(text) - 2 * half
            cut = f"\n[… {gone:,} characters are left out here; the samples file has them …]\n"
            text = text[:half] + cut + text[-half:]
        number = self._numbers.setdefault(text, len(self.table))
        if number == len(self.table):
            self.table.append(text)
            self.size += len(text)
        return number


def make_row(
    lines: Sequence[Mapping[str, Any]],
    model: int,
    task: int,
    metric: str,
    wanted: str,
    texts: Texts,
) -> Row:
    """The row of one item out of its `lines`, one line a filter; `wanted` is the main filter."""
    main = next((line for line in lines if str(line.get("filter", "none")) == wanted), lines[0])
    requests = _requests(main)
    numbers = _metrics(lines)
    score = _number(main.get(metric))
    choices: tuple[Choice, ...] = ()
    answers: tuple[int, ...] = ()
    extracted: tuple[int, ...] = ()
    gold: tuple[int, ...] = ()
    picked: int | None = None
    prompt = requests[0][0] if requests else ""
    scored = [_scored(response) for response in main.get("resps") or ()]
    if scored and all(pair is not None for pair in scored):
        pairs = [pair for pair in scored if pair is not None]
        half = options(main)
        prompt, tails = _split(requests[:half])
        choices = tuple(
            Choice(texts.add(tail), _rounded(logprob), greedy)
            for tail, (logprob, greedy) in zip(tails, pairs, strict=False)
        )
        if len(choices) > 1:
            gold = tuple(g for g in gold_choices(main) if g < len(choices))
            picked = _picked([p[0] for p in pairs], [r[1] for r in requests[:half]], metric)
            gold, picked = _agreed(gold, picked, score, len(choices))
    else:
        words = [str(text) for text in _flat(main.get("resps"))]
        taken = [str(text) for text in _flat(main.get("filtered_resps"))]
        answers = tuple(texts.add(text) for text in words)
        extracted = () if taken == words else tuple(texts.add(text) for text in taken)
    target = str(main.get("target", ""))
    if gold:
        target = " | ".join(texts.table[choices[g].text].strip() for g in gold)
    doc = main.get("doc_id")
    return Row(
        model=model,
        task=task,
        doc=doc if isinstance(doc, int) else str(doc),
        score=score,
        prompt=texts.add(prompt),
        target=texts.add(target),
        choices=choices,
        gold=gold,
        picked=picked,
        answers=answers,
        extracted=extracted,
        metrics=numbers,
        truncated=int(_number(main.get("truncated")) or 0),
    )


def _requests(sample: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(context, continuation) of each request; the continuation is "" for a generation."""
    arguments = sample.get("arguments") or {}
    if not isinstance(arguments, Mapping):
        arguments = {
            f"gen_args_{i}": {f"arg_{j}": part for j, part in enumerate(request)}
            for i, request in enumerate(arguments)
        }
    pairs = []
    for request in arguments.values():
        second = request.get("arg_1")
        pairs.append((str(request.get("arg_0", "")), second if isinstance(second, str) else ""))
    return pairs


def options(sample: Mapping[str, Any]) -> int:
    """How many choices: some metrics have a second half that asks for each without its question."""
    n = len(sample.get("arguments") or ())
    twice = n % 2 == 0 and not _WITH_HALVES.isdisjoint(sample.get("metrics") or ())
    return n // 2 if twice else n


def is_choice(sample: Mapping[str, Any]) -> bool:
    """Whether the item was answered by comparing the likelihoods of choices."""
    responses = sample.get("resps") or ()
    return options(sample) > 1 and all(_scored(response) is not None for response in responses)


def _split(requests: Sequence[tuple[str, str]]) -> tuple[str, list[str]]:
    """What the requests share at their beginning, cut at a space, and what is each one's own."""
    contexts = [context for context, _ in requests]
    shared = contexts[0]
    if any(context != shared for context in contexts):
        shared = _common_prefix(contexts)
        shared = shared[: max(shared.rfind(" "), shared.rfind("\n")) + 1]
    return shared, [context[len(shared) :] + more for context, more in requests]


def _common_prefix(texts: Sequence[str]) -> str:
    low, high = min(texts), max(texts)
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[:same]


def _scored(response: Any) -> tuple[float, bool] | None:
    """(logprob, is_greedy) of [[logprob, is_greedy]], numbers or lm-eval's strings of them."""
    pair = response
    while isinstance(pair, list | tuple) and len(pair) == 1:
        pair = pair[0]
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        return None
    if str(pair[1]) not in ("True", "False", "true", "false", "0", "1"):
        return None
    try:
        return float(pair[0]), str(pair[1]) in ("True", "true", "1")
    except (TypeError, ValueError):
        return None


def gold_choices(sample: Mapping[str, Any]) -> tuple[int, ...]:
    """Indices of the right choices: lm-eval's target is an index, a list of them, or a text."""
    target = str(sample.get("target", "")).strip()
    n = options(sample)
    if target.isdecimal():
        return (int(target),) if int(target) < n else ()
    if target.startswith("["):
        try:
            parsed = ast.literal_eval(target)
        except (ValueError, SyntaxError):
            parsed = []
        return tuple(i for i in parsed if isinstance(i, int) and 0 <= i < n)
    same = tuple(i for i, (_, text) in enumerate(_requests(sample)[:n]) if text.strip() == target)
    # Choices that stand in the context (winogrande) share one continuation: it tells none apart.
    return same if len(same) == 1 else ()


def _picked(logprobs: Sequence[float], texts: Sequence[str], metric: str) -> int | None:
    n = len(texts)
    scores = list(logprobs[:n])
    if metric == "acc_norm":
        # By length, as lm-eval does; the space that joins question and choice is not the choice's.
        scores = [s / max(1, len(t.removeprefix(" "))) for s, t in zip(scores, texts, strict=True)]
    elif metric in _WITH_HALVES and len(logprobs) == 2 * n:
        scores = [a - b for a, b in zip(scores, logprobs[n:], strict=True)]
    return max(range(n), key=scores.__getitem__) if n else None


def _agreed(
    gold: tuple[int, ...], picked: int | None, score: float | None, n: int
) -> tuple[tuple[int, ...], int | None]:
    """Gold and pick in agreement with the item's score, which is the metric's own word."""
    if not gold and picked is not None and score == 1:
        gold = (picked,)
    elif not gold and picked is not None and score == 0 and n == 2:
        gold = (1 - picked,)
    elif len(gold) == 1 and score == 1:
        picked = gold[0]
    elif score == 0 and picked in gold:
        picked = None
    return gold, picked


def _metrics(lines: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in lines:
        its = str(line.get("filter", "none"))
        for name in line.get("metrics") or ():
            value = _number(line.get(name))
            if value is not None:
                found[name if its == "none" else f"{name},{its}"] = value
    return found


def _number(value: Any) -> float | None:
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return None


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _flat(part)
    elif value is not None:
        yield value
