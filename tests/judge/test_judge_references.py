"""Every reference to a reasoning, math or coding question is computed anew, and others where a
text decides; the code in references runs, and code that is wrong in one place is caught."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import coding_oracles
import pytest
from coding_oracles import ORACLES
from reference_proofs import PROOFS
from reference_readings import READINGS, measured, measures

from evalsuite.judge import own_questions, read_questions
from evalsuite.judge.records import Check
from evalsuite.judge.references import is_right, problem_with

OWN = {int(q.question_id): q for q in read_questions(own_questions())}
COMPUTED = {**PROOFS, **READINGS}
PROVEN_CATEGORIES = ("reasoning", "math", "coding")


def code_of(reference: str) -> str:
    """The program in a reference answer, which stands between fences."""
    [code] = re.findall(r"^```(?:python|sql)\n(.*?)\n```$", reference, re.MULTILINE | re.DOTALL)
    return str(code)


def run_oracle(question_id: int, turn: int, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", coding_oracles.__file__, str(question_id), str(turn)],
        input=json.dumps({"code": code, "turns": OWN[question_id].turns}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_turn_in_reasoning_math_and_coding_has_a_reference_and_a_proof() -> None:
    turns = {
        (number, turn)
        for number, question in OWN.items()
        if question.category in PROVEN_CATEGORIES
        for turn in range(len(question.turns))
    }
    assert turns == set(PROOFS) | set(ORACLES)
    assert len(turns) >= 55
    assert all(OWN[number].reference[turn].strip() for number, turn in turns)


@pytest.mark.parametrize(("question_id", "turn"), COMPUTED)
def test_a_reference_says_what_a_computation_gives(question_id: int, turn: int) -> None:
    question = OWN[question_id]
    check = question.check(turn)
    assert check is not None
    result = str(COMPUTED[question_id, turn](question))
    computed = Check(check.kind, (result,))
    assert problem_with(computed) is None
    assert is_right(computed, question.reference[turn])
    assert is_right(check, f"Answer: {result}")
    # Other answers of a check are the same one in other words, or the same number.
    assert check.kind != "number" or check.answers == (check.answers[0],)


@pytest.mark.parametrize(("question_id", "turn"), ORACLES)
def test_the_code_in_a_reference_does_what_is_asked(question_id: int, turn: int) -> None:
    done = run_oracle(question_id, turn, code_of(OWN[question_id].reference[turn]))
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr


@pytest.mark.parametrize(
    ("question_id", "turn", "right", "wrong"),
    [
        (25, 1, "basket is None", "not basket"),
        (26, 0, "len(run) > len(best)", "len(run) >= len(best)"),
        (28, 0, "start <= merged", "start < merged"),
        (28, 1, "bisect_left(merged, start", "bisect_right(merged, start"),
        (29, 0, " or year % 400 == 0", ""),
        (69, 0, "COUNT(*) - COUNT(returned)", "COUNT(returned)"),
        (70, 0, "not text or ", ""),
        (70, 1, ' or "0s"', ""),
        (71, 1, "number >= limit", "number > limit"),
        (72, 0, "if now:", "if now > 9:"),
        (72, 1, "opened or quoted", "opened"),
        (73, 0, "queue.popleft()", "queue.pop()"),
        (73, 1, "to not in seen", "to[:2] not in {place[:2] for place in seen}"),
    ],
)
def test_code_with_one_mistake_is_caught(
    question_id: int, turn: int, right: str, wrong: str
) -> None:
    code = code_of(OWN[question_id].reference[turn])
    assert code.count(right) == 1
    done = run_oracle(question_id, turn, code.replace(right, wrong))
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


def test_measurements_in_the_references_are_those_of_the_text() -> None:
    question = OWN[35]
    first, second = map(measured, question.reference)
    assert first == measures(question)
    assert second == sorted(measures(question, "tonnes"), reverse=True)


def test_every_checked_turn_outside_the_proofs_is_a_fact_or_a_judgement_of_meaning() -> None:
    """What no computation here decides is named, so that a new check is proven or named too."""
    checked = {
        (number, turn)
        for number, question in OWN.items()
        for turn, check in enumerate(question.checks)
        if check is not None
    }
    facts = {(37, 0), (37, 1), (38, 0), (39, 0), (40, 0), (42, 0), (79, 0), (79, 1), (81, 1),
             (82, 0), (82, 1), (83, 0), (83, 1)}  # fmt: skip
    meaning = {(36, 0), (77, 0), (43, 0), (48, 0), (85, 0), (85, 1), (86, 0), (86, 1), (87, 0)}
    assert checked - set(COMPUTED) - set(ORACLES) == facts | meaning
