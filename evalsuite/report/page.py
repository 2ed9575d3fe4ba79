"""Out of runs on disk, the records that the page shows.

Knows leaderboards, manifests, samples, games and the words of words.py; knows no HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evalsuite.leaderboard import Run, capability_tasks, explain
from evalsuite.leaderboard.merge import merge_runs
from evalsuite.leaderboard.tables import Table
from evalsuite.records import Estimate, Leaderboard, ModelScore
from evalsuite.report import words
from evalsuite.report.facts import about, is_demo, run_facts, speed_line, task_infos
from evalsuite.report.games import collect_games, read_games
from evalsuite.report.gate import gate_view
from evalsuite.report.leagues import judge_column, leagues
from evalsuite.report.samples import collect
from evalsuite.report.shards import Shards, pack
from evalsuite.report.view import (
    CapabilityCard,
    Cell,
    MetricLine,
    ModelRow,
    Page,
    PaperLine,
    Score,
    TaskColumn,
)

DEMO_NOTE = "The demo pair are toys, trained in minutes to show this page; the numbers are real."
_NOTHING = Estimate(None, None)


def build_page(
    runs: Sequence[Run], shards: Shards | None = None, table: Table | None = None
) -> Page:
    """The whole page of one run or several; its samples' texts go into `shards`.

    The samples go into `table` as well.

    Raises:
        UserError: a damaged file of samples or games.
    """
    board, origins = merge_runs(runs)
    infos = task_infos(runs)
    task_names = [t for t in infos if any(t in m.tasks for m in board.models)]
    task_names += [t for m in board.models for t in m.tasks if t not in infos]
    task_names = list(dict.fromkeys(task_names))
    capability_of = {t: infos.get(t, {}).get("capability", "other") for t in task_names}
    groups = capability_tasks(capability_of)
    ordered = [task for members in groups.values() for task in members]

    samples = collect(board, origins, ordered, shards or Shards(), table)
    played = read_games(runs)
    games = collect_games(runs, origins, played)
    judged = leagues(runs, origins, played)
    column, judge_scores = judge_column(judged, [m.name for m in board.models])
    models = tuple(
        _model_row(m, board.models, about(origins[m.name]), groups, judge_scores.get(m.name))
        for m in board.models
    )
    first = runs[0].manifest
    return Page(
        title=_title(board, ordered),
        verdict=words.verdict(board.models),
        facts=_facts(runs, board, ordered, sum(len(its) for its in played.values())),
        demo=DEMO_NOTE if any(is_demo(origins[m.name]) for m in board.models) else "",
        problems=_problems(board, capability_of),
        models=models,
        capabilities=tuple(
            _card(capability, members, board.models, models, samples.chances, infos)
            for capability, members in groups.items()
        ),
        tasks=tuple(
            _column(t, board.models, infos.get(t, {}), samples.chances.get(t)) for t in ordered
        ),
        table=tuple(
            (row, tuple(_cell(model, task, _items(board.models, task)) for task in ordered))
            for row, model in zip(models, board.models, strict=True)
        ),
        metrics=_metric_lines(board.models, ordered),
        paper=_paper_lines(board.models, ordered),
        speed=tuple(
            line for m in board.models if (line := speed_line(m.name, origins[m.name])) is not None
        ),
        runs=tuple(run_facts(run) for run in runs),
        samples_shown=samples.shown,
        samples_note=samples.note,
        judge=column,
        leagues=judged,
        games_shown=games.shown,
        games_note=games.note,
        packed=pack({**samples.data, **({"games": games.data} if games.data else {})}),
        evalsuite=str(first.get("evalsuite", "")),
        gate=gate_view(runs[0]) if len(runs) == 1 else None,
    )


# ---- first screen -------------------------------------------------------------------------------


def _title(board: Leaderboard, tasks: Sequence[str]) -> str:
    names = [model.name for model in board.models]
    who = words.listing(names) if 0 < len(names) <= 3 else words.plural(len(names), "model")
    return f"{who} on {words.plural(len(tasks), 'task')}"


def _facts(
    runs: Sequence[Run], board: Leaderboard, tasks: Sequence[str], games: int
) -> tuple[str, ...]:
    items = sum(_items(board.models, task) for task in tasks)
    facts = [
        words.plural(len(board.models), "model"),
        words.plural(len(tasks), "task"),
        words.plural(items, "item"),
    ]
    if games:
        facts.append(words.plural(games, "judged game"))
    if len(runs) > 1:
        return (*facts, words.plural(len(runs), "run"))
    manifest = runs[0].manifest
    facts.append(words.day(manifest.get("created")))
    seconds = board.times.get("seconds")
    if isinstance(seconds, int | float):
        facts.append(f"took {words.duration(seconds)}")
    if manifest.get("seed") is not None:
        facts.append(f"seed {manifest['seed']}")
    limit = (manifest.get("config") or {}).get("limit")
    if limit:
        facts.append(f"first {words.plural(int(limit), 'item')} of each task only")
    return tuple(fact for fact in facts if fact)


def _problems(board: Leaderboard, capability_of: Mapping[str, str]) -> tuple[str, ...]:
    stages = {
        "load": "could not be loaded",
        "plan": "could not be prepared",
        "infer": "stopped while it was computed",
        "score": "could not be scored",
    }
    failed = []
    for f in board.failed:
        what = ": ".join(filter(None, (f.model, f.task)))
        stage = stages.get(f.stage, f"failed ({f.stage})")
        judging = "Judging is not complete"
        failed.append(f"{judging if f.stage == 'judge' else f'{what} {stage}'}: {f.error}")
    cut = _tally(board, "truncated", "request")
    lost = _tally(board, "errors", "item")
    known = list(explain(board, capability_of))
    if board.code_execution == "unsafe":
        known.insert(
            0,
            "Programs that models wrote were run without a sandbox (--unsafe-code-execution): "
            "they could have changed anything here, these results included.",
        )
    if lost:
        known.append(f"Items without a result are not counted: {lost}.")
    if cut:
        known.append(
            f"Prompts longer than a model’s context lost their beginning: {cut}. "
            "The table of tasks marks where."
        )
    return (*failed, *known)


def _tally(board: Leaderboard, field: str, what: str) -> str:
    """'a 3 requests in 2 tasks, b …': how often it happened to each model; '' if never."""
    parts = []
    for model in board.models:
        counts = [n for task in model.tasks.values() if (n := getattr(task, field))]
        if counts:
            where = words.plural(len(counts), "task")
            parts.append(f"{model.name} {words.plural(sum(counts), what)} in {where}")
    more = len(parts) - 4
    return "; ".join([*parts[:4], f"{words.plural(more, 'more model')}"] if more > 0 else parts)


def _model_row(
    model: ModelScore,
    models: Sequence[ModelScore],
    about: str,
    capabilities: Iterable[str],
    judge: Score | None,
) -> ModelRow:
    return ModelRow(
        name=model.name,
        place=words.place(model.rank),
        tied=words.tied(model, models),
        about=about,
        leads=model.rank is not None and model.rank[0] == 1,
        overall=_estimate(model.overall),
        capabilities=tuple(_estimate(model.capabilities.get(c, _NOTHING)) for c in capabilities),
        judge=judge,
    )


def _estimate(estimate: Estimate) -> Score:
    return _score(estimate.value, estimate.ci, "share")


def _score(value: float | None, ci: tuple[float, float] | None, unit: str) -> Score:
    return Score(value, ci, words.number(value, unit, sign=False), words.interval(ci, unit))


def _card(
    capability: str,
    tasks: Sequence[str],
    models: Sequence[ModelScore],
    rows: Sequence[ModelRow],
    chances: Mapping[str, float],
    infos: Mapping[str, Mapping[str, Any]],
) -> CapabilityCard:
    scores = [_estimate(m.capabilities.get(capability, _NOTHING)) for m in models]
    guesses = [
        chances.get(t, 0.0 if infos.get(t, {}).get("output_type") == "generate_until" else None)
        for t in tasks
    ]
    known = [guess for guess in guesses if guess is not None]
    chance = sum(known) / len(known) if len(known) == len(guesses) and any(known) else None
    return CapabilityCard(
        title=words.title(capability),
        tasks=", ".join(tasks),
        call=_call([row.name for row in rows], scores),
        scores=tuple(zip(rows, scores, strict=True)),
        chance=chance,
    )


def _call(names: Sequence[str], scores: Sequence[Score]) -> str:
    """Who is ahead in a capability: only when the two best intervals don't touch."""
    known = [(s.value, s.ci, n) for s, n in zip(scores, names, strict=True) if s.value is not None]
    if not known:
        return "No score."
    if len(known) == 1:
        return ""
    (_, best, leader), (_, second, _) = sorted(known, key=lambda k: -(k[0] or 0.0))[:2]
    if best is None or second is None:
        return ""
    return f"{leader} is ahead." if best[0] > second[1] else "Too close to call at the top."


# ---- tasks --------------------------------------------------------------------------------------


def _items(models: Sequence[ModelScore], task: str) -> int:
    """How many items a task has: the most that a model has a result for."""
    scores = [model.tasks[task] for model in models if task in model.tasks]
    return max((metric.n for score in scores for metric in score.metrics.values()), default=0)


def _column(
    task: str, models: Sequence[ModelScore], info: Mapping[str, Any], chance: float | None
) -> TaskColumn:
    primary = next((m.tasks[task].primary for m in models if task in m.tasks), "")
    detail = [words.plural(_items(models, task), "item")]
    shots = info.get("num_fewshot")
    if shots is not None:
        detail.append(f"{shots}-shot")
    return TaskColumn(
        name=task,
        capability=words.title(str(info.get("capability", "other"))),
        metric=primary,
        detail=", ".join(detail),
        description=str(info.get("description", "")),
        chance=chance,
    )


def _cell(model: ModelScore, task: str, items: int) -> Cell | None:
    if task not in model.tasks:
        return None
    score = model.tasks[task]
    metric = score.metrics.get(score.primary)
    if metric is None:
        return None
    flags = []
    if score.truncated:
        cut = words.plural(score.truncated, "request")
        flags.append((f"{score.truncated:,} cut", f"{cut} lost the beginning of the prompt"))
    if score.errors:
        lost = words.plural(score.errors, "item")
        flags.append((f"{score.errors:,} lost", f"{lost} without a result"))
    shaded = metric.unit == "share" and 0 <= metric.value <= 1
    return Cell(
        score=_score(metric.value, metric.ci, metric.unit),
        n=None if metric.n == items else metric.n,
        heat=round(10 * metric.value) if shaded else None,
        flags=tuple(flags),
        link=words.fragment("samples", model.name, task),
    )


def _metric_lines(models: Sequence[ModelScore], tasks: Sequence[str]) -> tuple[MetricLine, ...]:
    return tuple(
        MetricLine(
            model=model.name,
            task=task,
            metric=name,
            score=_score(metric.value, metric.ci, metric.unit),
            n=metric.n,
            stderr=words.number(metric.stderr, metric.unit, sign=False),
            unit="%" if metric.unit == "share" else metric.unit,
            direction="more is better" if metric.higher_is_better else "less is better",
        )
        for task in tasks
        for model in models
        if task in model.tasks
        for name, metric in model.tasks[task].metrics.items()
    )


def _paper_lines(models: Sequence[ModelScore], tasks: Sequence[str]) -> tuple[PaperLine, ...]:
    lines = []
    for model in models:
        for task in tasks:
            paper = model.tasks[task].paper if task in model.tasks else None
            if paper is None:
                continue
            metric = model.tasks[task].metrics[paper.metric]
            inside = {True: "yes", False: "no", None: words.MISSING}[paper.inside]
            lines.append(
                PaperLine(
                    model=model.name,
                    task=task,
                    metric=paper.metric,
                    paper=words.number(paper.value, metric.unit, sign=False),
                    measured=_score(metric.value, metric.ci, metric.unit),
                    difference=f"{100 * paper.difference:+.1f}".replace("-", "\u2212"),
                    inside=inside,
                    source=paper.source,
                )
            )
    return tuple(lines)
