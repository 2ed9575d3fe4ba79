"""Reads alpaca_eval's judgments: its annotations.json, or a table of preferences with lengths.

A preference lies between 1 (the baseline) and 2 (the model); 0 and 1.5 are draws, an empty one is
no verdict. The baseline is always the first output, in one order only. Knows this format only.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from pathlib import Path
from typing import Any

from evalsuite.importing.published import Published, Repeats, in_order, published_game
from evalsuite.judge import Answer, Question
from evalsuite.reading import parse_json, read_text
from evalsuite.records import Game, UserError, Verdict

PRESET = "alpaca-eval"
BASELINE = "baseline"
_COLUMNS = ("judge", "model", "i", "pref", "l1", "l2")
_ONE_ORDER = (
    "each pair was judged in one order only, drawn at random by the library and not kept, so what "
    "the first place is worth can't be told"
)


def read_alpaca_eval(path: Path) -> Published:
    """The judgments of an annotations.json, of all of them below a folder, or of a table.

    The table is a CSV (also .gz) with the columns judge, model, i (instruction), pref, l1, l2
    (characters of the baseline's and the model's output).

    Raises:
        UserError: no such file, or a damaged one.
    """
    if path.is_dir():
        files = sorted(path.glob("**/annotations.json")) or sorted(path.glob("preferences.csv*"))
        if not files:
            raise UserError(f"{path}: no annotations.json below it and no preferences.csv in it")
    elif path.is_file():
        files = [path]
    else:
        raise UserError(f"{path}: no such file; name an annotations.json, its folder, or a table")
    if files[0].suffix == ".json":
        return _annotations(files)
    return _table(files[0])


def _table(path: Path) -> Published:
    games: list[Game] = []
    repeats = Repeats()
    lines = csv.reader(io.StringIO(_text(path)))
    header = next(lines, [])
    if tuple(header) != _COLUMNS:
        raise UserError(f"{path}: its columns must be {', '.join(_COLUMNS)}")
    for number, line in enumerate(lines, start=2):
        where = f"{path}, line {number}"
        try:
            judge, model, index, preference, *lengths = line
            question, (baseline, own) = int(index), (int(length) for length in lengths)
            value = float(preference) if preference else None
        except ValueError as error:
            raise UserError(f"{where}: not a row of the table ({error})") from error
        games.append(
            _game(
                where,
                question,
                "general",
                BASELINE,
                model,
                judge,
                value,
                (baseline, own),
                repeats.next(judge, model, question),
            )
        )
    if not games:
        raise UserError(f"{path}: no row in it")
    return Published(
        models=in_order([name for game in games for name in game.models]),
        sources=(path,),
        games=tuple(games),
        places_known=False,
        notes=(
            _ONE_ORDER,
            f"the table does not name the baseline, which may differ between judges: {BASELINE!r}",
        ),
    )


def _annotations(files: list[Path]) -> Published:
    games: list[Game] = []
    number: dict[str, int] = {}  # instructions, the same in all files
    category: dict[int, str] = {}
    answers: dict[str, dict[int, str]] = {}
    repeats = Repeats()
    for path in files:
        for place, row in enumerate(_list(path)):
            where = f"{path}, entry {place}"
            texts = [
                row.get(key) if isinstance(row, dict) else None
                for key in ("instruction", "generator_1", "output_1", "generator_2", "output_2")
            ]
            if not all(isinstance(text, str) for text in texts):
                raise UserError(f"{where}: no annotation in alpaca_eval's format")
            instruction, one, output_1, two, output_2 = (str(text) for text in texts)
            question = number.setdefault(instruction, len(number))
            category.setdefault(question, str(row.get("dataset") or "general"))
            judge = str(row.get("annotator") or path.parent.name)
            for model, output in ((one, output_1), (two, output_2)):
                answers.setdefault(model, {}).setdefault(question, output)
            value = row.get("preference")
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int | float)
            ):
                raise UserError(f"{where}: preference is no number")
            price = row.get("price_per_example")
            raw = row.get("raw_completion")
            games.append(
                _game(
                    where,
                    question,
                    category[question],
                    one,
                    two,
                    judge,
                    value,
                    (len(output_1), len(output_2)),
                    repeats.next(judge, one, two, question),
                    raw if isinstance(raw, str) else json.dumps(raw) if raw else None,
                    float(price) if isinstance(price, int | float) else None,
                )
            )
    if not games:
        raise UserError(f"{files[0]}: no annotation in it")
    return Published(
        models=in_order([name for game in games for name in game.models]),
        sources=tuple(files),
        games=tuple(games),
        questions=tuple(
            Question(k, category[k], (instruction,)) for instruction, k in number.items()
        ),
        answers={
            model: [Answer(k, (text,)) for k, text in its.items()] for model, its in answers.items()
        },
        places_known=False,
        notes=(_ONE_ORDER,),
    )


def _game(
    where: str,
    question: int,
    category: str,
    baseline: str,
    model: str,
    judge: str,
    value: float | None,
    lengths: tuple[int, int],
    repeat: int,
    raw: str | None = None,
    cost: float | None = None,
) -> Game:
    if baseline == model:
        raise UserError(f"{where}: {model} was compared with itself")
    verdict: Verdict = "invalid"
    preference = None
    if value is not None and not math.isnan(value):
        if value != 0 and not 1 <= value <= 2:
            raise UserError(f"{where}: a preference is 0 or between 1 and 2, not {value:g}")
        preference = 0.5 if value == 0 else 2 - value
        verdict = "tie" if preference == 0.5 else "first" if preference > 0.5 else "second"
    return published_game(
        question,
        category,
        baseline,
        model,
        verdict,
        judge=judge,
        preset=PRESET,
        lengths=lengths,
        repeat=repeat,
        raw_reply=raw,
        preference=preference,
        cost=cost,
    )


def _text(path: Path) -> str:
    if path.suffix != ".gz":
        return read_text(path, "the preferences")
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the preferences {path}: {error}") from error


def _list(path: Path) -> list[Any]:
    loaded = parse_json(read_text(path, "the annotations"), str(path))
    if not isinstance(loaded, list):
        raise UserError(f"{path}: a list of annotations is wanted")
    return loaded
