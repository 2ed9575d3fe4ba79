"""Files as people have them: marks of editors, other encodings, broken and hostile JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalsuite.reading import read_entries, read_rows, read_text
from evalsuite.records import UserError


def written(folder: Path, content: bytes) -> Path:
    path = folder / "given.jsonl"
    path.write_bytes(content)
    return path


def test_lines_are_read_whatever_ends_them(tmp_path: Path) -> None:
    path = written(tmp_path, '\ufeff{"a": "x\u2028y"}\r\n\r\n{"a": 2}\r\n'.encode())
    found = list(read_rows(path, "the rows"))
    assert [row for _, row in found] == [{"a": "x\u2028y"}, {"a": 2}]
    assert [where for where, _ in found] == [f"{path}, line 1", f"{path}, line 3"]
    assert read_entries(path, "the rows") is None


def test_a_list_is_read_entry_by_entry(tmp_path: Path) -> None:
    path = written(tmp_path, b' [{"a": 1},\n{"a": 2}]')
    assert read_entries(path, "the rows") == [
        (f"{path}, entry 0", {"a": 1}),
        (f"{path}, entry 1", {"a": 2}),
    ]


def test_a_lone_surrogate_becomes_a_question_mark(tmp_path: Path) -> None:
    """It is legal JSON, and no file, hash or server takes it."""
    path = written(tmp_path, rb'{"a": ["x\ud800", {"\uDC00": "\ud83d\ude00"}]}')
    [(_, row)] = read_rows(path, "the rows")
    assert row == {"a": ["x?", {"?": "\U0001f600"}]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}'.encode("utf-16"), "not UTF-8 text (byte 0); save it as UTF-8"),
        (b'{"a": 1}\n{"a": ', "line 2: not JSON"),
        (b'{"a": 1}\n[1]', "line 2: a JSON object is wanted in the rows, not [1]"),
        (b'{"a": ' + b"[" * 200_000, "line 1: nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "line 1: not JSON"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UserError) as caught:
        list(read_rows(path, "the rows"))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_broken_list_and_a_strange_entry_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not JSON"):
        read_entries(written(tmp_path, b'[{"a": 1},'), "the rows")
    with pytest.raises(UserError, match="entry 1: a JSON object is wanted in the rows"):
        read_entries(written(tmp_path, b'[{"a": 1}, 2]'), "the rows")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(UserError, match="cannot read the rows"):
            read_text(path, "the rows")
