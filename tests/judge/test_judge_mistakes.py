"""What users do wrong with a judge, and servers with a reply: one line that helps, nothing lost."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from judge_server import JudgeServer

from evalsuite.cli import main


class Files:
    """Answers of three models to two questions, as files; what they say is `words` of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.questions = folder / "questions.jsonl"
        turns = [["What is a spring?"], ["What is an autumn?", "And a winter?"]]
        rows = [{"question_id": k, "category": "c", "turns": its} for k, its in enumerate(turns)]
        self.questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.answers = []
        for name, words in (("x", "excellent"), ("y", "good"), ("z", "an excellent, excellent")):
            path = folder / f"{name}.jsonl"
            lines = [
                {"question_id": k, "model_id": name, "choices": [{"turns": [words] * len(its)}]}
                for k, its in enumerate(turns)
            ]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
            self.answers.append(str(path))

    def call(self, command: str, judge: str, *flags: str, models: int = 2) -> int:
        out = ["--output", str(self.folder / "run")]
        given = [
            *("--judge-questions", str(self.questions)),
            *("--judge-answers", *self.answers[:models]),
            *("--store", str(self.folder / "store.db"), "--judge", judge),
        ]
        return main([command, *given, *out, *flags])

    @property
    def games(self) -> list[dict[str, Any]]:
        text = (self.folder / "run" / "matches.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--judge-games", "3", "--judge-repeats", "2"], "2 models need 4 games at least"),
        (["--judge-games", "1"], "2 models need 2 games at least"),
        (
            ["--judge-baseline", "x", "--judge-preset", "score"],
            "--judge-baseline: the preset",
        ),
        (["--budget", "nan"], "--budget takes a number, not nan"),
        (["--budget", "inf"], "--budget takes a number, not inf"),
        (["--judge-labels", "gone.jsonl"], "cannot read the labels of --judge-labels gone.jsonl"),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_mistake_is_told_before_anything_is_played(
    files: Files, capsys: pytest.CaptureFixture[str], command: str, flags: list[str], said: str
) -> None:
    with JudgeServer() as server:
        assert files.call(command, f"openai:j@{server.url}", *flags) == 2
        assert not server.requests
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not (files.folder / "run").exists()


def calls_planned(text: str) -> tuple[int, int]:
    """Calls and expected prompt tokens of a judge's line."""
    found = re.search(r"([\d,]+) calls? of .* about ([\d,]+) tokens in", text)
    assert found, text
    calls, tokens = (int(number.replace(",", "")) for number in found.groups())
    return calls, tokens


@pytest.mark.parametrize("flags", [[], ["--judge-repeats", "2"], ["--judge-baseline", "y"]])
def test_a_plan_of_answers_in_files_is_the_run_itself(
    files: Files, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    """All answers are known, so nothing is guessed; equal ones share their calls in both."""
    same = Path(files.answers[2])
    same.write_text(Path(files.answers[0]).read_text().replace('"x"', '"z"'))
    with JudgeServer() as server:
        judge = f"openai:j@{server.url}"
        assert files.call("plan", judge, *flags, models=3) == 0
        planned = capsys.readouterr().out
        assert "guessed" not in planned
        assert not (files.folder / "store.db").exists()
        assert not server.requests
        assert files.call("run", judge, *flags, models=3) == 0
        assert calls_planned(planned) == calls_planned(capsys.readouterr().err)
        assert len(server.requests) == calls_planned(planned)[0]


def test_one_model_alone_is_told_why_nothing_is_judged(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    with JudgeServer() as server:
        assert files.call("run", f"openai:j@{server.url}", models=1) == 0
        assert not server.requests
    said = capsys.readouterr().err
    assert "judges nothing: fewer than two models answered; --judge-preset score" in said


def test_replies_without_any_verdict_are_shown_and_can_be_asked_again(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    with JudgeServer(reply=lambda _: "As a judge,\nI won't say.") as server:
        judge = f"openai:j@{server.url}"
        assert files.call("run", judge) == 4
        said = capsys.readouterr().err
        assert "none of its replies holds a verdict" in said
        assert "I won't say." in said
        assert "--refresh with another --output asks again" in said
        server.reply = lambda _: '{"verdict": "tie"}'
        other = str(files.folder / "other")
        assert files.call("run", judge, "--refresh", "--output", other) == 0
        assert len(server.requests) == 4 * 6  # three attempts each, then one
    (files.folder / "run").rename(files.folder / "first")
    (files.folder / "other").rename(files.folder / "run")
    assert {game["verdict"] for game in files.games} == {"tie"}


def test_a_model_that_changes_is_told_where_the_run_is_watched(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    with JudgeServer(choose=lambda number, _: "as:judge-0002" if number > 3 else "ok") as server:
        assert files.call("run", f"openai:j@{server.url}") == 0
    said = capsys.readouterr().err
    assert "answered j with several models" in said
    assert "judge-0002" in said


def test_labels_of_other_models_are_told_where_the_run_is_watched(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = files.folder / "labels.jsonl"
    labels.write_text('{"question_id": 0, "turn": 1, "a": "x", "b": "nobody", "winner": "x"}')
    with JudgeServer() as server:
        judge = f"openai:j@{server.url}"
        assert files.call("run", judge, "--judge-labels", str(labels)) == 0
    assert "1 of 1 labels are of no comparison" in capsys.readouterr().err


def test_a_reply_in_parts_is_read(files: Files) -> None:
    """Some servers give content as a list of texts, as the protocol allows in what is sent."""
    with JudgeServer(choose=lambda *_: "parts") as server:
        assert files.call("run", f"openai:j@{server.url}") == 0
        assert len(server.requests) == len(files.games) == 6
    assert {game["winner"] for game in files.games} == {"x"}


def test_probabilities_that_say_nothing_are_not_asked_for_again(files: Files) -> None:
    """The same prompt has the same probabilities: asking again could only cost."""
    with JudgeServer(reply=lambda _: {"The": 0.9, "A": 0.1}) as server:
        assert files.call("run", f"openai:j@{server.url}", "--judge-preset", "logprob") == 4
        assert len(server.requests) == len(files.games) == 6
    assert {game["verdict"] for game in files.games} == {"invalid"}


def test_a_broken_reply_is_asked_for_again_under_logprob_too(files: Files) -> None:
    # Two at most: a call that happened to get three of them would be given up.
    with JudgeServer(["garbage"] * 2, reply=lambda _: {"A": 0.5, "B": 0.5}) as server:
        assert files.call("run", f"openai:j@{server.url}", "--judge-preset", "logprob") == 0
        assert len(server.requests) == 6 + 2
    assert {game["verdict"] for game in files.games} == {"tie"}
