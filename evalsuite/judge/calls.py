"""Games to calls: which calls games need, what makes two of them the same, what they cost.

Knows prompts, keys and prices; must not know how a call is sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evalsuite.judge.budget import CostEstimate
from evalsuite.judge.judges import JudgeSpec
from evalsuite.judge.matches import (
    count_matches,
    count_pairs,
    index_answers,
    make_matches,
    within_games,
)
from evalsuite.judge.prices import TokenCounter, token_counter
from evalsuite.judge.prompts import Preset, judge_messages, new_delimiter
from evalsuite.judge.records import Answers, Match, Question
from evalsuite.judge.verdict import parse_verdict
from evalsuite.records import Verdict
from evalsuite.store.judgments import Judgment, Judgments, judgment_key

SAMPLE_DELIMITER = new_delimiter()  # as long as any other: prompts are measured with it


@dataclass(frozen=True, slots=True)
class Call:
    """What a judge is asked in one game; games whose answers are equal share one.

    `first` and `second` are the answers' texts up to the judged turn. `identity` stands for
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
        number = attempt.to_bytes(4, "big")
        return hashlib.blake2b(self.identity + number, digest_size=16).digest()

    def messages(self, preset: Preset, delimiter: str) -> list[dict[str, str]]:
        """The chat to send."""
        return judge_messages(preset, self.question, self.turn, self.first, self.second, delimiter)

    def delimiter(self) -> str:
        """A fresh random code that stands nowhere in the answers."""
        return new_delimiter(*self.first, *self.second)


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
    matches = make_matches(questions, list(answers), repeats, baseline=baseline)
    return matches, [_call(match, texts, spec, preset, identity) for match in matches]


def _call(
    match: Match,
    texts: Mapping[tuple[str, str], tuple[str, ...]],
    spec: JudgeSpec,
    preset: Preset,
    identity: str,
) -> Call:
    question, upto = match.question, match.turn + 1
    first, second = (
        tuple(_whole(text) for text in texts[model, str(question.question_id)][:upto])
        for model in (match.first, match.second)
    )
    content = {
        "endpoint": spec.endpoint,
        "model": spec.model,
        "identity": identity,
        "temperature": preset.temperature,
        "max_tokens": preset.max_tokens,
        "preset": preset.name,
        "templates": preset.template_hash,
        "turns": question.turns[:upto],
        "reference": question.reference[match.turn : upto],
        "first": first,
        "second": second,
        "repeat": match.repeat,
    }
    return Call(question, match.turn, first, second, judgment_key(content))


def _whole(text: str) -> str:
    """The text without lone surrogates, which no file and no server takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


# ---- what came of a call ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """A call's attempts so far, oldest first, and the verdict of the last one.

    `settled`: it has a verdict, or has been asked as often as it may be.
    """

    attempts: tuple[Judgment, ...]
    keys: tuple[bytes, ...]
    verdict: Verdict
    settled: bool


def read_attempts(call: Call, found: Mapping[bytes, Judgment], most: int) -> Standing:
    """What the judgments in `found` say of a call that may be asked `most` times."""
    attempts: list[Judgment] = []
    keys: list[bytes] = []
    verdict: Verdict = "invalid"
    while len(attempts) < most and verdict == "invalid":
        key = call.key(len(attempts))
        judgment = found.get(key)
        if judgment is None:
            break
        attempts.append(judgment)
        keys.append(key)
        verdict = verdict_of(judgment)
    settled = verdict != "invalid" or len(attempts) == most
    return Standing(tuple(attempts), tuple(keys), verdict, settled)


def verdict_of(judgment: Judgment) -> Verdict:
    """The verdict in a kept reply, read anew: a better reader needs no new call."""
    if not judgment.readable:
        return "invalid"
    return parse_verdict(judgment.raw_reply, finished=judgment.finish != "length")


def all_keys(calls: Iterable[Call], most: int) -> list[bytes]:
    """Every key that `most` attempts at these calls could have."""
    return [call.key(attempt) for call in calls for attempt in range(most)]


# ---- what it will cost --------------------------------------------------------------------------


def worst_cost(spec: JudgeSpec, preset: Preset, messages: Sequence[Mapping[str, str]]) -> float:
    """The most dollars that sending `messages` once can cost; 0 when no price is known."""
    if spec.price is None:
        return 0.0
    return spec.price.cost(token_counter(spec.model).most(messages), preset.max_tokens)


def estimate_calls(
    calls: Sequence[Call],
    judgments: Judgments,
    spec: JudgeSpec,
    preset: Preset,
    attempts: int,
) -> CostEstimate:
    """The bill for these calls, less what the store has. Nothing is sent."""
    distinct = list({call.key(0): call for call in calls}.values())
    found = judgments.get(all_keys(distinct, attempts))
    counter = token_counter(spec.model)
    once = prompt = left = prompt_most = 0
    for call in distinct:
        done = read_attempts(call, found, attempts)
        if done.settled:
            continue
        messages = call.messages(preset, SAMPLE_DELIMITER)
        once += 1
        prompt += counter.expected(messages)
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
    pairs = count_pairs(models, baseline=baseline)
    expected: list[int] = []
    most: list[int] = []
    for question in questions:
        for turn in range(len(question.turns)):
            blank = ("",) * (turn + 1)
            messages = judge_messages(preset, question, turn, blank, blank, SAMPLE_DELIMITER)
            shown = 2 * (turn + 1)
            expected.append(counter.expected(messages) + shown * answer_tokens)
            most.append(counter.most(messages) + shown * answer_tokens_at_most * 4)
    possible = count_matches(questions, models, repeats, baseline=baseline)
    together = possible // max(pairs * len(most), 1)  # of a pair on one turn
    calls = possible if games is None else within_games(possible, games, together)
    prompt = round(sum(expected) * pairs * together * calls / max(possible, 1))
    longest = sorted(most, reverse=True)
    prompt_most = sum(longest[i // pairs] * together for i in range(calls // max(together, 1)))
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
