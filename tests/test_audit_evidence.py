"""Who is warned of as a judge's relative, by what each of them goes by."""

from __future__ import annotations

from pathlib import Path

from evalsuite.audit_evidence import family_notes, gather, sameness_of
from evalsuite.judge import Answer, JudgeSpec, Question
from evalsuite.judge.records import Check
from evalsuite.judging import JudgePlan
from evalsuite.models import resolve_models

QUESTIONS = (Question(1, "math", ("What is 1 + 1?",)),)


def plan(judge: JudgeSpec) -> JudgePlan:
    return JudgePlan(judge, QUESTIONS)


def test_the_registry_entry_counts_and_no_folder_on_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "gpt-4-runs" / "checkpoint-500"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    models = resolve_models(["vicuna-7b-v1.5", "llama-7b", str(folder), f"gpt-4-like={folder}"])
    judge = plan(JudgeSpec("gpt-4", "openai", "gpt-4-0613", "https://api.openai.com/v1"))
    [note] = family_notes([judge], models)
    assert "gpt-4-like is of the same family" in note
    assert "vicuna-7b-v1.5 was trained on its answers" in note
    assert "llama-7b" not in note
    assert "checkpoint-500" not in note
    # A judge in such a folder is not of a family by the folder's folder either.
    local = plan(JudgeSpec(f"local:{folder}", "local", str(folder), "local"))
    found = gather([local], models, (), QUESTIONS, {}).kin[local.spec.name]
    assert found.family == "the same model"
    assert found.members == {"checkpoint-500": "weights", "gpt-4-like": "weights"}
    assert family_notes([JudgePlan(judge.spec)], models) == ()  # it plays no game


def test_the_id_that_the_server_returned_tells_more_than_the_name() -> None:
    models = resolve_models(["llama-7b", "demo-small"])
    judge = plan(JudgeSpec("openai:judge@http://h/v1", "openai", "judge", "http://h/v1"))
    assert family_notes([judge], models) == ()
    served = {judge.spec.name: ("Llama-3.1-70B-Instruct",)}
    found = gather([judge], models, (), QUESTIONS, {}, served).kin[judge.spec.name]
    assert (found.family, dict(found.members)) == ("llama", {"llama-7b": "weights"})


def test_right_answers_are_no_repetition_by_check_or_by_reference() -> None:
    questions = [
        Question(k, "x", (f"Is {k} even?",), checks=(Check("exact", ("yes",)),)) for k in range(10)
    ]
    yes = [Answer(q.question_id, ("Yes",)) for q in questions]
    assert sameness_of(questions, [Answer(q.question_id, ("yes",)) for q in questions]).share == 0
    assert sameness_of(questions, yes).share == 1.0  # "exact" is exact
    known = [Question(k, "x", (f"Is {k} even?",), reference=("yes",)) for k in range(10)]
    assert sameness_of(known, yes).share == 0.0
    blank = [Question(k, "x", (f"Is {k} even?",)) for k in range(10)]
    assert sameness_of(blank, yes).flagged
