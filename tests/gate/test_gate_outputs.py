"""Outputs with hostile names and messages, read back by real parsers; annotations; the page."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from markdown_it import MarkdownIt

import evalsuite
from evalsuite import pipeline
from evalsuite.cli import main
from evalsuite.gate import (
    GateResult,
    ModelSide,
    Side,
    append_step_summary,
    check_critical,
    terminal_lines,
    write_outputs,
)
from evalsuite.gate.escape import command_message, command_property, markdown, xml_text
from evalsuite.gate.junit import to_junit
from evalsuite.gate.outputs import error_lines
from evalsuite.gate.summary import to_markdown
from evalsuite.leaderboard.items import Items
from evalsuite.records import Failure, Leaderboard, UserError
from evalsuite.report import build_report, update_gate
from evalsuite.terminal import one_line

HOSTILE = (
    "a%0Ab",
    "line\r\n::error::owned",
    "x\n::set-env name=PATH::/tmp\n##[add-mask]y",
    "| a | b |\n|---|---|",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[click](javascript:alert(1)) **bold** `code` ~~no~~ # h",
    "http://evil.example www.evil.example me@evil.example",
    "&lt;b&gt; &amp; \\| ]]> <!-- --> $x$",
    "\x00\x07\x1b[31mred\x1b[0m\x7f\x85\u2028\u202eevil\ud800\uffff",
    "- item\n1. one\n---\n> quote",
    "日本 𝄞 ünï",
)


@pytest.fixture(scope="session")
def regressed(shared_runs: dict[str, Path]) -> GateResult:
    result = evalsuite.compare(shared_runs["before"], shared_runs["worse"])
    assert result.exit_code == 1
    return result


def renamed(result: GateResult, text: str) -> GateResult:
    """The same result with `text` for every name and message in it."""
    model = result.models[0]
    lines = tuple(
        dataclasses.replace(one, name=text, reason=text if i % 2 else "")
        for i, one in enumerate(model.lines)
    )
    model = dataclasses.replace(model, name=text, baseline=text, lines=lines)
    said = {"differences": (text,), "failed": (text,), "notes": (text,)}
    return dataclasses.replace(result, baseline=text, run=text, models=(model,), **said)


@pytest.mark.parametrize("text", HOSTILE)
def test_junit_holds_any_text(regressed: GateResult, text: str) -> None:
    suite = ElementTree.fromstring(to_junit(renamed(regressed, text)).encode()).find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    assert len(cases) == int(suite.get("tests") or 0) == 1 + 6 + 2
    assert int(suite.get("failures") or 0) == 7
    assert int(suite.get("errors") or 0) == 2
    named = cases[1].get("name") or ""
    assert named == xml_text(text)
    # What XML can hold came through as it was.
    if not re.search(r"[^\t\n\r -~\u00a0-\ud7ff\U00010000-\U0010ffff]", text):
        assert named == text
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", named)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_any_text_as_it_stands(regressed: GateResult, text: str) -> None:
    parser = MarkdownIt("commonmark", {"html": True})
    parser.enable(["table", "strikethrough"])
    plain, hostile = Tags(), Tags()
    plain.feed(parser.render(to_markdown(renamed(regressed, "harmless"))))
    source = to_markdown(renamed(regressed, text))
    hostile.feed(parser.render(source))
    # The same tables, headings and lists whatever the names are, no link, no element more.
    assert hostile.tags == plain.tags
    assert hostile.links == []
    assert one_line(text) in hostile.text
    # What GitHub links by itself, without brackets.
    assert not re.search(r"https?://|www\.|\w@\w", source)


def commands(line: str) -> bool:
    """Whether GitHub's runner takes a line for a command: `::` first, or `##[` anywhere."""
    return line.lstrip().startswith("::") or "##[" in line


@pytest.mark.parametrize("text", HOSTILE)
def test_error_lines_are_one_line_each(regressed: GateResult, text: str) -> None:
    result = renamed(regressed, text)
    printed = "\n".join(terminal_lines(result, {"GITHUB_ACTIONS": "true"}))
    lines = printed.splitlines()
    errors = [line for line in lines if commands(line)]
    assert errors == error_lines(result)
    assert 0 < len(errors) <= 9
    for line in errors:
        assert re.fullmatch(r"::error title=[^:,\r\n]*::[^\r\n]*", line)
    quiet = list(terminal_lines(result, {}))
    assert not any(commands(line) for one in quiet for line in one.splitlines())
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u202e]", "".join(quiet))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_failure_is_printed_as_one_line(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = (Failure(text, text, "infer", text), Failure("", "", "judge", text))
    outcome = pipeline.Outcome(Path("run"), Path("run/report.html"), Leaderboard((), failed), 4)
    monkeypatch.setattr(pipeline, "run", lambda config: outcome)  # what it prints is the test
    assert main(["run"]) == 4
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("failed: ") and not commands(line) for line in lines)
    assert printed.out == "run/report.html\n"


def test_what_each_escape_writes() -> None:
    assert command_message("50 %\r\n::error::x") == "50 %25%0D%0A::error::x"
    assert command_property("a:b,c%") == "a%3Ab%2Cc%25"
    assert markdown("arc_easy llama-7b") == "arc_easy llama-7b"
    assert markdown("_a_|<b>") == "&#95;a&#95;&#124;&#60;b&#62;"
    assert xml_text("a\x1bb\ud800") == "a\\x1bb\\ud800"
    assert one_line("a\n##[b") == "a # #[b"
    assert len(one_line("x" * 9999)) == 500


def test_nine_errors_at_most_and_the_rest_is_counted(regressed: GateResult) -> None:
    many = dataclasses.replace(regressed, failed=tuple(f"part {i}" for i in range(20)))
    lines = error_lines(many)
    assert len(lines) == 9
    assert "19 more" in lines[-1]  # 7 regressions and 20 failures, 8 of them shown
    assert "mean over tasks" in lines[0]


def test_the_step_summary_is_appended(regressed: GateResult, tmp_path: Path) -> None:
    place = tmp_path / "summary"
    place.write_text("before\n")
    append_step_summary(regressed, {"GITHUB_STEP_SUMMARY": str(place)})
    assert place.read_text() == "before\n" + to_markdown(regressed) + "\n"
    append_step_summary(regressed, {})
    with pytest.raises(evalsuite.UserError, match="GITHUB_STEP_SUMMARY"):
        append_step_summary(regressed, {"GITHUB_STEP_SUMMARY": str(tmp_path)})


def test_the_command_under_github_actions(
    shared_runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    out = tmp_path / "out"
    places = [str(shared_runs["before"]), str(shared_runs["worse"])]
    assert main(["compare", *places, "--output", str(out)]) == 1
    printed = capsys.readouterr().out.splitlines()
    errors = [line for line in printed if line.startswith("::error")]
    assert len(errors) == 7
    assert (tmp_path / "step.md").read_text().strip() == (out / "summary.md").read_text().strip()
    assert {path.name for path in out.iterdir()} == {"gate.json", "junit.xml", "summary.md"}


def test_the_files_can_be_written_again_and_are_the_same(
    regressed: GateResult, tmp_path: Path
) -> None:
    hostile = renamed(regressed, HOSTILE[8])
    write_outputs(hostile, tmp_path / "a")
    write_outputs(hostile, tmp_path / "b")
    for name in ("gate.json", "junit.xml", "summary.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    said = json.loads((tmp_path / "a" / "gate.json").read_text())
    assert said["exit_code"] == 1


def test_a_summary_that_cannot_be_written_hides_no_regression(
    small_run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before, after = small_run("before"), small_run("after", models=[("llama", 0.1)])
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere" / "summary"))
    assert main(["compare", str(before), str(after)]) == 1
    assert "GITHUB_STEP_SUMMARY" in capsys.readouterr().err
    assert main(["compare", str(before), str(before)]) == 4


def test_a_critical_task_that_is_unknown_is_told_in_one_line(regressed: GateResult) -> None:
    items = Items(np.array(["00"]), np.array([1.0]), None, {})
    side = Side("s", (ModelSide("m", {"\n::error::pwn\r##[error]x": items}),), {})
    with pytest.raises(UserError, match="--critical gsm9k") as told:
        check_critical(side, ["gsm9k"])
    assert not set("\r\n") & set(str(told.value))
    assert "##[" not in str(told.value)


def test_the_page_of_a_compared_run_has_the_verdict(small_run: Any) -> None:
    before, after = small_run("before"), small_run("after<b>", models=[("llama", 0.1)])
    assert main(["compare", str(before), str(after)]) == 1
    page = (after / "report.html").read_text()
    assert 'id="gate"' in page
    assert "The run after&lt;b&gt; has regressed against before." in page
    assert "<b>regressed</b>" in page
    (after / "gate.json").write_text('{"headline": 3}')
    with pytest.raises(evalsuite.UserError, match=r"gate\.json: damaged"):
        build_report([after])


def test_the_section_is_put_into_the_page_that_is_there(small_run: Any) -> None:
    before, after = small_run("before"), small_run("after<b>", models=[("llama", 0.1)])
    other = small_run("other", items=59)
    page = build_report([after])
    alone = page.read_bytes()
    for baseline in (before, other, before):
        assert main(["compare", str(baseline), str(after)]) in (1, 2)
        updated = page.read_bytes()
        assert updated != alone
        assert build_report([after]).read_bytes() == updated
    (after / "gate.json").unlink()
    assert update_gate(after).read_bytes() == alone
    # The rest is left as it is: that is why it is quick.
    page.write_bytes(alone.replace(b"<h2", b"<h2 data-left", 1))
    assert main(["compare", str(before), str(after)]) == 1
    assert b"<h2 data-left" in page.read_bytes()
    assert b'id="gate"' in page.read_bytes()


@pytest.mark.parametrize("page", [None, b"", b"<p>no places</p>", b"\xff"])
def test_a_page_without_places_for_the_gate_is_built(small_run: Any, page: bytes | None) -> None:
    run = small_run("run")
    if page is not None:
        (run / "report.html").write_bytes(page)
    assert main(["compare", str(small_run("before")), str(run)]) == 0
    found = (run / "report.html").read_bytes()
    assert b'id="gate"' in found
    assert build_report([run]).read_bytes() == found
