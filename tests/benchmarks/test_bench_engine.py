"""The engine benchmark as a person runs it, on a tiny model: its lines and its exit codes."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import engine
import pytest
from engine_model import NEVER, Shape, borrow_folder, load_tokenizer, read_config, write_random

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KEYS = {
    *("workload", "ratio", "seconds", "peer_seconds", "peer", "distinct_tokens", "total_tokens"),
    *("matrix_share", "peak_bytes", "max_logprob_difference"),
}
TINY = Shape(layers=1, hidden=64, heads=2, kv_heads=1, intermediate=64, vocabulary=400)


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    root = str(BENCHMARKS.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / "engine.py"), "--threads", "1", *flags],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random(tmp_path_factory.mktemp("bench") / "tiny", TINY, "float32")


@pytest.fixture(scope="module")
def lines(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    output = tmp_path_factory.mktemp("out") / "lines.jsonl"
    flags = ["--keep", str(tiny), "--documents", "3", "--samples", "2", "--new-tokens", "6"]
    flags += ["--batch-sizes", "1", "4", "--seconds", "0", "--start-up", "--matrix-size", "512"]
    ran = run(*flags, "--output", str(output))
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == output.read_text()  # and nothing else goes to stdout
    return {line["workload"]: line for line in map(json.loads, ran.stdout.splitlines())}


def test_one_line_a_workload_with_the_promised_keys(lines: dict[str, dict]) -> None:
    assert list(lines) == ["start-up", "a", "b", "c", "d", "e"]
    for name in "abcde":
        line = lines[name]
        assert line.keys() >= KEYS
        assert line["ratio"] == pytest.approx(line["peer_seconds"] / line["seconds"], rel=0.05)
        assert line["peer"] in ("lm-eval hf, batch size 1", "lm-eval hf, batch size 4")
        assert line["distinct_tokens"] < line["total_tokens"]
        assert 0 < line["matrix_share"] < 1
        assert line["peak_bytes"] > 100_000  # the weights alone are more


def test_both_sides_answered_the_same(lines: dict[str, dict]) -> None:
    for name in "abcde":
        assert 0 <= lines[name]["max_logprob_difference"] < 1e-4, name
    assert lines["d"]["greedy_equal"] == 1.0
    assert lines["e"]["greedy_equal"] is None


def test_generate_batch_answers_beside_or_says_why_not(lines: dict[str, dict]) -> None:
    for name in "de":
        line = lines[name]
        if line["generate_batch_seconds"] is None:
            assert any(note.startswith("generate_batch not run on all") for note in line["notes"])
        else:
            assert line["generate_batch_ratio"] > 0
    assert "generate_batch_seconds" not in lines["a"]


def test_start_up_is_the_sum_of_its_parts(lines: dict[str, dict]) -> None:
    line = lines["start-up"]
    parts = ("imports_seconds", "load_seconds", "first_batch_seconds")
    assert line["seconds"] == pytest.approx(sum(line[part] for part in parts), abs=0.01)
    assert line["first_batch_tokens"] > 0


def run_here(monkeypatch: pytest.MonkeyPatch, *flags: str) -> int:
    """The script's main in this process, which need not import everything once more."""
    monkeypatch.setattr(sys, "argv", ["engine.py", "--threads", "1", *flags])
    return engine.main()


def test_a_context_that_is_too_short_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gc, "freeze", gc.collect)  # of this process, which goes on
    short = Shape(1, 64, 2, 1, 64, vocabulary=400, context=256)
    folder = write_random(tmp_path / "short", short, "float32")
    flags = ["--folder", str(folder), "--workloads", "b", "--documents", "1"]
    assert run_here(monkeypatch, *flags) == 2
    shown = capsys.readouterr().err
    assert "more than this model's context of 256" in shown.splitlines()[-1]
    assert "Traceback" not in shown


def test_an_unknown_shape_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(monkeypatch, "--shape", "tall") == 2
    assert "unknown shape 'tall'" in capsys.readouterr().err.splitlines()[-1]


def test_shapes_have_the_papers_proportions() -> None:
    assert Shape.named("llama-7b") == Shape(32, 4096, 32, 32, 11008)
    assert Shape.named("llama-13b") == Shape(40, 5120, 40, 40, 13824)
    assert Shape.named("12x768") == Shape(12, 768, 12, 12, 2048)
    assert Shape.named("12x768", kv_heads=4).kv_heads == 4


def test_a_borrowed_folder_has_no_end_token(tiny: Path, tmp_path: Path) -> None:
    config = read_config(tiny)
    source = tmp_path / "source"
    source.mkdir()
    for file in tiny.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    (source / "config.json").write_text(json.dumps({**config, "eos_token_id": 2}))
    (source / "generation_config.json").write_text('{"eos_token_id": 2}')
    folder = borrow_folder(source, tmp_path / "borrowed")
    assert read_config(folder) == {**config, "eos_token_id": None}
    assert not (folder / "generation_config.json").exists()
    tokenizer = load_tokenizer(folder)
    assert tokenizer.eos_token == NEVER
    assert tokenizer.eos_token_id >= config["vocab_size"]
