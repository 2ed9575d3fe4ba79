"""Models that say the same whatever they are asked are found; short right answers are not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from evalsuite.leaderboard.constant import CONSTANT_SHARE, GivenAnswer, Sameness, sameness

TOPICS = (
    *("the tide", "a tax return", "sour dough", "a lighthouse", "prime numbers", "a job interview"),
    *("wild bees", "the French revolution", "recursion", "a broken bicycle", "opera", "glaciers"),
)
QUESTIONS = [f"{ask} {topic}?" for ask in ("What is", "Who needs", "Why") for topic in TOPICS]
ESSAY = (
    "That is an excellent question, and I am glad that you asked it. There are many sides to it, "
    "and each of them deserves attention. In the end it depends on what you value most."
)


def given(answer: Callable[[str], str]) -> Sameness:
    return sameness(GivenAnswer(question, answer(question)) for question in QUESTIONS)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: ESSAY,
        lambda _: "",
        lambda _: "Yes.",
        lambda question: f"You ask: {question} {ESSAY}",
        lambda question: ESSAY.upper() if len(question) % 2 else ESSAY.replace(",", " –"),
        lambda question: ESSAY.replace("many", f"{len(question)}"),
    ],
    ids=["same", "empty", "one word", "echoes the question", "other letters", "one word differs"],
)
def test_a_constant_answerer_is_flagged(answer: Callable[[str], str]) -> None:
    found = given(answer)
    assert found.share == 1.0
    assert found.questions == len(QUESTIONS)
    assert found.flagged
    assert found.text == " ".join(answer(QUESTIONS[0]).split())[:80]


def test_one_that_refuses_half_of_the_time_is_flagged_and_a_tenth_is_not() -> None:
    for part, flagged in ((2, True), (10, False)):
        found = given(
            lambda q, part=part: (
                "I am sorry, but I can't help with that request."
                if QUESTIONS.index(q) % part == 0
                else f"About {q} one may say {random.Random(q).random()} and no more."
            )
        )
        assert found.share == pytest.approx(1 / part, abs=0.03)
        assert found.flagged is flagged


def yes_or_no(answer: Callable[[int], str], n: int = 60) -> Sameness:
    """Questions whose right answers are yes and no by turns."""
    return sameness(
        GivenAnswer(
            f"Is claim number {k} true?", answer(k), right=answer(k) == ("yes", "no")[k % 2]
        )
        for k in range(n)
    )


def test_equal_answers_that_are_right_are_not_held_against_a_model() -> None:
    assert yes_or_no(lambda k: ("yes", "no")[k % 2]).share == 0.0
    # One that is wrong now and then, and one that flips a coin, are bad but not constant.
    assert not yes_or_no(lambda k: ("yes", "no")[(k + (k % 5 == 0)) % 2]).flagged
    coin = [random.Random(k).choice(["yes", "no"]) for k in range(60)]
    assert not yes_or_no(lambda k: coin[k]).flagged
    always = yes_or_no(lambda _: "yes")
    assert always.share == 0.5 > CONSTANT_SHARE
    assert always.flagged


def test_few_questions_or_one_question_many_times_say_nothing() -> None:
    assert not sameness(GivenAnswer(f"question {k}", "so") for k in range(4)).flagged
    assert sameness(GivenAnswer(f"question {k}", "so") for k in range(5)).flagged
    again = sameness(GivenAnswer("The same question?", "so") for _ in range(50))
    assert (again.questions, again.share) == (1, 0.0)
    assert sameness([]) == Sameness(0.0, 0, "")


def test_published_answers_of_real_models_are_not_flagged(test_data: Path) -> None:
    folder = test_data / "judge" / "mt_bench"
    questions = {
        row["question_id"]: row["turns"]
        for row in map(json.loads, (folder / "question.jsonl").read_text("utf-8").splitlines())
    }
    files = sorted((folder / "model_answer").glob("*.jsonl"))
    assert len(files) == 8
    for path in files:
        rows = map(json.loads, path.read_text("utf-8").splitlines())
        found = sameness(
            GivenAnswer("\n".join(questions[row["question_id"]][: turn + 1]), text)
            for row in rows
            for turn, text in enumerate(row["choices"][0]["turns"])
        )
        assert found.questions == 160
        assert found.share < 0.05
