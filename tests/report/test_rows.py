"""Samples of lm-eval as rows: what was right, what was picked, what a prompt's choices share."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evalsuite.leaderboard import Run, aggregate, write_samples
from evalsuite.leaderboard.merge import merge_runs
from evalsuite.records import MetricResult, TaskInfo, TaskResult
from evalsuite.report.rows import TEXT_LIMIT, Row, Texts, make_row
from evalsuite.report.samples import Answered, collect, read_items, row_json
from evalsuite.report.shards import Shards, pack


def choice_line(**changes: Any) -> dict[str, Any]:
    line = {
        "doc_id": 4,
        "target": "1",
        "arguments": {
            "gen_args_0": {"arg_0": "Q: sky?\nA:", "arg_1": " green"},
            "gen_args_1": {"arg_0": "Q: sky?\nA:", "arg_1": " blue, mostly"},
        },
        "resps": [[["-3.25", "False"]], [["-4.5", "False"]]],
        "filtered_resps": [["-3.25", "False"], ["-4.5", "False"]],
        "filter": "none",
        "metrics": ["acc", "acc_norm"],
        "acc": 0.0,
        "acc_norm": 1.0,
        "truncated": 2,
    }
    return line | changes


def row_of(line: dict[str, Any], metric: str) -> tuple[Row, list[str]]:
    texts = Texts()
    return make_row([line], 0, 0, metric, "none", texts), texts.table


def run_of(path: Path, lines: Sequence[dict[str, Any]], primary: str) -> Run:
    """A run of one model and one task on disk."""
    write_samples(path, "m", "t", "2026-11-23T10-00-00", lines)
    info = TaskInfo("t", "other", "1", "multiple_choice", 0, primary)
    metric = MetricResult(primary, 0.5, 0.1, True, "share", None)
    return Run(path, aggregate([TaskResult("m", info, (metric,), 2, (), 0, 0)], [], ["m"]))


def items_of(run: Run, texts: Texts) -> list[list[Answered]]:
    return list(read_items(*merge_runs([run]), 0, "t", lambda: texts))


def test_choices_with_gold_and_pick() -> None:
    row, texts = row_of(choice_line(), "acc")
    assert texts[row.prompt] == "Q: sky?\nA:"
    assert [texts[c.text] for c in row.choices] == [" green", " blue, mostly"]
    assert [c.logprob for c in row.choices] == [-3.25, -4.5]
    assert (row.gold, row.picked, row.score, row.truncated) == ((1,), 0, 0.0, 2)
    assert texts[row.target] == "blue, mostly"
    assert row.metrics == {"acc": 0.0, "acc_norm": 1.0}


def test_the_pick_follows_the_main_metric() -> None:
    row, _ = row_of(choice_line(), "acc_norm")  # -3.25/5 against -4.5/12
    assert (row.picked, row.score) == (1, 1.0)


def test_choices_in_the_context() -> None:
    arguments = {
        "gen_args_0": {"arg_0": "The cup broke because the cup", "arg_1": " was thin."},
        "gen_args_1": {"arg_0": "The cup broke because the cupboard", "arg_1": " was thin."},
    }
    row, texts = row_of(choice_line(arguments=arguments), "acc")
    assert texts[row.prompt] == "The cup broke because the "
    assert [texts[c.text] for c in row.choices] == ["cup was thin.", "cupboard was thin."]


@pytest.mark.parametrize(("acc", "gold"), [(1.0, (0,)), (0.0, (1,)), (None, ())])
def test_gold_of_choices_in_the_context(
    acc: float | None, gold: tuple[int, ...], tmp_path: Path
) -> None:
    """winogrande's target is the continuation that both share: the score tells which is right."""
    arguments = {
        "gen_args_0": {"arg_0": "so Sarah", "arg_1": " was late."},
        "gen_args_1": {"arg_0": "so Maria", "arg_1": " was late."},
    }
    line = choice_line(arguments=arguments, target="was late.", acc=acc, metrics=["acc"])
    row, _ = row_of(line, "acc")
    assert (row.gold, row.picked) == (gold, 0)
    run = run_of(tmp_path, [line], "acc,none")
    assert collect(*merge_runs([run]), ["t"], Shards()).chances == {"t": 0.5}


@pytest.mark.parametrize(
    ("target", "gold"),
    [("0", (0,)), ("green", (0,)), ("[0, 1]", (0, 1)), ("7", ()), ("[oops", ()), ("red", ())],
)
def test_gold_in_all_of_lm_evals_forms(target: str, gold: tuple[int, ...]) -> None:
    line = choice_line(target=target, acc=None, metrics=["acc"])
    assert row_of(line, "acc")[0].gold == gold


def test_mutual_information_asks_twice() -> None:
    pairs = choice_line()["arguments"]
    pairs |= {"gen_args_2": {"arg_0": "", "arg_1": " green"}}
    pairs |= {"gen_args_3": {"arg_0": "", "arg_1": " blue, mostly"}}
    resps = [[["-3", "False"]], [["-4", "False"]], [["-1", "False"]], [["-9", "False"]]]
    line = choice_line(arguments=pairs, resps=resps, metrics=["acc", "acc_mutual_info"])
    row, _ = row_of(line | {"acc_mutual_info": 1.0}, "acc_mutual_info")
    assert len(row.choices) == 2
    assert row.picked == 1


def test_filters_of_one_item_become_one_row(tmp_path: Path) -> None:
    line = {
        "doc_id": 0,
        "target": "42",
        "arguments": {"gen_args_0": {"arg_0": "How many?", "arg_1": {"until": ["\n"]}}},
        "resps": [["about 42 or 43"]],
        "metrics": ["exact_match"],
    }
    lines = [
        line | {"filter": "loose", "filtered_resps": ["42"], "exact_match": 1.0},
        line | {"filter": "strict", "filtered_resps": ["[invalid]"], "exact_match": 0.0},
    ]
    others = [line | {"doc_id": 1} for line in lines]
    both = [lines[0], others[0], lines[1], others[1]]  # lm-eval writes filter after filter
    run = run_of(tmp_path, both, "exact_match,strict")
    texts = Texts()
    items = items_of(run, texts)
    assert [[answered.doc for answered in item] for item in items] == [[0], [1]]
    row = items[0][0].row
    assert row.score == 0.0
    assert collect(*merge_runs([run]), ["t"], Shards()).chances == {}
    assert [texts.table[i] for i in row.answers] == ["about 42 or 43"]
    assert [texts.table[i] for i in row.extracted] == ["[invalid]"]
    assert row.metrics == {"exact_match,loose": 1.0, "exact_match,strict": 0.0}


def test_one_continuation_and_rolling_text() -> None:
    one = choice_line(
        arguments={"gen_args_0": {"arg_0": "It rains in the", "arg_1": " spring"}},
        resps=[[["-0.5", "True"]]],
        target=" spring",
        acc=1.0,
    )
    row, texts = row_of(one, "acc")
    assert (len(row.choices), row.choices[0].greedy, row.gold) == (1, True, ())
    assert texts[row.target] == " spring"
    rolling = {"doc_id": 0, "arguments": {"gen_args_0": {"arg_0": "All of a text"}}}
    row, texts = row_of(rolling | {"resps": [["-120.5"]], "metrics": []}, "word_perplexity")
    assert texts[row.prompt] == "All of a text"
    assert row.score is None


def test_shared_texts_are_there_once(tmp_path: Path) -> None:
    run = run_of(tmp_path, [choice_line(doc_id=i) for i in range(10)], "acc,none")
    texts = Texts()
    assert len(items_of(run, texts)) == 10
    assert len(texts.table) == 4  # prompt, two choices, and the target without its space
    assert texts.size == sum(map(len, texts.table))


def test_the_index_is_small_and_whole(tmp_path: Path) -> None:
    """Ids as a count when they are 0, 1, 2, …; scores as letters unless too many differ."""
    for docs, scores, levels in (
        ([0, 1, 2], [1.0, 0.0, None], 3),
        ([0, 2, "x"], [0.25, 1.0, 1.0], 3),
        (list(range(100)), [i / 7 for i in range(99)] + [None], None),
    ):
        lines = [
            choice_line(doc_id=doc, acc=score, metrics=["acc"])
            for doc, score in zip(docs, scores, strict=True)
        ]
        folder = tmp_path / str(docs[1]) / str(len(docs))
        run = run_of(folder, lines, "acc,none")
        (its,) = collect(*merge_runs([run]), ["t"], Shards()).data["items"]
        plain = docs == list(range(len(docs)))
        assert its["docs"] == (len(docs) if plain else docs)
        if levels is None:
            assert its["scores"] == scores
        else:
            assert [its["levels"][ord(letter) - 0x30] for letter in its["scores"]] == scores
            assert len(its["levels"]) == levels


def test_long_texts_lose_their_middle_and_say_so() -> None:
    texts = Texts()
    number = texts.add("a" * TEXT_LIMIT + "b" * TEXT_LIMIT)
    text = texts.table[number]
    assert len(text) < TEXT_LIMIT + 200
    assert text.startswith("aaa")
    assert text.endswith("bbb")
    assert f"{TEXT_LIMIT:,} characters are left out" in text


def test_packed_data_come_back() -> None:
    data = {"rows": [row_json(row_of(choice_line(), "acc")[0])], "texts": ["\ud800</script>\0"]}
    packed = pack(data)
    assert packed == pack(data)
    assert json.loads(gzip.decompress(base64.b64decode(packed))) == json.loads(json.dumps(data))
