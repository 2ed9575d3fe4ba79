"""Files whole or not at all, and names that can't leave their folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evalsuite.files import LONGEST_NAME, safe_name, write_atomically


def test_writing_leaves_the_old_file_and_nothing_else_when_it_fails(tmp_path: Path) -> None:
    def lines() -> Iterator[str]:
        yield "half"
        raise RuntimeError("no more")

    path = tmp_path / "a.txt"
    write_atomically(path, "whole")
    with pytest.raises(RuntimeError, match="no more"):
        write_atomically(path, lines())
    assert path.read_text() == "whole"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_lone_surrogate_does_not_stop_a_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", ["x\ud800", "y\n"])
    assert (tmp_path / "a.txt").read_bytes() == b"x?y\n"


@pytest.mark.parametrize("name", ["..", ".", "../../etc/passwd", "/etc", "a\0b", ".hidden", ""])
def test_no_name_leaves_its_folder_or_hides(name: str, tmp_path: Path) -> None:
    safe = safe_name(name)
    assert safe
    assert not safe.startswith(".")
    assert (tmp_path / safe).parent == tmp_path


def test_long_names_stay_apart_and_fit() -> None:
    first, second = (safe_name("m" * 400 + end) for end in "ab")
    assert first != second
    assert len(first) <= LONGEST_NAME


def test_plain_names_stay_as_they_are() -> None:
    assert safe_name("vicuna-13b_v1.5") == "vicuna-13b_v1.5"
    assert safe_name("meta/llama") == "meta__llama"
