"""Out of runs on disk, the records that the page shows.

Knows leaderboards, manifests, samples, games and the words of words.py; knows no HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalsuite.leaderboard import Run, capability_tasks
from evalsuite.leaderboard.merge import merge_runs
from evalsuite.leaderboard.tables import Table
from evalsuite.records import Estimate, ModelScore
from evalsuite.report import words
from evalsuite.report.facts import about, is_demo, judging_cost, run_facts, speed_line, task_infos
from evalsuite.report.first import (
    card,
    facts,
    item_count,
    judged_order,
    judged_row,
    judged_verdict,
    make_score,
    model_row,
    problems,
    title,
)
from evalsuite.report.games import collect_games, read_games
from evalsuite.report.gate import gate_view
from evalsuite.report.judge_column import judge_column
from evalsuite.report.leagues import leagues
from evalsuite.report.pairs import compare_models
from evalsuite.report.samples import collect
from evalsuite.report.shards import Shards, pack
from evalsuite.report.view import (
    Cell,
    MetricLine,
    Page,
    PaperLine,
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

    played = read_games(runs)
    judged = leagues(runs, origins, played)
    judged_only = bool(judged) and not ordered
    if judged_only:
        board = judged_order(board, judged)
    samples = collect(board, origins, ordered, shards or Shards(), table)
    games = collect_games(runs, origins, played)
    contrasts = compare_models(board, origins, groups, ordered)
    column, judge_scores = judge_column(judged, [m.name for m in board.models])
    models = tuple(
        model_row(m, board.models, about(origins[m.name]), groups, judge_scores.get(m.name))
        for m in board.models
    )
    if judged_only:
        models = tuple(judged_row(row, judged) for row in models)
    first = runs[0].manifest
    every = [game for its in played.values() for game in its]
    pairs = sum(game.second is not None for game in every)
    return Page(
        title=title(board, ordered, list(dict.fromkeys(league.judge for league in judged))),
        verdict=judged_verdict(judged) if judged_only else words.verdict(board.models),
        facts=facts(runs, board, ordered, pairs, len(every) - pairs),
        demo=DEMO_NOTE if any(is_demo(origins[m.name]) for m in board.models) else "",
        problems=problems(board, capability_of),
        models=models,
        capabilities=tuple(
            card(capability, members, board.models, models, samples.chances, infos)
            for capability, members in groups.items()
        ),
        tasks=tuple(
            _column(t, board.models, infos.get(t, {}), samples.chances.get(t)) for t in ordered
        ),
        table=tuple(
            (row, tuple(_cell(model, task, item_count(board.models, task)) for task in ordered))
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
        packed=pack(
            {
                **samples.data,
                **({"games": games.data} if games.data else {}),
                **({"contrasts": contrasts} if contrasts else {}),
            }
        ),
        compared=contrasts is not None,
        cost=tuple(line for run in runs for line in judging_cost(run, named=len(runs) > 1)),
        evalsuite=str(first.get("evalsuite", "")),
        gate=gate_view(runs[0]) if len(runs) == 1 else None,
        judged_only=judged_only,
    )


# ---- tasks --------------------------------------------------------------------------------------


def _column(
    task: str, models: Sequence[ModelScore], info: Mapping[str, Any], chance: float | None
) -> TaskColumn:
    primary = next((m.tasks[task].primary for m in models if task in m.tasks), "")
    detail = [words.plural(item_count(models, task), "item")]
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
        score=make_score(metric.value, metric.ci, metric.unit),
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
            score=make_score(metric.value, metric.ci, metric.unit),
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
                    measured=make_score(metric.value, metric.ci, metric.unit),
                    difference=f"{100 * paper.difference:+.1f}".replace("-", "\u2212"),
                    inside=inside,
                    source=paper.source,
                )
            )
    return tuple(lines)
