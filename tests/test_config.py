"""Flags and config files: one table, checked values, flags win, help at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evalsuite.cli import _make_parser, main
from evalsuite.commands import config_of
from evalsuite.config import RunConfig
from evalsuite.flags import make_config, read_config_file
from evalsuite.records import UserError


def parse(*flags: str) -> RunConfig:
    return config_of(_make_parser().parse_args(["run", *flags]))


def test_flags_become_a_config() -> None:
    config = parse("--models", "a", "L=b", "--limit", "5", "--output", "out", "--refresh")
    assert config.models == ("a", "L=b")
    assert (config.limit, config.output, config.refresh) == (5, Path("out"), True)
    assert parse() == RunConfig()


def test_a_file_gives_every_flag_by_its_name_and_flags_win(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("models: [a, b]\nnum-fewshot: 5\nmax_length: 64\nrefresh: true\nlimit: 3\n")
    config = parse("--config", str(file), "--limit", "7", "--no-refresh")
    assert config.models == ("a", "b")
    assert (config.num_fewshot, config.max_length) == (5, 64)
    assert (config.limit, config.refresh) == (7, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("limt: 3", "unknown key 'limt'; did you mean limit"),
        ("limit: -1", "--limit must be 1 or more, not -1"),
        ("limit: 2.5", "--limit takes a whole number"),
        ("limit: true", "--limit takes a whole number"),
        ("dtype: int9", "--dtype is one of auto, float32, bfloat16, float16; not 'int9'"),
        ("models: 3", "--models takes a list"),
        ("- a\n- b", "must map flag names to values"),
        ("a: [", "is not a YAML file"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    assert main(["run", "--config", str(file)]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert str(file) in shown
    assert shown.count("\n") == 1


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(UserError, match="cannot read the config file"):
        read_config_file(Path("nowhere.yaml"))


def test_the_empty_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert make_config(read_config_file(tmp_path / "c.yaml")) == RunConfig()


def test_only_what_is_measured_is_a_runs_identity() -> None:
    base = RunConfig()
    same = RunConfig(output=Path("x"), progress="json", debug=True, refresh=True)
    assert base.identity() == same.identity()
    for other in (RunConfig(limit=3), RunConfig(seed=1), RunConfig(dtype="float32")):
        assert base.identity() != other.identity()


def test_wrong_usage_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["run", "--lmit", "3"], ["run", "--limit", "x"], ["walk"], []):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_help_imports_nothing_heavy() -> None:
    program = """
import sys
from evalsuite.cli import main
try:
    main(["run", "--help"])
except SystemExit:
    pass
heavy = {"torch", "transformers", "lm_eval", "datasets", "numpy", "pandas", "yaml"}
sys.exit(", ".join(heavy & set(sys.modules)) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
