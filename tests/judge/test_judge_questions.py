"""Questions: FastChat's file as it is, bad lines by number, and what must be true of our own."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from reference_proofs import output_of

from evalsuite.judge import answer_prompts, demo_questions, is_plain, own_questions, read_questions
from evalsuite.judge.records import Check, Question
from evalsuite.judge.references import is_right
from evalsuite.records import UserError

CATEGORIES = {
    "writing", "roleplay", "reasoning", "math", "coding", "extraction", "knowledge", "common-sense"
}  # fmt: skip
OWN = {q.question_id: q for q in read_questions(own_questions())}


# ---- what must be true of the sets ---------------------------------------------------------------


def test_our_questions_cover_eight_categories_with_second_turns_and_checks() -> None:
    questions = list(OWN.values())
    assert Counter(q.category for q in questions) == dict.fromkeys(CATEGORIES, 11)
    assert 3 * sum(len(q.turns) == 2 for q in questions) >= 2 * len(questions)
    assert sum(check is not None for q in questions for check in q.checks) >= 80
    for category in ("reasoning", "math", "coding"):
        assert all(len(q.reference) == len(q.turns) for q in questions if q.category == category)


@pytest.mark.parametrize("path", [own_questions(), demo_questions()], ids=["own", "demo"])
def test_every_reference_passes_its_own_check_and_an_empty_answer_passes_none(path: Path) -> None:
    for question in read_questions(path):
        for turn, check in enumerate(question.checks):
            if check is not None:
                assert is_right(check, question.reference[turn]), question
                assert not is_right(check, ""), question
                assert not is_right(check, "I do not know."), question


# ---- references of the demo's questions ----------------------------------------------------------


def test_answers_for_the_demo_models_are_right_and_in_their_form() -> None:
    questions = read_questions(demo_questions())
    assert len(questions) >= 24
    seen = 0
    for question in questions:
        assert is_plain(question)
        [turn], check = question.turns, question.check(0)
        assert check is not None
        asked = turn.removeprefix("Question: ").removesuffix("\nAnswer:")
        if question.category == "math":
            expression = asked.removeprefix("What is ").removesuffix("?")
            assert re.fullmatch(r"\d+ [-+*] \d+", expression)
            assert check.answers == (str(eval(expression)),)
        elif question.category == "coding":
            assert check.answers == (output_of(turn),)
        elif question.category == "reasoning":
            assert int(check.answers[0]) in story_results(asked)
        else:
            continue
        seen += 1
    assert seen == 16


def story_results(story: str) -> set[int]:
    a, b, *rest = (int(n) for n in re.findall(r"\d+", story))
    if rest:
        return {a + b - rest[0]}
    if "hold" in story:
        return {a * b}
    return {a - b} if re.search(r"lost|how many more", story, re.IGNORECASE) else {a + b}


def test_facts_asked_of_the_demo_models_are_true_in_their_world() -> None:
    world = pytest.importorskip("demo.world")
    facts = {
        wording.format(x=fact.entity): fact.value
        for fact in world.FACTS
        for wording in (*fact.relation.asked, *fact.relation.tested)
    }
    for question in read_questions(demo_questions()):
        if question.category == "knowledge":
            asked = question.turns[0].removeprefix("Question: ").removesuffix("\nAnswer:")
            assert facts[asked] == question.reference[0]


# ---- reading -------------------------------------------------------------------------------------


def test_fastchats_files_are_read_as_they_are(test_data: Path) -> None:
    folder = test_data / "judge" / "mt_bench"
    questions = read_questions(
        folder / "question.jsonl", folder / "reference_answer" / "gpt-4.jsonl"
    )
    assert [q.question_id for q in questions] == list(range(81, 161))
    assert all(len(q.turns) == 2 for q in questions)
    referenced = {q.category for q in questions if q.reference}
    assert referenced >= {"math", "reasoning", "coding"}
    assert not any(q.checks for q in questions)
    older = read_questions(test_data / "judge" / "vicuna-blog" / "question.jsonl")
    assert len(older) == 80
    assert all(len(q.turns) == 1 for q in older)


GOOD = '{"question_id": 1, "category": "math", "turns": ["What is 1 + 1?"]}'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{not json", "not JSON"),
        ("[1]", "a JSON object is wanted"),
        ('{"turns": ["x"]}', "question_id"),
        ('{"question_id": true, "turns": ["x"]}', "question_id"),
        ('{"question_id": 2, "turns": []}', "turns"),
        ('{"question_id": 2, "turns": "x"}', "turns"),
        ('{"question_id": 2, "turns": ["x", ""]}', "turns"),
        ('{"question_id": 2, "category": 7, "turns": ["x"]}', "category"),
        ('{"question_id": 2, "turns": ["x"], "reference": ["a", "b"]}', "reference"),
        ('{"question_id": 2, "turns": ["x"], "check": {"kind": "magic"}}', "kind is one of"),
        ('{"question_id": 2, "turns": ["x"], "check": {"kind": "exact"}}', "answer is a text"),
        ('{"question_id": 2, "turns": ["x"], "check": {"kind": "number", "answer": "two"}}',
         "'two' is not a number"),
        ('{"question_id": 2, "turns": ["x"], "check": [null, null]}', "more checks than turns"),
        (GOOD, "question_id 1 is there twice"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text(f"{GOOD}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"questions.jsonl, line 3: .*{re.escape(said)}") as caught:
        read_questions(path)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the questions"):
        read_questions(tmp_path / "missing.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match="no question in it"):
        read_questions(tmp_path / "empty.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        read_questions(tmp_path / "binary.jsonl")
    (tmp_path / "separator.jsonl").write_text(
        json.dumps({"question_id": 1, "turns": ["a\u2028b"]}, ensure_ascii=False)
    )
    assert read_questions(tmp_path / "separator.jsonl")[0].turns == ("a\u2028b",)


def test_the_chat_that_asks_a_turn_holds_the_models_own_answers() -> None:
    question = Question(1, "math", ("one?", "two?"))
    assert answer_prompts(question, 0) == [{"role": "user", "content": "one?"}]
    assert answer_prompts(question, 1, ["1"]) == [
        {"role": "user", "content": "one?"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two?"},
    ]
    with pytest.raises(ValueError, match="cannot be asked"):
        answer_prompts(question, 1)


# ---- checks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "wanted", "right", "wrong"),
    [
        ("number", "1200", ["1200", "1,200", "$1,200.00.", "x = 3 so 400 * x = 1200", "1\u00a0200"],
         ["12", "1201", "1200 or 1300", "", "120 0"]),
        ("number", "-5", ["-5", "−5", "The answer is -5."], ["5", "3-5"]),
        ("number", "1/2", ["1/2", "0.5", "It is 1/2.", "\\boxed{1/2}"], ["1/3", "2"]),
        ("number", "4", ["4", "First 7, then 9.\nAnswer: 4", "The answer is 4: 3 + 1 = 4"], ["41"]),
        ("choice", "B", ["B", "b) two", "**B**", "It is clear.\n(B)", "The answer is B."],
         ["A", "Beta", "not B"]),
        ("exact", "LEAF", ["LEAF", "`LEAF`", "So:\n'LEAF'.", "  LEAF "], ["leaf", "LEAFS"]),
        ("exact", "[1, 2]", ["[1, 2]", "It prints\n[1,  2]"], ["[2, 1]", "1, 2"]),
        ("contains", "church bell", ["a Church Bell.", "the church-bell!"], ["bell", "churches"]),
    ],
)  # fmt: skip
def test_checks(kind: Any, wanted: str, right: list[str], wrong: list[str]) -> None:
    check = Check(kind, (wanted,))
    assert [text for text in right if not is_right(check, text)] == []
    assert [text for text in wrong if is_right(check, text)] == []
