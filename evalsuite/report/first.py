"""The page's first screen: title, what was run, what failed, each model's row, the capabilities.

Knows leaderboards, manifests and the words of words.py; knows no sample and no HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalsuite.leaderboard import Run, explain
from evalsuite.records import Estimate, Leaderboard, ModelScore
from evalsuite.report import judge_words, words
from evalsuite.report.judge_column import main_league
from evalsuite.report.view import CapabilityCard, League, ModelRow, Score

_NOTHING = Estimate(None, None)


def title(board: Leaderboard, tasks: Sequence[str], judges: Sequence[str] = ()) -> str:
    """'a and b on 8 tasks'; where no task was measured 'a and b, judged by gpt-4'."""
    names = [model.name for model in board.models]
    who = words.listing(names) if 0 < len(names) <= 3 else words.plural(len(names), "model")
    if judges and not tasks:
        by = judges[0] if len(judges) == 1 else words.plural(len(judges), "judge")
        return f"{who}, judged by {by}"
    return f"{who} on {words.plural(len(tasks), 'task')}"


def judged_verdict(found: Sequence[League]) -> str:
    """The page's first sentence where no task was measured: what the judge says, or what there is.

    Of several judges it is the first screen's.
    """
    league = main_league(found)
    if league is None:
        runs = len({one.run for one in found})
        return f"Judged games of {runs} runs, each by itself."
    judges = {one.judge for one in found}
    by = f"By {judge_words.short(league.judge)}: " if len(judges) > 1 else ""
    return f"{by}{league.verdict}"


def judged_row(row: ModelRow, found: Sequence[League]) -> ModelRow:
    """A model's row where no task was measured: its place is the judge's."""
    league = main_league(found)
    standing = next((s for s in league.standings if s.name == row.name), None) if league else None
    if league is None or standing is None:
        return replace(row, place=words.MISSING, tied="", leads=False)
    many = standing.place[1] - standing.place[0] if standing.place else 0
    others = [s.name for s in league.standings if s is not standing]
    tied = words.plural(many, "other") if many != 1 or len(others) > 1 else others[0]
    return replace(
        row,
        place=words.place(standing.place),
        tied=f"tied with {tied}" if many else "",
        leads=standing.leads,
    )


def judged_order(board: Leaderboard, found: Sequence[League]) -> Leaderboard:
    """The models in the judge's order, those that it did not meet last."""
    league = main_league(found)
    if league is None:
        return board
    order = {standing.name: i for i, standing in enumerate(league.standings)}
    models = sorted(board.models, key=lambda model: order.get(model.name, len(order)))
    return replace(board, models=tuple(models))


def facts(
    runs: Sequence[Run],
    board: Leaderboard,
    tasks: Sequence[str],
    games: int,
    answers: int = 0,
) -> tuple[str, ...]:
    """What was run. `games` were judged in pairs, `answers` alone."""
    items = sum(item_count(board.models, task) for task in tasks)
    said = [
        words.plural(len(board.models), "model"),
        *([words.plural(len(tasks), "task"), words.plural(items, "item")] if tasks else ()),
    ]
    if games:
        said.append(words.plural(games, "judged game"))
    if answers:
        said.append(words.plural(answers, "judged answer"))
    if len(runs) > 1:
        return (*said, words.plural(len(runs), "run"))
    manifest = runs[0].manifest
    said.append(words.day(manifest.get("created")))
    seconds = board.times.get("seconds")
    if isinstance(seconds, int | float):
        said.append(f"took {words.duration(seconds)}")
    if manifest.get("seed") is not None:
        said.append(f"seed {manifest['seed']}")
    limit = (manifest.get("config") or {}).get("limit")
    if limit:
        said.append(f"first {words.plural(int(limit), 'item')} of each task only")
    return tuple(fact for fact in said if fact)


def problems(board: Leaderboard, capability_of: Mapping[str, str]) -> tuple[str, ...]:
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


def model_row(
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
    return make_score(estimate.value, estimate.ci, "share")


def make_score(value: float | None, ci: tuple[float, float] | None, unit: str) -> Score:
    return Score(value, ci, words.number(value, unit, sign=False), words.interval(ci, unit))


def card(
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
        # A model that was judged only is not missing here.
        scores=tuple(
            (row, score)
            for model, row, score in zip(models, rows, scores, strict=True)
            if model.tasks or not model.judges
        ),
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


def item_count(models: Sequence[ModelScore], task: str) -> int:
    """How many items a task has: the most that a model has a result for."""
    scores = [model.tasks[task] for model in models if task in model.tasks]
    return max((metric.n for score in scores for metric in score.metrics.values()), default=0)
