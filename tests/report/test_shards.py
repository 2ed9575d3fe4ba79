"""Texts beside the page: when they are, what names their files, what a build leaves behind."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path

import pytest
from synthetic import TASKS, make_run

from evalsuite.cli import main
from evalsuite.leaderboard import load_run
from evalsuite.leaderboard.merge import merge_runs
from evalsuite.leaderboard.sample_files import SampleFile
from evalsuite.records import UserError
from evalsuite.report import build_report
from evalsuite.report.samples import collect
from evalsuite.report.shards import BYTES, Shards


def parts_of(folder: Path) -> list[Path]:
    return sorted((folder / "report_data").glob("*")) if (folder / "report_data").exists() else []


def unpacked(part: Path) -> dict[str, list]:
    match = re.fullmatch(r'evalsuiteShard\("([0-9a-f]{16}\.js)","([^"]+)"\);\n', part.read_text())
    assert match is not None
    assert match[1] == part.name
    return json.loads(gzip.decompress(base64.b64decode(match[2])))


def test_past_a_number_of_samples_texts_lie_beside_the_page(
    pair_run: Path, pair_page: Path, tmp_path: Path
) -> None:
    assert parts_of(pair_run) == []
    assert "strict-dynamic" not in pair_page.read_text()
    page = build_report([pair_run], tmp_path, inside=2399)
    text = page.read_text(encoding="utf-8")
    assert "&#39; &#39;strict-dynamic&#39;; img-src" in text
    assert "Their texts lie in report_data beside this page" in text
    assert len(text) < len(pair_page.read_text()) / 2
    parts = parts_of(tmp_path)
    assert len(parts) > 2
    prompts = [row["prompt"] for part in parts for item in unpacked(part)["items"] for row in item]
    assert len(prompts) == 2400
    before = {part: part.read_bytes() for part in parts}
    build_report([pair_run], tmp_path, inside=2399)
    assert {part: part.read_bytes() for part in parts_of(tmp_path)} == before


def test_single_file_holds_everything(pair_run: Path, tmp_path: Path) -> None:
    page = build_report([pair_run], tmp_path, inside=100)
    (tmp_path / "report_data" / "notes.txt").write_text("a person's own")
    build_report([pair_run], tmp_path, inside=100, single_file=True)
    assert [part.name for part in parts_of(tmp_path)] == ["notes.txt"]
    assert page.read_text().count('id="shard-') > 2
    (tmp_path / "report_data" / "notes.txt").unlink()
    build_report([pair_run], tmp_path, inside=100)
    assert main(["report", str(pair_run), "--output", str(tmp_path), "--single-file"]) == 0
    assert not (tmp_path / "report_data").exists()
    assert page.read_text() == build_report([pair_run], tmp_path / "again").read_text()


def test_a_run_that_was_told_single_file_stays_one(tmp_path: Path) -> None:
    path = make_run(tmp_path, [("m", 0.5)], TASKS[2:3], 20)
    manifest = json.loads((path / "manifest.json").read_text())
    for told in (False, True, None):
        manifest["config"]["single-file"] = told
        (path / "manifest.json").write_text(json.dumps(manifest))
        build_report([path], inside=5)
        assert (path / "report_data").exists() == (not told)


def test_parts_hold_all_models_of_an_item_and_stay_small(tmp_path: Path) -> None:
    models = [("a", 0.8), ("b", 0.4)]

    def longer(model: str, task: str, line: dict) -> dict:
        return line | {"resps": [[f"{model} {line['doc_id']} " + "x" * 30_000]]}

    run = load_run(make_run(tmp_path / "run", models, TASKS[3:4], 40, change=longer))
    with Shards(tmp_path) as shards:
        samples = collect(*merge_runs([run]), ["gsm8k"], shards)
    assert samples.shown == 80
    assert len(shards.names) > 4
    assert samples.data["firsts"] == sorted(samples.data["firsts"])
    items = []
    for name, first in zip(samples.data["shards"], samples.data["firsts"], strict=True):
        part = unpacked(tmp_path / "report_data" / name)
        assert first == len(items)
        assert sum(map(len, part["texts"])) < BYTES + 100_000
        items += part["items"]
        for item in part["items"]:
            assert [row["m"] for row in item] == [0, 1]
            assert item[0]["prompt"] == item[1]["prompt"]
            assert item[0]["answers"] != item[1]["answers"]
    assert len(items) == 40


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = make_run(tmp_path, [("m", 0.5)], TASKS[2:3], 5)
    (samples,) = (path / "m").glob("samples_*.jsonl")
    lines = samples.read_bytes().splitlines(keepends=True)
    for bad, message in ((b'{"doc_id": 2, oops\n', "line 3: no sample"), (b"[1]\n", "no JSON")):
        samples.write_bytes(b"".join([*lines[:2], bad, *lines[3:]]))
        with pytest.raises(UserError, match=message):
            build_report([path])


def test_items_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    lines = [
        {"doc_id": 7, "filter": "a"},
        {"doc_id": "x y", "filter": "a"},
        {"filter": "a", "doc_id": 3, "text": "é"},
        {"doc_id": 7, "filter": "b"},
        {"doc_id": 3, "filter": "b"},
    ]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
    with SampleFile(path) as file:
        assert file.docs == [7, "x y", 3]
        assert file.lines(3) == [lines[2], lines[4]]
        assert file.lines(7) == [lines[0], lines[3]]
        assert file.lines("x y") == [lines[1]]
        assert file.lines(4) == []
    with pytest.raises(UserError, match="can't be read"):
        SampleFile(tmp_path / "gone.jsonl")
