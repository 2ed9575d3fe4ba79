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
from evalsuite.harness.code import Programs, run_programs
from evalsuite.harness.code_eval import judging
from evalsuite.harness.families import fold
from evalsuite.harness.infos import metric_name
from evalsuite.harness.lost import ScorerErrors
from evalsuite.harness.remote import ServerLM
from evalsuite.harness.task_set import Chat, TaskSet
from evalsuite.records import Failure, MetricResult, TaskInfo, TaskResult

# Means have a standard error in closed form; other metrics are resampled this often. lm-eval's
# default of 100,000 takes minutes; 1,000 know a standard error to about 2 %.
BOOTSTRAP_ITERS = 1000

# Metrics that are shares of 1 whatever their values are; the rest carry a unit of their own.
_SHARES = frozenset(
    (
        "acc",
        "acc_norm",
        "acc_bytes",
        "acc_all",
        "acc_mutual_info",
        "acc_answer_norm",
        "exact_match",
        "em",
        "f1",
    )
)
_OWN_UNITS = frozenset(("bits_per_byte", "bleu", "chrf", "ter", "mcc", "brier_score"))


@dataclass(frozen=True)
class Evaluation:
    """What one model did on a task set.

    `raw` is what lm-eval's evaluate returns, without its samples. `samples` holds lm-eval's sample
    dictionaries by task, one a document and filter. Each has `truncated` added: the number of the
    document's requests that lost tokens; `error` where scoring it failed; where answers were drawn,
    `seeds`, in the form of `resps`; and where programs were run, `programs`, what became of each.
    `failures` are tasks that were asked for and have no result. `tokenizer` are the fields that
    lm-eval records of it. `code_execution` is what held the programs, None when no task has any.
    """

    model: str
    results: tuple[TaskResult, ...]
    raw: Mapping[str, Any]
    samples: Mapping[str, Sequence[Mapping[str, Any]]]
    limit: int | None
    seed: int
    tokenizer: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    code_execution: str | None = None
    chat: Chat | None = None


def evaluate(
    task_set: TaskSet, lm: EngineLM | ServerLM, *, model: str, programs: Programs | None = None
) -> Evaluation:
    """Evaluate the model called `model`: ask for everything first, then let lm-eval score it.

    `programs` runs those that the model wrote, for tasks that want it. Documents that `lm` has no
    answer for (its `lost`) are left out and counted as errors; a task without any answer has no
    result. Raises what the engine raises, and UserError for requests that can't be made.
    """
    from lm_eval.evaluator import evaluate as lm_evaluate

    lm.truncated.clear()
    failed = lm.prefetch(task_set)
    asked = task_set.without(failed).without(_unanswered(task_set, lm), shrink=True)
    failures = [Failure(model, name, "plan", why) for name, why in task_set.lost(failed).items()]
    if not asked.tasks:
        return _nothing(task_set, model, failures)
    lm.keep(asked.tasks)
    with lmeval.quiet() as log, lmeval.aggregating():
        verdicts = run_programs(asked, lm.generated(asked), programs)
        with _prepared(asked, lm.lost) as scoring, judging(verdicts.judge):
            raw = lm_evaluate(
                lm,
                {"tasks": dict(asked.tasks), "groups": dict(asked.groups)},
                limit=asked.limit if asked.drawn is None else None,
                samples=None if asked.drawn is None else dict(asked.drawn),
                bootstrap_iters=BOOTSTRAP_ITERS,
                confirm_run_unsafe_code=True,  # what may run was decided when tasks were loaded
            )
    samples = raw.pop("samples")
    held = programs.protection.mode if programs is not None and asked.code else None
    for name, items in samples.items():
        places = {doc: place for place, doc in enumerate((asked.drawn or {}).get(name, ()))}
        seeds = _seeds(asked, name, lm)
        for sample in items:
            doc = sample["doc_id"]
            place = places.get(doc, doc)
            sample["truncated"] = lm.truncated[name, place]
            if any(seed is not None for its in seeds[place] for seed in its):
                sample["seeds"] = seeds[place]
            if name in asked.code:
                sample["code_execution"] = held
                sample["programs"] = verdicts.lines(name, sample["filter"], place)
    scoring.mark(samples)
    lines, unscored = _lines(model, asked, raw, samples, lm)
    for place, line in enumerate(lines):  # what a family lost with whole members
        missing = set(task_set.infos[line.info.name].members) - asked.tasks.keys()
        lost = sum(name in missing for name, _ in lm.lost)
        lines[place] = replace(line, errors=line.errors + lost)
    return Evaluation(
        model=model,
        results=tuple(lines),
        code_execution=held,
        raw=raw,
        samples=samples,
        limit=task_set.limit,
        seed=task_set.seed,
        tokenizer=_tokenizer_fields(lm),
        warnings=tuple(log.messages),
        failures=(*failures, *(Failure(model, name, "score", why) for name, why in unscored)),
        chat=task_set.chat,
    )


def _unanswered(task_set: TaskSet, lm: EngineLM | ServerLM) -> set[str]:
    """The tasks none of whose documents has an answer."""
    return {
        name
        for name, items in task_set.instances.items()
        if items and all((name, instance.doc_id) in lm.lost for instance in items)
    }


def _nothing(task_set: TaskSet, model: str, failures: Sequence[Failure]) -> Evaluation:
    return Evaluation(
        model,
        results=(),
        raw={},
        samples={},
        limit=task_set.limit,
        seed=task_set.seed,
        tokenizer={},
        failures=tuple(failures),
        chat=task_set.chat,
    )


@contextmanager
def _prepared(task_set: TaskSet, lost: Collection[tuple[str, int]]) -> Iterator[ScorerErrors]:
    """lm-eval finds its requests built: fresh copies, so that no model sees another's answers.

    Documents in `lost`, by task and number, are not there for it.
    """
    fresh = task_set.fresh()
    errors = ScorerErrors()
    try:
        for name, task in task_set.tasks.items():
            task._instances = [i for i in fresh[name] if (name, i.doc_id) not in lost]
            task.doc_iterator = _without(task.doc_iterator, name, lost)
            task.build_all_requests = lambda **_: None  # hides the method of the class
            errors.watch(name, task)
        yield errors
    finally:
        for name, task in task_set.tasks.items():
            task.__dict__.pop("build_all_requests", None)
            task.__dict__.pop("process_results", None)
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


def _seeds(
    task_set: TaskSet, name: str, lm: EngineLM | ServerLM
) -> dict[int, list[list[int | None]]]:
    """The seeds of a task's samples by document, in the form of lm-eval's `resps`."""
    seeds: dict[int, list[list[int | None]]] = defaultdict(list)
    for instance in sorted(task_set.instances[name], key=lambda instance: instance.idx):
        its = [lm.seed_of(instance, repeat) for repeat in range(instance.repeats)]
        seeds[instance.doc_id].append(its)
    return seeds


# ---- lm-eval's results as our records ------------------------------------------------------------


def _lines(
    model: str,
    task_set: TaskSet,
    raw: Mapping[str, Any],
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
    lm: EngineLM | ServerLM,
) -> tuple[list[TaskResult], list[tuple[str, str]]]:
    """The results, a family's as one, and of the lines that have none why not."""
    lines, unscored = [], []
    for name, info in task_set.infos.items():
        parts = [
            _task_result(model, task_set, member, info, raw, samples[member], lm)
            for member in info.members or (name,)
        ]
        line = parts[0]
        if name in task_set.families:
            line = fold(task_set.families[name], info, parts, raw["results"].get(name, {}))
        if line.metrics and info.primary not in {metric.name for metric in line.metrics}:
            # A task's process_results may report other names than its metric list announces.
            line = replace(line, info=replace(info, primary=line.metrics[0].name))
        if line.metrics:
            lines.append(line)
        else:
            faults = (
                s["error"] for m in info.members or (name,) for s in samples[m] if "error" in s
            )
            unscored.append((name, f"no item could be scored: {next(faults, 'no metric')}"))
    return lines, unscored


def _task_result(
    model: str,
    task_set: TaskSet,
    name: str,
    info: TaskInfo,
    raw: Mapping[str, Any],
    samples: Sequence[Mapping[str, Any]],
    lm: EngineLM | ServerLM,
) -> TaskResult:
    from lm_eval.api.metrics import mean

    lost = {sample["doc_id"] for sample in samples if "error" in sample}
    by_filter: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for sample in samples:
        if sample["doc_id"] not in lost:  # under every filter, so that all metrics have one n
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
        if lost and items:
            value = math.fsum(items) / len(items)
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
    first = next(iter(by_filter.values()), [])
    return TaskResult(
        model=model,
        info=info,
        metrics=tuple(metrics),
        n=len(first),
        item_ids=item_ids(first),
        truncated=sum(count for (task, _), count in lm.truncated.items() if task == name),
        errors=len(lost) + sum(task == name for task, _ in lm.lost),
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


def item_ids(samples: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
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
