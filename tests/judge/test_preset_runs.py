"""Whole runs with each preset, behind a server and on this machine: files, numbers, page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from fastchat_file import write_prompts
from judge_server import JudgeServer
from literal_judges import JUDGES

from evalsuite.cli import main
from evalsuite.leaderboard import load_run

SMALL = ("--tasks", "starter_commonsense", "--limit", "2", "--progress", "none")
FLAGS = {
    **{name: ("--judge-preset", name) for name in list(JUDGES)[:5]},
    "pair-v2": ("--judge-prompts", "PROMPTS"),
    "single-v1": ("--judge-preset", "score", "--judge-prompts", "PROMPTS"),
}
QUESTIONS = [
    {"question_id": 1, "category": "math", "turns": ["Question: What is 2 + 2?\nAnswer:"]},
    {"question_id": 2, "category": "knowledge", "turns": ["Question: What is hot?\nAnswer:"]},
    {"question_id": 3, "category": "knowledge", "turns": ["Say hello.", "And goodbye."]},
]
TURNS = 4


def run(place: Path, name: str, judge: str, *flags: str) -> int:
    questions, prompts = place / "questions.jsonl", place / "prompts.jsonl"
    questions.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))
    write_prompts(prompts)
    how = [str(prompts) if flag == "PROMPTS" else flag for flag in FLAGS[name]]
    where = ("--output", str(place / "run"), "--store", str(place / "store.db"))
    asked = ("--judge", judge, "--judge-questions", str(questions))
    return main(["run", *SMALL, *asked, *how, *where, *flags])


def games(place: Path) -> list[dict[str, Any]]:
    lines = (place / "run" / "matches.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def words(place: Path) -> str:
    return (place / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FLAGS)
def test_a_run_ends_in_the_numbers_of_its_protocol(tmp_path: Path, name: str) -> None:
    """This judge counts how often an answer says "excellent", which the demo models never do."""
    replies = JUDGES[name]

    def judge(messages: Any) -> Any:
        if name in ("score", "single-v1"):
            return "Fine.\n" + ("Rating: [[7]]" if name == "single-v1" else '{"score": 7}')
        return replies(messages)

    with JudgeServer(reply=judge) as server:
        assert run(tmp_path, name, f"openai:judge@{server.url}") == 0
        asked = len(server.requests)
    played = games(tmp_path)
    alone = name in ("score", "single-v1")
    assert len(played) == TURNS * (1 if name == "vicuna-2023" else 2)
    assert {game["preset"] for game in played} == {name}
    assert {game["verdict"] for game in played} == {"tie"}
    assert asked <= len(played)  # equal answers share a call
    board = json.loads((tmp_path / "run" / "leaderboard.json").read_text())
    numbers = [next(iter(model["judges"].values())) for model in board["models"]]
    page = words(tmp_path)
    if alone:
        assert board["pairs"] == []
        for its in numbers:
            assert its["score"] == {"value": 7.0, "ci": [7.0, 7.0], "n": TURNS}
            assert its["score_categories"]["knowledge"]["n"] == 3
            assert (its["marked"], its["unmarked"]) == (TURNS, 0)
        assert "read each answer by itself" in page
        assert "Mean score" in page
        assert "Same verdict in both orders" not in page
    else:
        [pair] = board["pairs"]
        assert (pair["ties"], pair["wins_a"], pair["wins_b"]) == (TURNS, 0, 0)
        assert [its["win_rate"] for its in numbers] == [0.5, 0.5]
        assert ("answers once, in one order" in page) == (name == "vicuna-2023")
        assert ("share of the win" in page or "whole win" in page) == (
            name in ("five-level", "logprob")
        )
    if name == "vicuna-2023":
        assert (pair["score_a"], pair["score_b"], pair["score_ratio"]) == (TURNS, TURNS, 1.0)
        assert "100.0 %" in page
    assert main(["report", str(tmp_path / "run")]) == 0


def test_the_plan_counts_the_calls_of_a_preset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS))
    for name, calls in (("pairwise", 8), ("vicuna-2023", 4), ("score", 8), ("logprob", 8)):
        asked = ("--judge", "openai:judge@http://127.0.0.1:1", "--judge-preset", name)
        assert main(["plan", *SMALL, *asked, "--judge-questions", str(questions)]) == 0
        assert f"judging: {calls} calls of" in capsys.readouterr().out


def test_one_model_is_enough_where_answers_are_scored_alone(tmp_path: Path) -> None:
    with JudgeServer(reply=lambda _: '{"score": 8.5}') as server:
        judge = f"openai:judge@{server.url}"
        assert run(tmp_path, "score", judge, "--models", "demo-small") == 0
    assert [game["scores"] for game in games(tmp_path)] == [[8.5]] * TURNS
    assert "demo-small has a mean score of 8.50." in words(tmp_path)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--judge-preset", "nope"), "no judge preset 'nope'; there are: pairwise, five-level"),
        (("--judge-preset", "score"), "--judge reference asks none"),
        (("--judge-prompts", "PROMPTS"), "--judge reference asks none"),
        (
            ("--judge-preset", "logprob", "--judge-prompts", "PROMPTS", "--judge", "local:x"),
            "--judge-prompts goes with --judge-preset pairwise or score",
        ),
        (("--judge-prompts", "gone.jsonl"), "cannot read the judge's prompts gone.jsonl"),
    ],
)  # fmt: skip
def test_presets_and_prompts_that_do_not_fit_are_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], said: str
) -> None:
    prompts = write_prompts(tmp_path / "prompts.jsonl")
    given = [str(prompts) if flag == "PROMPTS" else flag for flag in flags]
    assert main(["run", *SMALL, *given, "--output", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()


# ---- a judge on this machine --------------------------------------------------------------------


@pytest.mark.parametrize("name", FLAGS)
def test_a_local_judge_is_asked_by_every_preset(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo models know nothing of judging: what they say is no verdict, and counted so.

    Most of these prompts are longer than their context, and a game that was cut has none either.
    """
    assert run(tmp_path, name, "local:demo-small", "--template", "zero_shot") == 4
    assert "none of its replies holds a verdict" in capsys.readouterr().err
    played = games(tmp_path)
    assert len(played) == TURNS * (1 if name == "vicuna-2023" else 2)
    assert {(game["verdict"], game["preference"]) for game in played} == {("invalid", None)}
    audit = json.loads((tmp_path / "run" / "leaderboard.json").read_text())["judge_audit"]
    assert audit["local:demo-small"]["invalid_rate"] == 1.0
    assert ("answers once, in one order" in words(tmp_path)) == (name == "vicuna-2023")
    assert load_run(tmp_path / "run").leaderboard.models


def test_a_local_judge_s_letters_have_the_model_s_own_probabilities(tmp_path: Path) -> None:
    """transformers' log-probabilities are the oracle, for each letter as its tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    from evalsuite.config import RunConfig
    from evalsuite.inference import Inference
    from evalsuite.judge.letters import CANDIDATES, weigh_letters
    from evalsuite.loading import load
    from evalsuite.models import ChatEncoder, locate_all, named_template, resolve_models
    from evalsuite.playing import as_judge
    from evalsuite.progress import make_progress
    from evalsuite.store import Store

    [spec] = resolve_models(["demo-large"])
    weights = locate_all([spec])[0][spec.label]
    template = named_template("zero_shot")
    assert template is not None
    config = RunConfig(dtype="float32")
    chats = [
        [{"role": "system", "content": "Judge."}, {"role": "user", "content": f"A or B? {text}"}]
        for text in ("One.", "Another one, longer.")
    ]
    long = [{"role": "user", "content": "word " * 3000}]
    with Store(tmp_path / "store.db") as store:
        loaded = load(spec, weights, config, store)
        inference = Inference(loaded.engine, store, "run", make_progress("none"))
        judge = as_judge(loaded, template, inference)
        assert judge.weigh is not None
        *replies, cut = judge.weigh([*chats, long])
    assert (cut.finished, weigh_letters(cut.text)) == (False, None)
    oracle = AutoModelForCausalLM.from_pretrained(weights.folder, dtype=torch.float32)
    encoder = ChatEncoder(loaded.tokenizer, template)
    for chat, reply in zip(chats, replies, strict=True):
        prompt = list(encoder.encode(chat).tokens)
        wanted = {}
        for text in CANDIDATES:
            tokens = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
            with torch.no_grad():
                logits = oracle(torch.tensor([prompt + tokens])).logits[0].float()
            steps = logits.log_softmax(-1)[len(prompt) - 1 : -1]
            wanted[tuple(tokens)] = (text, float(steps[range(len(tokens)), tokens].sum()))
        kept = dict(json.loads(reply.text)["logprobs"])
        assert len(kept) == len(wanted)
        assert sorted(kept.values()) == pytest.approx(
            sorted(value for _, value in wanted.values()), abs=1e-3
        )
        assert (reply.prompt_tokens, reply.finished) == (len(prompt), True)
        assert sum(math.exp(value) for value in kept.values()) <= 1
