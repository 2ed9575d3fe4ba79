"""Where a comparison goes: gate.json, junit.xml, summary.md, GitHub's summary and its error lines.

Knows files and GitHub's environment variables; what is said is made by junit, summary and words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evalsuite.files import write_atomically
from evalsuite.gate.escape import command_message, command_property
from evalsuite.gate.junit import to_junit
from evalsuite.gate.records import REGRESSED, GateResult
from evalsuite.gate.summary import to_markdown
from evalsuite.gate.words import headline, regressions, sentence
from evalsuite.records import UserError
from evalsuite.terminal import one_line

SCHEMA = 1
FILES = ("gate.json", "junit.xml", "summary.md")
MOST_ERRORS = 9  # GitHub shows ten annotations a step; the tenth is its own about the exit code


def to_json(result: GateResult) -> dict[str, Any]:
    """What gate.json holds: the records, and the headline in words."""
    return {"schema": SCHEMA, "headline": headline(result), **asdict(result)}


def write_outputs(result: GateResult, folder: Path) -> None:
    """Writes gate.json, junit.xml and summary.md into a folder, which is made if need be.

    Raises:
        UserError: the folder or a file can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: can't be made ({error.strerror})") from error
    text = json.dumps(to_json(result), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / "gate.json", text + "\n")
    write_atomically(folder / "junit.xml", to_junit(result))
    write_atomically(folder / "summary.md", to_markdown(result))


def remove_outputs(folder: Path) -> None:
    """Takes an earlier comparison out of a run's folder, whose numbers have changed since."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def append_step_summary(result: GateResult, environment: Mapping[str, str] = os.environ) -> None:
    """Appends summary.md to the file that GitHub names in GITHUB_STEP_SUMMARY, if it does.

    Raises:
        UserError: that file can't be written.
    """
    place = environment.get("GITHUB_STEP_SUMMARY")
    if not place:
        return
    try:
        with Path(place).open("a", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(to_markdown(result) + "\n")
    except OSError as error:
        raise UserError(f"GITHUB_STEP_SUMMARY, {place}: {error.strerror}", exit_code=4) from error


def terminal_lines(
    result: GateResult, environment: Mapping[str, str] = os.environ
) -> Iterator[str]:
    """What the command prints: the headline, what stands behind it, GitHub's errors under Actions.

    At most nine `::error` lines. No other line can be taken for a command of GitHub's runner.
    """
    yield f"gate: {one_line(headline(result))}"
    for difference in result.differences:
        yield f"  differs: {one_line(difference)}"
    for model in result.models:
        yield f"  {one_line(model.name)}: {model.verdict}"
        for line in (*([model.mean] if model.mean else ()), *model.lines):
            if line.kind == "mean" or line.critical or line.verdict == REGRESSED:
                name, said = one_line(line.name), one_line(sentence(line))
                yield f"    {name}: {line.verdict}: {said}"
    for failed in result.failed:
        yield f"  failed: {one_line(failed)}"
    for note in result.notes:
        yield f"  note: {one_line(note)}"
    if environment.get("GITHUB_ACTIONS") == "true":
        yield from error_lines(result)


def error_lines(result: GateResult) -> list[str]:
    """GitHub's `::error` lines, nine at most: what differs, what regressed, what failed.

    Under --strict a gate that is not shown to hold is one too. When there are more than nine, the
    last line counts the rest.
    """
    found = [("not comparable", difference) for difference in result.differences]
    for model, line in regressions(result):
        found.append((f"{line.name} regressed", f"{model.name}, {line.name}: {sentence(line)}"))
    found += [("failed", failed) for failed in result.failed]
    if not found and result.exit_code:
        found = [(str(result.verdict), headline(result))]
    lines = [_error(title, text) for title, text in found[:MOST_ERRORS]]
    if len(found) > MOST_ERRORS:
        rest = len(found) - MOST_ERRORS + 1
        lines[-1] = _error("more", f"{rest} more; see gate.json")
    return lines


def _error(title: str, text: str) -> str:
    title, text = one_line(title, 100), one_line(text)
    return f"::error title={command_property(title)}::{command_message(text)}"
