"""A run's files: leaderboard.json, leaderboard.csv and samples are written and read here.

The one place that knows where a run's numbers, samples and judged games lie in its folder. Knows
the records and json; knows nothing of engines, tasks or pages. Every file is written beside itself
and renamed, so that a reader or a kill never meets half of one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np

from evalsuite.files import safe_name, write_atomically
from evalsuite.leaderboard.forms import from_json, to_csv, to_json
from evalsuite.records import Game, Leaderboard, UserError, Verdict

SCHEMA = 1
_Line = TypeVar("_Line")
_SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT.+)\.jsonl")


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question of the judged games; `reference` has one text a turn ("" where there is none)."""

    category: str
    turns: tuple[str, ...]
    reference: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A run on disk. `manifest` is its manifest.json as it stands, {} when there is none."""

    path: Path
    leaderboard: Leaderboard
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def samples(self, model: str, task: str) -> Iterator[dict[str, Any]]:
        """The samples of a model's task in lm-eval's form, line by line; none if there is no file.

        A task that stands for several of lm-eval's has theirs, one after the other, with the
        member's name in `doc_id`, which is unique in each member only.

        Raises:
            UserError: a line that is no JSON.
        """
        for member, path in self.samples_files(model, task):
            for line in _lines(path, "sample", _object):
                doc = line.get("doc_id")
                yield {**line, "doc_id": f"{member} {doc}"} if member else line

    def samples_files(self, model: str, task: str) -> list[tuple[str, Path]]:
        """(member, file) of a model's task: each member's that has one, or the task's under ""."""
        known = (self.manifest.get("tasks") or {}).get(task) or {}
        members = known.get("members") or ()
        found = [(str(m), self.samples_file(model, m)) for m in members]
        if not members:
            found = [("", self.samples_file(model, task))]
        return [(member, path) for member, path in found if path is not None]

    def samples_file(self, model: str, task: str) -> Path | None:
        """Where the samples of a model's task are: the newest file, None without one."""
        found = {
            match["date"]: path
            for path in self._folder(model).glob("samples_*.jsonl")
            if (match := _SAMPLES.fullmatch(path.name)) and match["task"] == safe_name(task)
        }
        return found[max(found)] if found else None

    def games(self) -> Iterator[Game]:
        """The judged games, in the order in which they were written; none without matches.jsonl.

        Raises:
            UserError: a line that is no game.
        """
        return _lines(self.path / "matches.jsonl", "game", _game)

    def questions(self) -> dict[str, AskedQuestion]:
        """The judged games' questions by their id as text; {} when they were not kept.

        Raises:
            UserError: a line that is no question.
        """
        return dict(_lines(self.path / "questions.jsonl", "question", _question))

    def gate(self) -> dict[str, Any]:
        """What gate.json says of a comparison of this run with a baseline; {} without one.

        Raises:
            UserError: it can't be read.
        """
        path = self.path / "gate.json"
        return _read_json(path) if path.is_file() else {}

    def answers(self, model: str) -> dict[str, tuple[str, ...]]:
        """What a model answered to them, one text a turn; {} when it was not kept.

        Raises:
            UserError: a line that is no answer.
        """
        return dict(_lines(self._folder(model) / "answers.jsonl", "answer", _answer))

    def _folder(self, model: str) -> Path:
        listed = self.manifest.get("models") or ()
        folders = [m.get("folder") for m in listed if m.get("name") == model and m.get("folder")]
        return self.path / (folders[0] if folders else safe_name(model))


# ---- writing ------------------------------------------------------------------------------------


def write_leaderboard(run_dir: Path, leaderboard: Leaderboard) -> None:
    """Writes leaderboard.json and leaderboard.csv. The same leaderboard gives the same bytes."""
    run_dir.mkdir(parents=True, exist_ok=True)
    text = json.dumps(to_json(leaderboard), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(run_dir / "leaderboard.json", text + "\n")
    write_atomically(run_dir / "leaderboard.csv", to_csv(leaderboard))


def write_samples(
    run_dir: Path, folder: str, task: str, date: str, samples: Iterable[Mapping[str, Any]]
) -> Path:
    """Writes `folder`/samples_`task`_`date`.jsonl in the form of lm-eval's own files.

    `samples` are lm-eval's dictionaries as its evaluator hands them out (`arguments` a list of
    tuples); those that already have the file's form pass unchanged. `date` is ISO with colons as
    hyphens, as lm-eval writes it. Returns the path.
    """
    path = run_dir / folder / f"samples_{safe_name(task)}_{date}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (
        json.dumps(_file_form(sample), ensure_ascii=False, default=_plain) + "\n"
        for sample in samples
    )
    write_atomically(path, lines)
    return path


def _file_form(sample: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(sample.get("arguments"), Mapping):
        return dict(sample)
    arguments = {
        f"gen_args_{i}": {f"arg_{j}": argument for j, argument in enumerate(request)}
        for i, request in enumerate(sample.get("arguments", ()))
    }
    return {
        **sample,
        "arguments": arguments,
        "resps": _strings(sample.get("resps")),
        "filtered_resps": _strings(sample.get("filtered_resps")),
        "target": str(sample.get("target")),
    }


def _strings(value: Any) -> Any:
    """lm-eval writes every number of a response as a string, so that a column has one type."""
    return [_strings(part) for part in value] if isinstance(value, list | tuple) else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return sorted(value, key=str) if isinstance(value, set | frozenset) else str(value)


# ---- reading ------------------------------------------------------------------------------------


def load_run(run_dir: Path | str) -> Run:
    """A run's leaderboard and manifest, its samples when asked.

    Raises:
        UserError: no such folder, no run in it, one that has not finished, or a damaged file.
    """
    path = Path(run_dir)
    return Run(path, read_leaderboard(path), _read_manifest(path))


def read_leaderboard(run_dir: Path | str) -> Leaderboard:
    """leaderboard.json as records.

    Raises:
        UserError: as load_run.
    """
    folder = Path(run_dir)
    path = folder / "leaderboard.json"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name the folder of a run")
    if not path.is_file():
        if (folder / "manifest.json").is_file():
            raise UserError(
                f"{folder}: the run has not finished (no leaderboard.json); "
                "start the same command again to go on with it"
            )
        raise UserError(f"{folder}: not the folder of a run (no leaderboard.json)")
    data = _read_json(path)
    if data.get("schema") != SCHEMA:
        raise UserError(
            f"{path}: schema {data.get('schema')!r}, this version of evalsuite reads {SCHEMA}"
        )
    try:
        return from_json(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: damaged or not a leaderboard ({error!r})") from error


def _lines(path: Path, what: str, read: Callable[[Any], _Line]) -> Iterator[_Line]:
    """Every line of a file read as JSON and then by `read`; nothing when there is no file."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield read(json.loads(line))
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{path}, line {number}: no {what} ({error})") from error


def _game(line: Any) -> Game:
    game = Game.from_line(_object(line))
    names = (game.judge, game.preset, game.category, *game.models)
    if not all(isinstance(name, str) for name in names):
        raise ValueError("judge, preset, category, first and second must be texts")
    if game.verdict not in get_args(Verdict):
        raise ValueError(f"{game.verdict!r} is no verdict")
    if not isinstance(game.question_id, int | str):
        raise ValueError("question_id must be a number or a text")
    if not isinstance(game.tokens, dict) or len(game.lengths or ()) != 2:
        raise ValueError("tokens must be an object, lengths two numbers")
    return game


def _question(line: Any) -> tuple[str, AskedQuestion]:
    its = _object(line)
    asked = AskedQuestion(
        str(its["category"]), _texts(its["turns"]), _texts(its.get("reference") or ())
    )
    return str(its["question_id"]), asked


def _answer(line: Any) -> tuple[str, tuple[str, ...]]:
    its = _object(line)
    return str(its["question_id"]), _texts(its["turns"])


def _object(line: Any) -> dict[str, Any]:
    if not isinstance(line, dict):
        raise ValueError("it holds no JSON object")
    return line


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ValueError("one text where there should be a list of them")
    return tuple(str(text) for text in value)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    return _read_json(path) if path.is_file() else {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: can't be read ({error})") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: damaged, it holds no JSON object")
    return data
