"""The store: exact round trips, batches all or nothing, one writer, files that are no store."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.records import (
    GenerateRequest,
    GenerateResponse,
    ScoreRequest,
    ScoreResponse,
    UserError,
)
from evalsuite.store import Store, identity_hash, plan_key, request_key
from evalsuite.store.store import _decode, _encode, file_system

IDENTITY = identity_hash({"weights": "abc", "dtype": "float32"})
RUN = "run-1"


def keys(count: int) -> list[bytes]:
    return [request_key(IDENTITY, ScoreRequest((1, i), (2,))) for i in range(count)]


@given(st.floats(allow_nan=False), st.booleans(), st.integers(0, 9))
def test_a_score_reads_back_bit_for_bit(logprob: float, greedy: bool, cut: int) -> None:
    response = ScoreResponse(logprob, greedy, cut)
    assert _decode(_encode(response)) == response


@given(st.text(), st.lists(st.integers(0, 200_000)), st.sampled_from(["stop", "eos", "length"]))
def test_a_text_reads_back_exactly(text: str, tokens: list[int], finish: str) -> None:
    response = GenerateResponse(text, tuple(tokens), finish, 0)  # type: ignore[arg-type]
    assert _decode(_encode(response)) == response


def test_keys_tell_apart_what_can_change_a_number() -> None:
    base = GenerateRequest((1, 2, 3), 8, ("\n",), 0.7, 0.9, seed=1)
    others = [
        GenerateRequest((1, 2), 8, ("\n",), 0.7, 0.9, seed=1),
        GenerateRequest((1, 2, 3), 9, ("\n",), 0.7, 0.9, seed=1),
        GenerateRequest((1, 2, 3), 8, (".",), 0.7, 0.9, seed=1),
        GenerateRequest((1, 2, 3), 8, ("\n",), 0.8, 0.9, seed=1),
        GenerateRequest((1, 2, 3), 8, ("\n",), 0.7, 0.8, seed=1),
        GenerateRequest((1, 2, 3), 8, ("\n",), 0.7, 0.9, seed=2),
        ScoreRequest((1, 2), (3,)),
        ScoreRequest((1,), (2, 3)),
    ]
    all_keys = {request_key(IDENTITY, request) for request in [base, *others]}
    assert len(all_keys) == 1 + len(others)
    other_engine = identity_hash({"weights": "abd", "dtype": "float32"})
    assert request_key(other_engine, base) not in all_keys


def test_a_greedy_answer_has_one_key_under_every_seed() -> None:
    first, second = (GenerateRequest((1, 2), 8, seed=seed) for seed in (1, 2))
    assert request_key(IDENTITY, first) == request_key(IDENTITY, second)


def test_a_committed_batch_is_found_again_and_is_not_missing(tmp_path: Path) -> None:
    wanted = keys(3)
    plan = plan_key(RUN, IDENTITY, wanted)
    with Store(tmp_path / "store.db") as store:
        assert store.missing(plan, wanted, refresh=False) == [0, 1, 2]
        store.begin(plan, 0)
        store.commit(plan, 0, {wanted[0]: ScoreResponse(-1.5, True)})
    with Store(tmp_path / "store.db") as store:
        assert store.get(wanted) == {wanted[0]: ScoreResponse(-1.5, True)}
        assert store.committed(plan) == {0}
        assert store.counts(plan) == (1, 1)


def test_a_resumed_plan_keeps_its_first_decision_and_another_run_does_not_repeat(
    tmp_path: Path,
) -> None:
    wanted = keys(3)
    first, second = (plan_key(run, IDENTITY, wanted) for run in ("run-1", "run-2"))
    with Store(tmp_path / "store.db") as store:
        assert store.missing(first, wanted, refresh=False) == [0, 1, 2]
        store.begin(first, 0)
        store.commit(first, 0, {wanted[1]: ScoreResponse(-2.0, False)})
        # The same plan must make the same batches as before the interruption …
        assert store.missing(first, wanted, refresh=False) == [0, 1, 2]
        # … and a new run takes what is there.
        assert store.missing(second, wanted, refresh=False) == [0, 2]
        third = plan_key("run-3", IDENTITY, wanted)
        assert store.missing(third, wanted, refresh=True) == [0, 1, 2]


def test_a_batch_that_fails_to_commit_leaves_nothing(tmp_path: Path) -> None:
    wanted = keys(2)
    plan = plan_key(RUN, IDENTITY, wanted)
    with Store(tmp_path / "store.db") as store:
        store.begin(plan, 0)
        bad = {wanted[0]: ScoreResponse(-1.0, True), wanted[1]: object()}
        with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
            store.commit(plan, 0, bad)  # type: ignore[arg-type]
        assert store.get(wanted) == {}
        assert store.counts(plan) == (1, 0)


def test_a_killed_writer_loses_nothing_committed_and_leaves_no_lock(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from evalsuite.records import ScoreResponse
from evalsuite.store import Store
store = Store(Path(sys.argv[1]))
store.begin(b"p", 0)
store.commit(b"p", 0, {b"k": ScoreResponse(-0.25, True)})
store.begin(b"p", 1)
os.kill(os.getpid(), 9)
"""
    path = tmp_path / "store.db"
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert done.returncode == -9
    with Store(path) as store:
        assert store.get([b"k"]) == {b"k": ScoreResponse(-0.25, True)}
        assert store.counts(b"p") == (2, 1)


def test_a_second_writer_is_held_out_in_one_line_that_names_the_first(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    program = "import sys; from pathlib import Path; from evalsuite.store import Store; "
    program += "s = Store(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(UserError, match=f"in use by another run .process {other.pid}."):
            Store(path)
        other.communicate()
    Store(path).close()


def test_a_store_that_breaks_while_it_is_used_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    wanted = keys(400)
    plan = plan_key(RUN, IDENTITY, wanted)
    with Store(path) as store:
        store.missing(plan, wanted, refresh=False)
        store.begin(plan, 0)
        store.commit(plan, 0, {key: ScoreResponse(-1.0, True) for key in wanted})
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with (
        pytest.raises(UserError, match=r"can.t be used|cannot be used") as caught,
        Store(path) as store,
    ):
        store.get(wanted)
    assert "\n" not in str(caught.value)


def test_what_is_no_store_is_refused_in_one_line(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("these are my notes, not a database\n" * 100)
    with pytest.raises(UserError, match="cannot be used as a store"):
        Store(text)
    assert text.read_text().startswith("these are my notes")
    with pytest.raises(UserError, match="is a folder"):
        Store(tmp_path)
    with pytest.raises(UserError, match="cannot make the folder"):
        Store(text / "inside" / "store.db")
    newer = tmp_path / "newer.db"
    db = sqlite3.connect(newer)
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(UserError, match="another version"):
        Store(newer)


def test_a_file_hash_is_forgotten_when_the_file_changes(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    with Store(tmp_path / "store.db") as store:
        assert store.file_hash(weights) is None
        store.keep_file_hash(weights, "abc")
        assert store.file_hash(weights) == "abc"
        weights.write_bytes(b"three")
        assert store.file_hash(weights) is None


def test_infinite_and_missing_numbers_survive() -> None:
    assert _decode(_encode(ScoreResponse(-math.inf, False))) == ScoreResponse(-math.inf, False)
    found = _decode(_encode(ScoreResponse(math.nan, False)))
    assert isinstance(found, ScoreResponse)
    assert math.isnan(found.logprob)


def test_the_file_system_of_a_place_is_known(tmp_path: Path) -> None:
    assert file_system(Path("/proc")) == "proc"
    assert file_system(tmp_path) not in ("", "proc")
