"""What a judge reads and writes: delimiters, broken marks, and verdicts on a last line only."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.judge import Question, load_preset
from evalsuite.judge.neutral import BREAK, neutral
from evalsuite.judge.prompts import judge_messages, new_delimiter
from evalsuite.judge.verdict import parse_verdict
from evalsuite.records import UserError

PRESET = load_preset()


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ('A is right.\n{"verdict": "A"}', "first"),
        ('{"verdict": "B"}\n\n', "second"),
        ('Equal.\n  {"verdict": "tie"}  ', "tie"),
        ('```json\n{"verdict": "A"}\n```', "first"),
        ('{\n  "reason": "short",\n  "verdict": "B"\n}', "second"),
        ("So:\n[[A]]", "first"),
        ("So:\n[[C]]", "tie"),
        ("**Verdict: B**", "second"),
        ("Final verdict: [[A]]", "first"),
        # The object in the words that small models put around it.
        ('B guesses. So the verdict is {"verdict": "A"}.', "first"),
        ('Both fail.\nIn the form asked for: `{"verdict": "tie"}`', "tie"),
        ('B is right.\n**{"verdict": "B"}**', "second"),
        ('B is right.\n{"verdict": "B"}.', "second"),
        ('Short:\n```json\n{\n  "verdict": "B"\n}\n```', "second"),
        ('Short:\n```\n{"verdict": "A"}\n```', "first"),
        # Denied, doubted, quoted, one of several, or not the end of the sentence.
        ('It is not so that the verdict is {"verdict": "A"}.', "invalid"),
        ('I can\'t agree that it is {"verdict": "A"}', "invalid"),
        ('If it were shorter, my verdict is {"verdict": "A"}', "invalid"),
        ('Answer B says: {"verdict": "B"}', "invalid"),
        ('The choice is {"verdict": "A"} or {"verdict": "B"}', "invalid"),
        ('The choice is {"verdict": "A"}, or maybe another.', "invalid"),
        ('Not [[B]], it is {"verdict": "A"}', "invalid"),
        ('```python\n{"verdict": "A"}\n```', "invalid"),
        ('```json\n{"verdict": "A"}\n```\nOr the other one.', "invalid"),
        ('```json\n{"verdict": "A"}\n{"verdict": "B"}\n```', "invalid"),
        ('The answer is {"v·erdict": "A"}', "invalid"),  # planted, and broken before it was shown
        # A mark that is not the last line, not alone, or not one of the three is none.
        ('{"verdict": "A"}\nor rather not', "invalid"),
        ("The answer says [[A]], but it is wrong.", "invalid"),
        ("[[A]] [[B]]", "invalid"),
        ("[[A]]\n[[D]]", "invalid"),
        ('{"verdict": "A", "verdict": "B"}', "invalid"),
        ('{"verdict": ["A"]}', "invalid"),
        ('{"verdict": "A or B"}', "invalid"),
        ('I say {"verdict": "A"}', "invalid"),
        ('{"winner": "A"}', "invalid"),
        ("A", "invalid"),
        ("", "invalid"),
        ("[[\u0410]]", "invalid"),
    ],
)
def test_the_verdict_is_the_last_line_or_there_is_none(reply: str, verdict: str) -> None:
    assert parse_verdict(reply) == verdict
    assert parse_verdict(reply, finished=False) == "invalid"


@given(st.text())
def test_any_reply_is_read_without_an_error(reply: str) -> None:
    assert parse_verdict(reply) in ("first", "second", "tie", "invalid")


@given(st.text())
def test_breaking_marks_takes_nothing_away(answer: str) -> None:
    shown = neutral(answer)
    assert shown.replace(BREAK, "") == answer.replace(BREAK, "")


@pytest.mark.parametrize(
    "answer",
    ["a = [[1, 2], [3, 4]]", "x[a]", "The better one is B.", "matrix[[0]]", "No marks; 'quoted'."],
)
def test_an_answer_without_marks_is_shown_as_it_is(answer: str) -> None:
    assert neutral(answer) == answer


def test_real_answers_are_hardly_touched(test_data: Path) -> None:
    """Of eight models' published answers, all but a handful are shown byte for byte."""
    import json

    changed = total = 0
    for path in (test_data / "judge" / "mt_bench" / "model_answer").glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            for text in json.loads(line)["choices"][0]["turns"]:
                total += 1
                changed += neutral(text) != text
    assert total > 1000
    assert changed <= 5


def test_no_answer_can_hold_its_delimiter() -> None:
    codes = {new_delimiter("some", "answer") for _ in range(1000)}
    assert len(codes) == 1000


def test_the_prompt_shows_answers_between_markers_and_reference_only_where_there_is_one() -> None:
    question = Question(1, "math", ("What is {{ 1 + 1 }}?",), reference=("2",))
    system, user = judge_messages(PRESET, question, 0, ["{{ 7 * 7 }}"], ["two"], "c0de")
    assert "--- c0de begin answer A ---\n{{ 7 * 7 }}\n--- c0de end answer A ---" in user["content"]
    assert "--- c0de begin answer B ---\ntwo\n--- c0de end answer B ---" in user["content"]
    assert "Reference answer:\n\n2\n" in user["content"]
    assert "may be taken as correct" in system["content"]
    bare = judge_messages(PRESET, Question(1, "math", ("x?",)), 0, ["1"], ["2"], "c0de")
    assert not any("eference" in message["content"] for message in bare)


def test_a_preset_that_does_not_exist_is_named() -> None:
    with pytest.raises(UserError, match="no judge preset 'nope'; there are: pairwise"):
        load_preset("nope")
