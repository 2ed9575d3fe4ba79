"""What pairing two runs takes: a task's items by key, their scores, and what they were asked.

Reads a run's samples and games. Texts stay behind: of prompts, targets and decoding only a digest
leaves here. Knows no other run: what two of them have in common is the gate's to say.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evalsuite.leaderboard.decisions import Outcome, decide
from evalsuite.leaderboard.files import Run
from evalsuite.records import TaskScore

KEY_LENGTH = 14  # hexadecimal digits: two of a million items share one once in 140,000 runs
NOT_A_MEAN = "is not a mean over items"  # the metric's nature, and nothing amiss
# The fields under which data sets keep the text that several questions are about.
PASSAGES = ("passage", "article", "context", "paragraph", "story")
_POINTS: Mapping[Outcome, float] = {"a": 1.0, "tie": 0.5, "b": 0.0, "invalid": math.nan}


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """A task's items under its main metric, sorted by key; fields [n].

    `scores` is nan where an item was lost to an error. `groups` numbers the passages when items
    share some, else None. `asked` says what the numbers depend on besides the model: {"metric",
    "version", "prompts", …} to a value or a digest; two runs with an equal one can be compared.
    `unit` and `higher_is_better` are the metric's.
    """

    keys: NDArray[np.str_]
    scores: NDArray[np.float64]
    groups: NDArray[np.int64] | None
    asked: Mapping[str, str]
    unit: str = "share"
    higher_is_better: bool = True

    @property
    def lost(self) -> int:
        return int(np.isnan(self.scores).sum())


def task_items(run: Run, model: str, task: str, score: TaskScore) -> Items | str:
    """The items of a model's task, or in words why they can't be compared one by one.

    An item's key is the hash of its document, with a count for a document that stands several
    times. Samples of one item (k of them) are one number already: the metric's for that item.

    Raises:
        UserError: a damaged samples file.
    """
    metric, _, wanted = score.primary.partition(",")
    known = _known(run, task)
    members = known.get("members") or ()
    seen: Counter[str] = Counter()
    rows: list[tuple[str, float, str, str, str, str, bool]] = []
    for sample in run.samples(model, task):
        if str(sample.get("filter", "none")) != (wanted or "none"):
            continue
        member = str(sample.get("doc_id", "")).rpartition(" ")[0] if members else ""
        name = f"{member} {sample.get('doc_hash') or json.dumps(sample.get('doc'), default=str)}"
        seen[name] += 1
        value = sample.get(metric)
        lost = "error" in sample
        if not lost and not isinstance(value, bool | int | float):
            return f"{score.primary} has no number for each item"
        prompt, decoding = _asked(sample)
        rows.append(
            (
                _digest(f"{name} {seen[name]}")[:KEY_LENGTH],
                math.nan if lost else float(value),  # type: ignore[arg-type]
                _passage(sample.get("doc")),
                prompt,
                str(sample.get("target_hash", sample.get("target", ""))),
                decoding,
                lost,
            )
        )
    if not rows:
        return "no samples were kept"
    rows.sort(key=lambda row: row[0])
    scores = np.array([row[1] for row in rows])
    # Only an error loses an item: a metric that is no number says something of the model.
    if not np.isfinite(scores[[not row[6] for row in rows]]).all():
        return f"{score.primary} is not finite for every item"
    its = score.metrics[score.primary]
    if its.unit != "share" and not _is_mean(its.value, scores):
        return f"{score.primary} {NOT_A_MEAN}"
    asked = {
        "metric": score.primary,
        "metric version": str(known.get("version", "")),
        "examples": str(known.get("num_fewshot", "")),
        "prompts": _digest("\n".join(row[3] for row in rows)),
        "targets": _digest("\n".join(row[4] for row in rows)),
        "decoding": _digest("\n".join(row[5] for row in rows)),
    }
    groups = _numbered([row[2] or row[0] for row in rows])
    keys = np.array([row[0] for row in rows])
    return Items(keys, scores, groups, asked, its.unit, its.higher_is_better)


def items_basis(run: Run, task: str, score: TaskScore) -> str:
    """A digest of all that task_items takes from elsewhere than the samples."""
    its = score.metrics[score.primary]
    told = [score.primary, its.unit, its.higher_is_better, its.value, _known(run, task)]
    return _digest(json.dumps(told, sort_keys=True, default=str))


def judged_items(run: Run) -> dict[str, dict[str, dict[str, Items]]]:
    """{model: {judge: {opponent: items}}}: a model's points by question, ties half.

    An item is a question: turns and repeats are averaged. A question whose verdicts are all invalid
    is lost. An opponent is called by its name and the beginning of its weights' hash, so that
    another model of the same name is another opponent.

    Raises:
        UserError: a damaged file of games or questions.
    """
    games = list(run.games())
    questions = run.questions() if games else {}
    about = {
        m.get("name"): m.get("weights_sha256") or m.get("sha256")
        for m in run.manifest.get("models") or ()
    }
    points: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(dict)
    for one in decide(games):
        asked = questions.get(str(one.question_id))
        key = _digest(json.dumps([str(one.question_id), asked.turns if asked else None]))
        value = _POINTS[one.outcome]
        for model, opponent, own in ((one.a, one.b, value), (one.b, one.a, 1 - value)):
            weights = str(about.get(opponent) or "")[:8]
            name = f"{opponent} ({weights})" if weights else opponent
            rows = points[model, one.judge, name]
            rows.setdefault(key[:KEY_LENGTH], []).append(own)
    protocol: dict[str, dict[str, str]] = {}
    words = {
        one.get("judge"): str(one.get("prompts_sha256") or "")
        for one in (run.manifest.get("judging") or {}).get("judges") or ()
    }
    for judge in dict.fromkeys(game.judge for game in games):
        its = [game for game in games if game.judge == judge]
        protocol[judge] = {
            "judge's model": ", ".join(sorted({game.served for game in its if game.served})),
            "judge's preset": ", ".join(sorted({game.preset for game in its})),
            # A preset's name says nothing of its words, least of all one read from a file.
            "judge's prompts": words.get(judge, "")[:12],
        }
    found: dict[str, dict[str, dict[str, Items]]] = {}
    for (model, judge, opponent), rows in points.items():
        keys = sorted(rows)
        scores = np.array([_mean_known(rows[key]) for key in keys])
        items = Items(np.array(keys), scores, None, protocol[judge])
        found.setdefault(model, {}).setdefault(judge, {})[opponent] = items
    return found


def _known(run: Run, task: str) -> Mapping[str, Any]:
    """What the manifest says of a task."""
    return (run.manifest.get("tasks") or {}).get(task) or {}


def _mean_known(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _asked(sample: Mapping[str, Any]) -> tuple[str, str]:
    """Digests of a sample's prompts (with the choices) and of how its answer was decoded."""
    prompts, decoding = hashlib.sha256(), hashlib.sha256()
    arguments = sample.get("arguments") or {}
    for request in arguments.values() if isinstance(arguments, Mapping) else ():
        for part in request.values() if isinstance(request, Mapping) else (request,):
            if isinstance(part, str):
                prompts.update(part.encode(errors="replace") + b"\0")
            else:
                decoding.update(json.dumps(part, sort_keys=True, default=str).encode() + b"\0")
    prompts.update(str(sample.get("prompt_hash", "")).encode())
    return prompts.hexdigest(), decoding.hexdigest()


def _passage(doc: Any) -> str:
    if isinstance(doc, Mapping):
        for field in PASSAGES:
            if isinstance(doc.get(field), str) and doc[field].strip():
                return _digest(doc[field])
    return ""


def _numbered(names: list[str]) -> NDArray[np.int64] | None:
    """The group of each item by number, in order of first use; None when all are alone."""
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    if len(places) == len(names):
        return None
    return np.array([places[name] for name in names], np.int64)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _is_mean(value: float, scores: NDArray[np.float64]) -> bool:
    """Whether the metric's value is its items' mean: lm-eval computes some otherwise."""
    known = scores[~np.isnan(scores)]
    return known.size > 0 and math.isclose(value, known.mean(), rel_tol=1e-9, abs_tol=1e-9)
