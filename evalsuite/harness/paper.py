"""What the LLaMA paper's protocols need beyond lm-eval's own parts, for the YAML files to name.

The answer-normalised score, a vote over worked solutions, GPT-3's form of RACE. It knows lm-eval's
task class and documents; it must not know models, engines or suites.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from lm_eval.api.filter import Filter
from lm_eval.api.registry import metric_registry, register_metric
from lm_eval.api.task import ConfigurableTask

ANSWER_CONTEXT = "Answer:"  # Brown et al. (2020), section 2.4
ANSWER_NORM = "acc_answer_norm"

if ANSWER_NORM not in metric_registry:

    @register_metric(
        metric=ANSWER_NORM,
        higher_is_better=True,
        output_type="multiple_choice",
        aggregation="mean",
    )
    def _pass_through(items: Any) -> Any:
        return items


class AnswerNormalisedTask(ConfigurableTask):
    """A multiple-choice task that also asks for each choice after "Answer:" alone.

    `acc_answer_norm` is 1 where the right choice has the largest P(choice | context) /
    P(choice | "Answer:"), the score of Brown et al. (2020) that the LLaMA paper takes for BoolQ and
    OpenBookQA. All other metrics are lm-eval's, on the first half of the requests. A document's
    requests are its choices after the context, then its choices after "Answer:".
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config={k: v for k, v in config.items() if k != "class"})

    def construct_requests(self, doc: Any, ctx: Any, **kwargs: Any) -> list[Any]:
        from lm_eval.api.instance import Instance

        asked = super().construct_requests(doc, ctx, **kwargs)
        alone = [
            Instance(
                request_type="loglikelihood",
                doc=doc,
                arguments=(ANSWER_CONTEXT, instance.args[1]),
                idx=len(asked) + i,
                metadata=(instance.task_name, instance.doc_id, instance.repeats),
            )
            for i, instance in enumerate(asked)
        ]
        return [*asked, *alone]

    def process_results(self, doc: Any, results: Any) -> dict[str, Any]:
        results = list(results)
        half = len(results) // 2
        metrics = super().process_results(doc, results[:half])
        pairs = zip(results[:half], results[half:], strict=True)
        gains = [given[0] - alone[0] for given, alone in pairs]
        gold = self.doc_to_target(doc)
        metrics[ANSWER_NORM] = float(int(np.argmax(gains)) == gold)
        return metrics


def chain_of_thought_examples() -> list[dict[str, Any]]:
    """The eight worked examples of lm-eval's gsm8k_cot, from its own file."""
    found = find_spec("lm_eval")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("lm_eval", name="lm_eval")
    root = Path(next(iter(found.submodule_search_locations)))
    path = root / "tasks" / "gsm8k" / "gsm8k-cot.yaml"
    examples: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))[
        "fewshot_config"
    ]["samples"]
    return examples


# ---- MATH by majority ----------------------------------------------------------------------------


class MajorityOfMathAnswers(Filter):
    """Keeps of each problem's solutions the first one with the most frequent final answer.

    Answers are compared as minerva_math normalises them. Solutions without one don't vote unless
    all are.
    """

    def apply(self, resps: Any, docs: Sequence[Mapping[str, Any]]) -> Iterable[list[str]]:
        return [[_majority(list(solutions))] for solutions in resps]


def _majority(solutions: Sequence[str]) -> str:
    from lm_eval.tasks.minerva_math.utils import get_unnormalized_answer, normalize_final_answer

    answers = [normalize_final_answer(get_unnormalized_answer(text)) for text in solutions]
    nothing = normalize_final_answer(get_unnormalized_answer(""))
    votes = Counter(answer for answer in answers if answer != nothing)
    if not votes:
        return solutions[0]
    return solutions[answers.index(votes.most_common(1)[0][0])]


def math_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, int]:
    """minerva_math's exact_match alone: its second metric compares other things than the vote."""
    from lm_eval.tasks.minerva_math.utils import (
        get_unnormalized_answer,
        is_equiv,
        normalize_final_answer,
    )

    answer = normalize_final_answer(get_unnormalized_answer(results[0]))
    return {"exact_match": int(is_equiv(answer, doc["answer"]))}


# ---- RACE, one item a question -------------------------------------------------------------------


def race_questions(dataset: Any) -> Any:
    """The rows of ehovy/race (a question each) with `asked`, this one as it is put, and `before`,
    the article's earlier questions with their answers."""
    earlier: dict[str, str] = {}
    before: list[str] = []
    asked: list[str] = []
    for row in dataset:
        key = row["article"]
        before.append(earlier.get(key, ""))
        asked.append(f"Question: {row['question']}\nAnswer:")
        options = row["options"]
        options = ast.literal_eval(options) if isinstance(options, str) else options
        answer = options["ABCD".index(row["answer"])]
        earlier[key] = f"{before[-1]}{asked[-1]} {answer}\n\n"
    return dataset.add_column("before", before).add_column("asked", asked)
