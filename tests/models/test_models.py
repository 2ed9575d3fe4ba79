"""Names to models, folders, hashes: exact rules, labels told apart, one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalsuite.models import DEMO_MODELS, ModelSpec, fingerprint, locate, resolve_models
from evalsuite.records import UserError


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("a/checkpoint-500", "b/checkpoint-500"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    return tmp_path


def test_no_name_means_the_embedded_pair() -> None:
    assert tuple(spec.label for spec in resolve_models(())) == DEMO_MODELS


def test_folders_hub_ids_and_labels(folders: Path) -> None:
    path = str(folders / "a" / "checkpoint-500")
    specs = resolve_models([path, "owner/My-7B", "base=owner/other", "d=demo-small"])
    assert specs == (
        ModelSpec("checkpoint-500", "folder", path),
        ModelSpec("My-7B", "hub", "owner/My-7B"),
        ModelSpec("base", "hub", "owner/other"),
        ModelSpec("d", "demo", specs[3].source),
    )
    assert resolve_models(["owner/x"], "abc123")[0].revision == "abc123"


def test_a_folder_wins_over_a_label_when_its_path_has_an_equals_sign(tmp_path: Path) -> None:
    odd = tmp_path / "lr=3e-4"
    odd.mkdir()
    assert resolve_models([str(odd)])[0].source == str(odd)


def test_two_models_of_one_name_need_labels(folders: Path) -> None:
    paths = [str(folders / part / "checkpoint-500") for part in "ab"]
    with pytest.raises(UserError, match="two models would be called checkpoint-500: give them"):
        resolve_models(paths)
    labels = [f"{label}={path}" for label, path in zip("ab", paths, strict=True)]
    assert [spec.label for spec in resolve_models(labels)] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("demo-smal", "did you mean demo-small"),
        ("zebra", "known: demo-small, demo-large"),
        ("./nowhere", "no model folder at ./nowhere"),
        ("a/b/c", "no model folder at a/b/c"),
        ("x=", "names no model"),
        ("-x=demo-small", "can't be a model's name"),
    ],
)
def test_a_wrong_name_is_one_line(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve_models([name])
    assert "\n" not in str(caught.value)


def test_a_file_is_no_model_and_a_folder_needs_a_config(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"x")
    with pytest.raises(UserError, match="is a file"):
        resolve_models([str(tmp_path / "model.gguf")])
    with pytest.raises(UserError, match=r"no config\.json"):
        locate(resolve_models([str(tmp_path)])[0])


def test_a_revision_needs_a_hub_model(folders: Path) -> None:
    with pytest.raises(UserError, match="--revision is for models from the hub"):
        resolve_models(["demo-small"], "main")


def test_an_unreachable_hub_is_one_line() -> None:
    with pytest.raises(UserError, match=r"M: can't get owner/nothing-here: the hub can't be"):
        locate(resolve_models(["M=owner/nothing-here"])[0])


def test_hashes_change_with_the_bytes_and_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "tokenizer.json").write_text("{}")
    kept: dict[Path, str] = {}
    read: list[Path] = []

    def keep(path: Path, digest: str) -> None:
        read.append(path)
        kept[path] = digest

    first = fingerprint(tmp_path, kept.get, keep)
    assert len(read) == 3
    assert fingerprint(tmp_path, kept.get, keep) == first
    assert len(read) == 3
    kept.clear()
    (tmp_path / "tokenizer.json").write_text("{ }")
    second = fingerprint(tmp_path, kept.get, keep)
    assert second.weights == first.weights
    assert second.tokenizer != first.tokenizer
