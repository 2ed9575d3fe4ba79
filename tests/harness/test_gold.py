"""Gold answers, fed through each task's own filters and scorer, are right: 1.0 for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalsuite.harness.adapter import EngineLM
from evalsuite.harness.catalog import resolve
from evalsuite.harness.evaluate import evaluate
from evalsuite.harness.task_set import TaskSet
from evalsuite.harness.tasks import load_tasks

CHOICES = [
    *("boolq", "piqa", "social_iqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge"),
    *("openbookqa", "race", "mmlu", "truthfulqa_mc1", "llama_paper_boolq"),
    "llama_paper_openbookqa",
]
WORDS = ["nq_open", "triviaqa", "gsm8k", "minerva_math", "llama_paper_gsm8k_greedy"]
WORDS += ["llama_paper_nq_open_5shot", "llama_paper_triviaqa_1shot"]


def right_index(task: Any, doc: Any) -> int:
    gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
    return gold if isinstance(gold, int) else task.doc_to_choice(doc).index(gold)


def right_words(name: str, doc: Any) -> str:
    if name.startswith("minerva"):
        return f" … Final Answer: The final answer is ${doc['answer']}$. I hope it is correct."
    if name.startswith("llama_paper_gsm8k"):
        return f" … The answer is {doc['answer'].split('####')[-1].strip()}."
    if name == "gsm8k":
        return " " + doc["answer"]
    answer = doc["answer"]
    return " " + (answer["aliases"] if isinstance(answer, dict) else answer)[0]


class Gold(EngineLM):
    """Answers each request with what the task holds for right."""

    def __init__(self, tokenizer: Any, task_set: TaskSet) -> None:
        super().__init__(tokenizer, 8192, lambda _: [], lambda _: [])
        self.task_set = task_set

    def prefetch(self, task_set: TaskSet) -> dict[str, str]:
        return {}

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        answers = []
        for instance in requests:
            task = self.task_set.tasks[instance.task_name]
            right = instance.idx == right_index(task, instance.doc)
            answers.append((0.0 if right else -1000.0, right))
        return answers

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        return [right_words(instance.task_name, instance.doc) for instance in requests]


@pytest.mark.parametrize("names", [CHOICES, WORDS], ids=["choices", "words"])
def test_gold_answers_score_one(names: list[str], tokenizer: Any, benchmarks: Path) -> None:
    task_set = load_tasks(resolve(names), data_dir=benchmarks, limit=20)
    evaluation = evaluate(task_set, Gold(tokenizer, task_set), model="gold")
    assert [result.info.name for result in evaluation.results] == names
    for result in evaluation.results:
        value = {metric.name: metric.value for metric in result.metrics}[result.info.primary]
        assert value == 1.0, result.info.name
        assert result.errors == 0
