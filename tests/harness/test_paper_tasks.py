"""The LLaMA paper's protocols: scores by hand, votes, questions of an article."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asked import Asked

from evalsuite.harness.adapter import EngineLM
from evalsuite.harness.catalog import resolve
from evalsuite.harness.evaluate import evaluate
from evalsuite.harness.tasks import load_tasks


@pytest.mark.parametrize(("name", "plain"), [("boolq", "boolq"), ("openbookqa", "openbookqa")])
def test_answer_normalised_by_hand(
    name: str, plain: str, asked: Asked, tokenizer: Any, hf: Any, benchmarks: Path
) -> None:
    """Likelihoods from lm-eval's own backend, divided here."""
    from lm_eval.api.instance import Instance

    task_set = load_tasks(resolve([f"llama_paper_{name}", plain]), data_dir=benchmarks, limit=12)
    lm = EngineLM(tokenizer, asked.max_length, asked.score, asked.generate)
    mine, other = evaluate(task_set, lm, model="m").results
    task = task_set.tasks[f"llama_paper_{name}"]
    right = []
    for doc in task.eval_docs.select(range(12)):
        choices, prompt = task.doc_to_choice(doc), task.doc_to_text(doc)
        texts = [(prompt, f" {c}") for c in choices] + [("Answer:", f" {c}") for c in choices]
        requests = [Instance("loglikelihood", doc, args, i) for i, args in enumerate(texts)]
        logprobs = [logprob for logprob, _ in hf.loglikelihood(requests, disable_tqdm=True)]
        n = len(choices)
        gains = [logprobs[i] - logprobs[n + i] for i in range(n)]
        right.append(float(gains.index(max(gains)) == task.doc_to_target(doc)))
    metrics = {metric.name: metric for metric in mine.metrics}
    assert metrics["acc_answer_norm"].items == tuple(right)
    assert mine.info.primary == "acc_answer_norm"
    assert metrics["acc"].items == {m.name: m for m in other.metrics}["acc"].items


def test_the_vote_takes_the_most_frequent_answer() -> None:
    from evalsuite.harness.paper import MajorityOfMathAnswers, math_results

    def solution(answer: str) -> str:
        return f" so. Final Answer: The final answer is ${answer}$. I hope it is correct."

    answers = ["no end", "no end", "no end", *map(solution, ["7", "\\frac12", "\\frac{1}{2}"])]
    ((kept,),) = MajorityOfMathAnswers().apply([answers], [{}])
    assert kept == solution("\\frac12")
    assert math_results({"answer": "\\frac{1}{2}"}, [kept]) == {"exact_match": 1}
    assert math_results({"answer": "7"}, [kept]) == {"exact_match": 0}
    assert list(MajorityOfMathAnswers().apply([["a", "b"]], [{}])) == [["a"]]


def test_every_question_of_an_article_after_the_earlier_ones() -> None:
    import datasets

    from evalsuite.harness.paper import race_questions

    rows = datasets.Dataset.from_list(
        [
            {"article": a, "question": q, "options": ["w", "x", "y", "z"], "answer": answer}
            for a, q, answer in [("one", "Who?", "B"), ("two", "What?", "A"), ("one", "When?", "D")]
        ]
    )
    got = race_questions(rows)
    assert got["before"][:] == ["", "", "Question: Who?\nAnswer: x\n\n"]
    assert got["asked"][2] == "Question: When?\nAnswer:"


def test_prompts_are_the_papers(benchmarks: Path) -> None:
    names = ["llama_paper_nq_open_1shot", "llama_paper_triviaqa_0shot"]
    task_set = load_tasks(resolve(names), data_dir=benchmarks, limit=3)
    nq = task_set.instances[names[0]][0].args[0]
    assert nq.startswith("Answer these questions:\nQ: ")
    assert nq.count("\nA:") == 2
    for instance in task_set.instances[names[1]]:
        assert instance.args[0].endswith("?\nA:")
        assert "??" not in instance.args[0]


def test_majority_tasks_ask_for_their_samples(benchmarks: Path) -> None:
    names = ["llama_paper_gsm8k_maj100", "llama_paper_math_maj256", "llama_paper_gsm8k_greedy"]
    task_set = load_tasks(resolve(names), data_dir=benchmarks, limit=1)
    repeats = {name: task_set.instances[name][0].repeats for name in task_set.tasks}
    assert repeats.pop("llama_paper_gsm8k_greedy") == 1
    assert repeats.pop("llama_paper_gsm8k_maj100") == 100
    assert set(repeats.values()) == {256}
    maj = task_set.instances["llama_paper_gsm8k_maj100"][0].args
    assert maj[0].count("\nA:") == 9
    assert maj[1]["temperature"] == 0.6
    primary = {name: info.primary for name, info in task_set.infos.items()}
    assert primary["llama_paper_math_maj256"] == "exact_match,maj@256"
