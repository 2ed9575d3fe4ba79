"""Games to calls: which calls games need, what makes two of them the same, what they cost.

Knows prompts, keys and prices; must not know how a call is sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from evalsuite.judge.budget import CostEstimate
from evalsuite.judge.judges import JudgeSpec
from evalsuite.judge.letters import has_probabilities
from evalsuite.judge.matches import (
    count_matches,
    index_answers,
    make_matches,
    within_games,
)
from evalsuite.judge.prices import Price, TokenCounter, token_counter
from evalsuite.judge.prompts import Preset, judge_messages, new_delimiter
from evalsuite.judge.readers import INVALID, Reading
from evalsuite.judge.records import Answers, Match, Question
from evalsuite.records import UserError
from evalsuite.store.judgments import Judgment, Judgments, judgment_key

SAMPLE_DELIMITER = new_delimiter()  # as long as any other: prompts are measured with it


@dataclass(frozen=True, slots=True)
class Call:
    """What a judge is asked in one game; games whose answers are equal share one.

    `first` and `second` are the answers' texts up to the judged turn, `second` () where one answer
    is judged alone. `identity` stands for
    everything that decides the reply. It leaves out names and delimiters: who answered and which
    random code stood around it must not make another judgment of the same question.
    """

    question: Question
    turn: int
    first: tuple[str, ...]
    second: tuple[str, ...]
    identity: bytes

    def key(self, attempt: int) -> bytes:
        """The key of attempt number `attempt` (0 is the first)."""
        return _key(self.identity, attempt)

    def messages(self, preset: Preset, delimiter: str) -> list[dict[str, str]]:
        """The chat to send."""
        return judge_messages(preset, self.question, self.turn, self.first, self.second, delimiter)

    def delimiter(self) -> str:
        """A fresh random code that stands nowhere in the answers."""
        return new_delimiter(*self.first, *self.second)


@lru_cache(maxsize=1 << 16)  # looked up some twenty times a call
def _key(identity: bytes, attempt: int) -> bytes:
    return hashlib.blake2b(identity + attempt.to_bytes(4, "big"), digest_size=16).digest()


def plan_calls(
    questions: Sequence[Question],
    answers: Answers,
    spec: JudgeSpec,
    preset: Preset,
    repeats: int,
    identity: str = "",
    *,
    baseline: str | None = None,
) -> tuple[list[Match], list[Call]]:
    """All matches, and the call of each, in the same order. Equal calls have equal keys.

    `identity` stands for a local judge's weights; with a `baseline` all others meet it alone.

    Raises:
        UserError: a model lacks an answer, or the baseline is none of the models.
    """
    texts = index_answers(questions, answers)
    matches = make_matches(
        questions,
        list(answers),
        repeats,
        orders=preset.orders,
        alone=preset.alone,
        baseline=baseline,
    )
    same = {  # of all calls
        "endpoint": spec.endpoint,
        "model": spec.model,
        "identity": identity,
        "temperature": preset.temperature,
        "max_tokens": preset.max_tokens,
        "preset": preset.name,
        "templates": preset.template_hash,
    }
    return matches, [_call(match, texts, preset, same) for match in matches]


def _call(
    match: Match,
    texts: Mapping[tuple[str, str], tuple[str, ...]],
    preset: Preset,
    same: Mapping[str, Any],
) -> Call:
    question, upto = match.question, match.turn + 1
    first, second = (
        tuple(_whole(text) for text in texts[model, str(question.question_id)][:upto])
        if model is not None
        else ()
        for model in (match.first, match.second)
    )
    content: dict[str, Any] = {
        **same,
        "turns": question.turns[:upto],
        "reference": question.reference[match.turn : upto],
        "first": first,
        "second": second,
        "repeat": match.repeat,
    }
    # Only where a protocol has them, so that what was judged without keeps its key.
    if preset.top_logprobs:
        content["top_logprobs"] = preset.top_logprobs
    if preset.prompts.earlier_references and match.turn:
        content["earlier_references"] = question.reference[: match.turn]
    return Call(question, match.turn, first, second, judgment_key(content))


def _whole(text: str) -> str:
    """The text without lone surrogates, which no file and no server takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


# ---- what came of a call ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """A call's attempts so far, oldest first, and what the last one says.

    `settled`: it has a verdict, or has been asked as often as it may be.
    """

    attempts: tuple[Judgment, ...]
    keys: tuple[bytes, ...]
    reading: Reading
    settled: bool


def read_attempts(
    call: Call, found: Mapping[bytes, Judgment], most: int, preset: Preset
) -> Standing:
    """What the judgments in `found` say of a call that may be asked `most` times."""
    attempts: list[Judgment] = []
    keys: list[bytes] = []
    reading, final = INVALID, False
    while len(attempts) < most and reading.verdict == "invalid":
        key = call.key(len(attempts))
        judgment = found.get(key)
        if judgment is None:
            break
        attempts.append(judgment)
        keys.append(key)
        reading = reading_of(judgment, preset)
        if final := preset.top_logprobs > 0 and has_probabilities(judgment.raw_reply):
            break
    settled = final or reading.verdict != "invalid" or len(attempts) == most
    return Standing(tuple(attempts), tuple(keys), reading, settled)


def reading_of(judgment: Judgment, preset: Preset) -> Reading:
    """What a kept reply says, read anew: a better reader needs no new call."""
    if not judgment.readable:
        return INVALID
    return preset.read(judgment.raw_reply, judgment.finish != "length")


def all_keys(calls: Iterable[Call], most: int) -> list[bytes]:
    """Every key that `most` attempts at these calls could have."""
    return [call.key(attempt) for call in calls for attempt in range(most)]


# ---- what it will cost --------------------------------------------------------------------------


def worst_cost(spec: JudgeSpec, preset: Preset, messages: Sequence[Mapping[str, str]]) -> float:
    """The most dollars that sending `messages` once can cost; 0 when no price is known."""
    if spec.price is None:
        return 0.0
    return spec.price.cost(token_counter(spec.model).most(messages), preset.max_tokens)


def check_affordable(
    spec: JudgeSpec, preset: Preset, questions: Sequence[Question], budget: float | None
) -> None:
    """Refuses a budget that not even one call about empty answers fits into.

    Raises:
        UserError: it doesn't.
    """
    if budget is None or spec.price is None or spec.price == Price(0, 0):
        return
    blank = ("",)
    cheapest = min(
        worst_cost(
            spec, preset, judge_messages(preset, question, 0, blank, blank, SAMPLE_DELIMITER)
        )
        for question in questions
    )
    if budget < cheapest:
        raise UserError(
            f"--budget {budget:g} is less than one call of {spec.name} may cost "
            f"(${cheapest:.4f} at the prices of {spec.prices_of}), so that nothing could be "
            "judged: allow more, or use --judge none"
        )


def counter_for(spec: JudgeSpec, judgments: Judgments) -> TokenCounter:
    """The best there is to expect token counts by: tiktoken, the server's own, or a rule."""
    return token_counter(spec.model).calibrated(*judgments.counts(spec.endpoint, spec.model))


def estimate_calls(
    calls: Sequence[Call],
    judgments: Judgments,
    spec: JudgeSpec,
    preset: Preset,
    attempts: int,
    expected: dict[bytes, int] | None = None,
) -> CostEstimate:
    """The bill for these calls, less what the store has. Nothing is sent.

    `expected` gets the prompt tokens of each, by key, so that no prompt is made a second time.
    """
    distinct = list({call.key(0): call for call in calls}.values())
    found = judgments.get(all_keys(distinct, attempts))
    counter = counter_for(spec, judgments)
    once = prompt = left = prompt_most = 0
    for call in distinct:
        done = read_attempts(call, found, attempts, preset)
        if done.settled:
            continue
        messages = call.messages(preset, SAMPLE_DELIMITER)
        once += 1
        tokens = counter.expected(messages)
        if expected is not None:
            expected[call.key(0)] = tokens
        prompt += tokens
        left += attempts - len(done.attempts)
        prompt_most += (attempts - len(done.attempts)) * counter.most(messages)
    return _estimate(spec, preset, counter, once, left, len(distinct) - once, prompt, prompt_most)


def estimate_questions(
    questions: Sequence[Question],
    models: int,
    spec: JudgeSpec,
    preset: Preset,
    *,
    repeats: int = 1,
    baseline: bool = False,
    games: int | None = None,
    attempts: int = 3,
    answer_tokens: int = 250,
    answer_tokens_at_most: int = 1024,
) -> CostEstimate:
    """The bill before there are answers, when they have so many tokens each.

    The number of calls is exact unless answers come out equal (such games share a call) or the
    store has some. `games`: so many are chosen among all; the bound is that of the longest.
    """
    counter = token_counter(spec.model)

    def count(some: Sequence[Question]) -> int:
        return count_matches(
            some, models, repeats, orders=preset.orders, alone=preset.alone, baseline=baseline
        )

    expected: list[int] = []
    most: list[int] = []
    a_turn = 0  # games on one turn of a question
    for question in questions:
        a_turn = count([replace(question, turns=question.turns[:1])])
        for turn in range(len(question.turns)):
            blank = ("",) * (turn + 1)
            other = () if preset.alone else blank
            messages = judge_messages(preset, question, turn, blank, other, SAMPLE_DELIMITER)
            shown = preset.answers * (turn + 1)
            expected.append(counter.expected(messages) + shown * answer_tokens)
            most.append(counter.most(messages) + shown * answer_tokens_at_most * 4)
    possible = count(questions)
    together = repeats * (1 if preset.alone else preset.orders)  # of a pair on one turn
    calls = possible if games is None else within_games(possible, games, together)
    prompt = round(sum(expected) * a_turn * calls / max(possible, 1))
    longest = sorted(most, reverse=True)
    pairs = max(a_turn // together, 1)
    prompt_most = sum(longest[i // pairs] * together for i in range(calls // together))
    return _estimate(
        spec, preset, counter, calls, calls * attempts, 0, prompt, prompt_most * attempts
    )


def _estimate(
    spec: JudgeSpec,
    preset: Preset,
    counter: TokenCounter,
    calls: int,
    at_most: int,
    stored: int,
    prompt: int,
    prompt_most: int,
) -> CostEstimate:
    reply, reply_most = calls * preset.expected_tokens, at_most * preset.max_tokens
    price = spec.price
    return CostEstimate(
        calls=calls,
        calls_at_most=at_most,
        from_store=stored,
        prompt_tokens=prompt,
        prompt_tokens_at_most=prompt_most,
        completion_tokens=reply,
        completion_tokens_at_most=reply_most,
        dollars=None if price is None else price.cost(prompt, reply),
        dollars_at_most=None if price is None else price.cost(prompt_most, reply_most),
        basis=counter.basis,
        prices_of=spec.prices_of,
    )
