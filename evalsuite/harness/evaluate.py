"""One model over one task set: ask the engine, let lm-eval score and aggregate, make our records.

Filters, metrics, aggregation and standard errors are lm-eval's own. It knows lm-eval's results; it
must not know files, intervals or ranks.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from evalsuite.harness import lmeval
from evalsuite.harness.adapter import EngineLM
from evalsuite.harness.remote import ServerLM
from evalsuite.harness.tasks import Chat, TaskSet, metric_name
from evalsuite.records import MetricResult, TaskResult

# Means have a standard error in closed form; other metrics are resampled this often. lm-eval's
# default of 100,000 takes minutes; 1,000 know a standard error to about 2 %.
BOOTSTRAP_ITERS = 1000

# Metrics that are shares of 1 whatever their values are; the rest carry a unit of their own.
_SHARES = frozenset(
    ("acc", "acc_norm", "acc_bytes", "acc_all", "acc_mutual_info", "exact_match", "em", "f1")
)
_OWN_UNITS = frozenset(("bits_per_byte", "bleu", "chrf", "ter", "mcc", "brier_score"))


@dataclass(frozen=True)
class Evaluation:
    """What one model did on a task set.

    `raw` is what lm-eval's evaluate returns, without its samples. `samples` holds lm-eval's sample
    dictionaries by task, one a document and filter, each with `truncated` added: the number of the
    document's requests that lost tokens. `tokenizer` are the fields that lm-eval records about it.
    """

    model: str
    results: tuple[TaskResult, ...]
    raw: Mapping[str, Any]
    samples: Mapping[str, Sequence[Mapping[str, Any]]]
    limit: int | None
    seed: int
    tokenizer: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    chat: Chat | None = None


def evaluate(task_set: TaskSet, lm: EngineLM | ServerLM, *, model: str) -> Evaluation:
    """Evaluate the model called `model`: ask for everything first, then let lm-eval score it.

    Documents that `lm` has no answer for (its `lost`) are left out and counted as errors; a task
    without any answer has no result. Raises what the engine raises, and UserError for requests that
    can't be made.
    """
    from lm_eval.evaluator import evaluate as lm_evaluate

    lm.truncated.clear()
    lm.prefetch(task_set)
    task_set = task_set.only(
        name
        for name, items in task_set.instances.items()
        if any((name, instance.doc_id) not in lm.lost for instance in items)
    )
    if not task_set.tasks:
        return _nothing(task_set, model)
    with lmeval.quiet() as log, lmeval.aggregating(), _prepared(task_set, lm.lost):
        raw = lm_evaluate(
            lm,
            {"tasks": dict(task_set.tasks), "groups": dict(task_set.groups)},
            limit=task_set.limit,
            bootstrap_iters=BOOTSTRAP_ITERS,
        )
    samples = raw.pop("samples")
    for name, items in samples.items():
        for sample in items:
            sample["truncated"] = lm.truncated[name, sample["doc_id"]]
    return Evaluation(
        model=model,
        results=tuple(
            _task_result(model, task_set, name, raw, items, lm) for name, items in samples.items()
        ),
        raw=raw,
        samples=samples,
        limit=task_set.limit,
        seed=task_set.seed,
        tokenizer=_tokenizer_fields(lm),
        warnings=tuple(log.messages),
        chat=task_set.chat,
    )


def _nothing(task_set: TaskSet, model: str) -> Evaluation:
    return Evaluation(model, (), {}, {}, task_set.limit, task_set.seed, {}, (), task_set.chat)


@contextmanager
def _prepared(task_set: TaskSet, lost: Collection[tuple[str, int]]) -> Iterator[None]:
    """lm-eval finds its requests built: fresh copies, so that no model sees another's answers.

    Documents in `lost`, by task and number, are not there for it.
    """
    fresh = task_set.fresh()
    try:
        for name, task in task_set.tasks.items():
            task._instances = [i for i in fresh[name] if (name, i.doc_id) not in lost]
            task.doc_iterator = _without(task.doc_iterator, name, lost)
            task.build_all_requests = lambda **_: None  # hides the method of the class
        yield
    finally:
        for name, task in task_set.tasks.items():
            task.__dict__.pop("build_all_requests", None)
            task.__dict__.pop("doc_iterator", None)
            task._instances = list(task_set.instances[name])


def _without(
    documents: Callable[..., Iterator[tuple[int, Any]]],
    name: str,
    lost: Collection[tuple[str, int]],
) -> Callable[..., Iterator[tuple[int, Any]]]:
    def left(**options: Any) -> Iterator[tuple[int, Any]]:
        return ((number, doc) for number, doc in documents(**options) if (name, number) not in lost)

    return left


# ---- lm-eval's results as our records ------------------------------------------------------------


def _task_result(
    model: str,
    task_set: TaskSet,
    name: str,
    raw: Mapping[str, Any],
    samples: Sequence[Mapping[str, Any]],
    lm: EngineLM | ServerLM,
) -> TaskResult:
    from lm_eval.api.metrics import mean

    by_filter: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for sample in samples:
        by_filter[sample["filter"]].append(sample)
    aggregation = task_set.tasks[name].aggregation()
    higher = raw["higher_is_better"].get(name, {})
    metrics = []
    for key, value in raw["results"][name].items():
        metric, comma, filter_name = key.rpartition(",")
        if not comma or metric.endswith("_stderr") or not _is_number(value):
            continue
        is_mean = aggregation.get(metric, mean) is mean
        items = _items(metric, by_filter[filter_name]) if is_mean else None
        stderr = raw["results"][name].get(f"{metric}_stderr,{filter_name}")
        metrics.append(
            MetricResult(
                name=metric_name(metric, filter_name),
                value=float(value),
                stderr=float(stderr) if _is_number(stderr) else None,
                higher_is_better=higher.get(metric) is not False,
                unit=unit_of(metric, items),
                items=items,
            )
        )
    info = task_set.infos[name]
    if metrics and info.primary not in {metric.name for metric in metrics}:
        # A task's process_results may report other names than its metric list announces.
        info = replace(info, primary=metrics[0].name)
    first = next(iter(by_filter.values()), [])
    return TaskResult(
        model=model,
        info=info,
        metrics=tuple(metrics),
        n=int(raw["results"][name]["sample_len"]),
        item_ids=_item_ids(first),
        truncated=sum(count for (task, _), count in lm.truncated.items() if task == name),
        errors=sum(task == name for task, _ in lm.lost),
    )


def _tokenizer_fields(lm: EngineLM | ServerLM) -> dict[str, Any]:
    if isinstance(lm, ServerLM):
        return {}  # the server keeps it to itself
    tokenizer = lm.tokenizer
    return {
        "tokenizer_pad_token": [tokenizer.pad_token, str(tokenizer.pad_token_id)],
        "tokenizer_eos_token": [tokenizer.eos_token, str(tokenizer.eos_token_id)],
        "tokenizer_bos_token": [tokenizer.bos_token, str(tokenizer.bos_token_id)],
        "eot_token_id": lm.eot_token_id,
        "max_length": lm.max_length,
    }


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, str) and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _items(metric: str, samples: Sequence[Mapping[str, Any]]) -> tuple[float, ...] | None:
    """One number a document, or None when some document has none."""
    values = [sample.get(metric) for sample in samples]
    if not values or not all(_is_number(value) for value in values):
        return None
    return tuple(float(value) for value in values)  # type: ignore[arg-type]


def _item_ids(samples: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of documents that stay when others come or go; a repeated document gets an index."""
    seen: Counter[str] = Counter()
    ids = []
    for sample in samples:
        digest = sample["doc_hash"][:16]
        ids.append(f"{digest}-{seen[digest]}" if seen[digest] else digest)
        seen[digest] += 1
    return tuple(ids)


def unit_of(metric: str, items: Sequence[float] | None) -> str:
    """ "share" for metrics between 0 and 1, "perplexity", or the metric's own name.

    A metric that is not known counts as a share when each of its documents lies between 0 and 1.
    """
    if metric in _SHARES:
        return "share"
    if "perplexity" in metric:
        return "perplexity"
    if metric in _OWN_UNITS:
        return metric
    return "share" if items and all(0 <= item <= 1 for item in items) else metric
