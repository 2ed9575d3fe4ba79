"""Runs on disk as the suite writes them: made-up models of known skill on made-up questions.

Leaderboard and samples go through the suite's own aggregation and writers; only the answers are
drawn from a seed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from evalsuite.files import safe_name
from evalsuite.leaderboard import (
    aggregate,
    read_leaderboard,
    write_leaderboard,
    write_samples,
)
from evalsuite.leaderboard.judges import judge_summary
from evalsuite.records import Failure, Game, MetricResult, TaskInfo, TaskResult

DATE = "2026-11-23T10-00-00.000000"
WORDS = (
    *("river", "copper", "lantern", "quiet", "window", "harbour", "seven", "engine", "meadow"),
    *("paper", "under", "before", "which", "carries", "stone", "winter", "letter", "garden"),
    *("market", "travels", "between", "morning", "answer", "bright"),
)

TASKS = (
    ("piqa", "commonsense", "multiple_choice", "acc", 0, 2),
    ("winogrande", "commonsense", "multiple_choice", "acc", 0, 2),
    ("arc_easy", "qa", "multiple_choice", "acc_norm", 0, 4),
    ("gsm8k", "math", "generate_until", "exact_match,strict-match", 5, 0),
    ("code_output", "code", "generate_until", "exact_match", 2, 0),
    ("lambada", "language", "loglikelihood", "acc", 0, 0),
)
MANY_TASKS = (
    TASKS
    + tuple(
        (f"{name}_{i}", capability, "multiple_choice", "acc", 5 * i, 4)
        for i in range(3)
        for name, capability in (
            ("mmlu_subject", "qa"),
            ("hellaswag_part", "commonsense"),
            ("reading", "language"),
            ("other_set", "other"),
        )
    )[:11]
)


def sentence(rng: random.Random, n: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(n)).capitalize()


def digest(value: object) -> str:
    return hashlib.sha256(str(value).encode()).hexdigest()


def make_sample(
    rng: random.Random, question: random.Random, kind: tuple[Any, ...], doc: int, skill: float
) -> list[dict[str, Any]]:
    """One item's lines; `question` draws what all models see, `rng` what this one answers."""
    task, _, output, primary, shots, n = kind
    prompt = f"{sentence(question, 14)}?"
    few = "".join(f"Question: {sentence(question, 12)}?\nAnswer: 4\n\n" for _ in range(shots))
    right = rng.random() < skill
    base = {"doc_id": doc, "doc": {"question": prompt}, "doc_hash": digest(prompt)}
    base |= {"prompt_hash": digest(few + prompt), "truncated": int(rng.random() < 0.004)}
    metric = primary.partition(",")[0]
    if output == "multiple_choice":
        options = [" " + sentence(question, 4) for _ in range(n)]
        gold = question.randrange(n)
        best = gold if right else rng.choice([i for i in range(n) if i != gold])
        scores = [-rng.uniform(12, 20) for _ in options]
        scores[best] = -rng.uniform(1, 6)
        context = f"{few}Question: {prompt}\nAnswer:"
        base |= {
            "target": gold,
            "arguments": [(context, option) for option in options],
            "resps": [[(score, i == best)] for i, score in enumerate(scores)],
            "filtered_resps": [(score, i == best) for i, score in enumerate(scores)],
        }
        if task == "winogrande":  # the choice is in the context there, the continuation is shared
            base["arguments"] = [(f"{prompt} because{option}", " was late.") for option in options]
            base["target"] = "was late."
        values = {"acc": float(right), "acc_norm": float(right)}
        return [base | values | {"filter": "none", "metrics": list(values)}]
    if output == "loglikelihood":
        ends = sentence(question, 1).lower()
        pair = (-rng.uniform(0.1, 5), right)
        base |= {"target": ends, "arguments": [(prompt, " " + ends)], "resps": [[pair]]}
        base |= {"filtered_resps": [pair]}
        values = {"acc": float(right), "perplexity": pair[0]}
        return [base | values | {"filter": "none", "metrics": list(values)}]
    target = str(question.randrange(2, 500))
    said = target if right else str(rng.randrange(2, 500))
    words = f" {sentence(rng, 20)}. So the answer is {said}.\n#### {said}"
    base |= {
        "target": target,
        "arguments": [(f"{few}Question: {prompt}\nAnswer:", {"until": ["\n\n"]})],
        "resps": [[words]],
    }
    filters = ("strict-match", "flexible-extract") if "," in primary else ("none",)
    right = said == target
    return [
        base | {"filter": name, "filtered_resps": [said], "metrics": [metric], metric: float(right)}
        for name in filters
    ]


def make_run(
    path: Path,
    models: Sequence[tuple[str, float]],
    tasks: Sequence[tuple[Any, ...]] = TASKS,
    items: int = 200,
    *,
    seed: int = 7,
    note: str = "",
    failures: Sequence[Failure] = (),
    skip: Sequence[tuple[str, str]] = (),
    change: Any = None,
) -> Path:
    """Writes a run; `skip` names (model, task) without a result, `change` edits samples."""
    results, infos, usage = [], {}, {}
    path.mkdir(parents=True, exist_ok=True)
    for name, skill in models:
        for kind in tasks:
            task, capability, output, primary, shots, _ = kind
            info = TaskInfo(task, capability, "1.0", output, shots, primary, f"About {task}.")
            infos[task] = asdict(info)
            if (name, task) in skip:
                continue
            rng = random.Random(f"{name}/{task}/{seed}")
            question = random.Random(f"{task}/{seed}")
            ability = min(0.98, max(0.02, skill + 0.12 * random.Random(task).uniform(-1, 1)))
            lines = [
                line
                for doc in range(items)
                for line in make_sample(rng, question, kind, doc, ability)
            ]
            if change is not None:
                lines = [change(name, task, line) for line in lines]
            lines.sort(key=lambda line: line["filter"], reverse=True)
            write_samples(path, safe_name(name), task, DATE, lines)
            results.append(_result(name, info, lines))
        usage[name] = {
            "requests": 3 * items * len(tasks),
            "from_store": 0,
            "distinct_tokens": 61 * items * len(tasks),
            "total_tokens": 233 * items * len(tasks),
            "new_tokens": 40 * items,
            "seconds": 14.2,
            "packs": 31,
        }
    names = [name for name, _ in models]
    board = aggregate(results, failures, names, seed=seed, times={"seconds": 29.6})
    write_leaderboard(path, board)
    manifest = {
        "schema": 1,
        "evalsuite": "0.1.0",
        "status": "finished",
        "created": "2026-11-23T10:00:00+00:00",
        "finished": "2026-11-23T10:00:30+00:00",
        "command": f"run_eval.py --models {' '.join(names)} --seed {seed}",
        "config": {"models": names, "limit": None, "dtype": "float32", "engine": "torch"},
        "models": [
            {
                "name": name,
                "folder": safe_name(name),
                "source": f"models/{safe_name(name)}",
                "revision": "main",
                "weights_sha256": digest(name),
                "tokenizer_sha256": digest("tokenizer"),
                "parameters": int(800_000 * (1 + skill)),
                "dtype": "float32",
                "device": "cpu",
                "max_length": 512,
                "note": note,
            }
            for name, skill in models
        ],
        "tasks": infos,
        "versions": {"python": "3.11.9", "torch": "2.8.0", "lm_eval": "0.4.13"},
        "hardware": {"cpu": "x86-64", "cores": 2, "memory_bytes": 24 * 2**30, "gpu": None},
        "seed": seed,
        "usage": usage,
        "notes": [],
    }
    (path / "manifest.json").write_text(json.dumps(manifest, indent=2))
    return path


def _result(model: str, info: TaskInfo, lines: Sequence[dict[str, Any]]) -> TaskResult:
    metrics = []
    by_filter: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_filter.setdefault(line["filter"], []).append(line)
    for its, group in by_filter.items():
        for name in group[0]["metrics"]:
            items = tuple(float(line[name]) for line in group)
            share = name != "perplexity"
            metrics.append(
                MetricResult(
                    name if its == "none" else f"{name},{its}",
                    sum(items) / len(items),
                    0.02,
                    share,
                    "share" if share else "perplexity",
                    items if share else None,
                )
            )
    first = next(iter(by_filter.values()))
    ids = tuple(line["doc_hash"] for line in first)
    cut = sum(line["truncated"] for line in first)
    return TaskResult(model, info, tuple(metrics), len(first), ids, cut, 0)


CATEGORIES = ("writing", "math", "reasoning", "extraction")


def add_games(
    path: Path,
    judge: str = "gpt-4",
    questions: int = 20,
    *,
    seed: int = 7,
    say: Any = None,
    texts: bool = True,
    skip: Sequence[frozenset[str]] = (),
) -> Path:
    """Plays games between a run's models, the better one winning more often.

    Every fourth question has two turns; about every fifth pair of orders disagrees, every sixth
    comparison is a tie and every thirtieth reply has no verdict. `say` makes a text of (kind,
    question, words), kind being "question", "answer" or "reply". `skip` names pairs that never
    meet.
    """
    board = read_leaderboard(path)
    names = [model.name for model in board.models]
    skills = {model.name: model.overall.value or 0.5 for model in board.models}
    rng = random.Random(f"games/{seed}")
    say = say or (lambda kind, number, words: words)
    asked: list[dict[str, Any]] = []
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(1, questions + 1):
        turns = 2 if number % 4 == 0 else 1
        own = [say("question", number, f"{sentence(rng, 18)}?") for _ in range(turns)]
        category = CATEGORIES[number % len(CATEGORIES)]
        row = {"question_id": number, "category": category, "turns": own}
        asked.append(row | {"reference": ["The reference says 42."] if number % 3 == 0 else []})
        for name in names:
            said = [say("answer", number, sentence(rng, rng.randint(8, 60))) for _ in own]
            answers[name].append({"question_id": number, "turns": said})
    games = [
        game
        for row in asked
        for turn in range(len(row["turns"]))
        for a, b in itertools.combinations(names, 2)
        if frozenset((a, b)) not in skip
        for game in _two_orders(rng, judge, row, turn, (a, b), skills, answers, say)
    ]
    _write_lines(path / "matches.jsonl", [game.line() for game in games])
    if texts:
        _write_lines(path / "questions.jsonl", asked)
        for name in names:
            _write_lines(path / safe_name(name) / "answers.jsonl", answers[name])
    said_of = judge_summary(games, names, seed=seed)
    models = tuple(replace(m, judges=said_of.models[m.name]) for m in board.models)
    board = replace(board, models=models, pairs=said_of.pairs, judge_audit=said_of.audit)
    write_leaderboard(path, board)
    return path


def _two_orders(
    rng: random.Random,
    judge: str,
    row: dict[str, Any],
    turn: int,
    pair: tuple[str, str],
    skills: dict[str, float],
    answers: dict[str, list[dict[str, Any]]],
    say: Any,
) -> list[Game]:
    a, b = pair
    chance = 1 / (1 + 10 ** (3 * (skills[b] - skills[a])))
    better: str | None = a if rng.random() < chance else b
    if rng.random() < 1 / 6:
        better = None
    games = []
    number = row["question_id"]
    for first, second in ((a, b), (b, a)):
        winner = better
        if judge != "reference" and rng.random() < 0.1:
            winner = first
        invalid = judge != "reference" and rng.random() < 1 / 60
        verdict: Any = "tie" if winner is None else "first" if winner == first else "second"
        shown = [answers[name][number - 1]["turns"][turn] for name in (first, second)]
        words = f"The first answer says: {sentence(rng, 12)}. The second: {sentence(rng, 12)}."
        mark = {"first": "A", "second": "B", "tie": "C"}[verdict]
        reply = say("reply", number, words) + ("" if invalid else f"\n\nVerdict: [[{mark}]]")
        check = judge == "reference"
        won = (float(winner == first), float(winner == second))
        games.append(
            Game(
                question_id=number,
                category=row["category"],
                turn=turn + 1,
                first=first,
                second=second,
                repeat=1,
                judge=judge,
                preset="reference" if check else "pairwise",
                verdict="invalid" if invalid else verdict,
                winner=None if invalid else winner,
                scores=won if check else None,
                raw_reply=None if check else reply,
                tokens={"prompt": 0 if check else 812, "completion": 0 if check else 141},
                cost=0.0 if check else 0.0234,
                key=digest((number, turn, first, second)),
                lengths=(len(shown[0]), len(shown[1])),
                calls=0 if check else 3 if invalid else 1,
                served=None if check else f"{judge}-0613",
            )
        )
    return games


def _write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8", errors="replace")
