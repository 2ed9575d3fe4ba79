"""Names to models: exact rules, labels told apart, one line for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalsuite.models import DEMO_MODELS, ModelSpec, resolve_models
from evalsuite.records import UserError


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("a/checkpoint-500", "b/checkpoint-500", "lora", "with+plus"):
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


def test_registry_names_bring_weights_and_prompt_format() -> None:
    vicuna, koala, base, llama3 = resolve_models(
        ["vicuna-13b", "Koala-13B", "llama-7b", "mine=llama-3.1-8b-instruct"], "v1"
    )
    assert vicuna == ModelSpec(
        "vicuna-13b", "hub", "lmsys/vicuna-13b-v1.5", "v1", "vicuna-13b-v1.5", "vicuna_v1.1"
    )
    assert (koala.label, koala.entry) == ("Koala-13B", "koala-distill-13b")
    assert (base.entry, base.template) == ("llama-7b", "base_raw")
    # None: the repository's own template comes first for this one.
    assert (llama3.label, llama3.entry, llama3.template) == ("mine", "llama-3.1-8b-instruct", None)


def test_a_label_that_is_a_registry_name_says_which_model_a_folder_is(folders: Path) -> None:
    path = str(folders / "a" / "checkpoint-500")
    folder, repo, plain = resolve_models(
        [f"vicuna-13b={path}", "Koala-7B=owner/koala", f"mine={path}"]
    )
    assert (folder.kind, folder.source) == ("folder", path)
    assert (folder.entry, folder.template) == ("vicuna-13b-v1.5", "vicuna_v1.1")
    assert (repo.entry, repo.template) == ("koala-distill-7b", "koala_easylm")
    assert (plain.entry, plain.template) == (None, None)


def test_a_path_is_never_searched_for_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "vicuna-13b-v1.5"
    folder.mkdir()
    assert resolve_models([str(folder)])[0].template is None


def test_a_repository_that_the_registry_lists_is_known_by_its_id() -> None:
    specs = resolve_models(["lmsys/vicuna-13b-v1.5", "lmsys/vicuna-7b-delta-v1.1"])
    assert [(s.kind, s.entry) for s in specs] == [
        ("hub", "vicuna-13b-v1.5"),
        ("delta", "vicuna-7b-v1.1"),
    ]
    assert resolve_models(["koala-all-13b"])[0].kind == "delta"
    with pytest.raises(UserError, match=r"can't be used \(.*\): use llama-7b \(huggyllama/llama"):
        resolve_models(["Decapoda-research/llama-7b-hf"])


def test_a_template_by_name_replaces_every_other(folders: Path) -> None:
    names = ["vicuna-13b", str(folders / "a" / "checkpoint-500")]
    assert {s.template for s in resolve_models(names, template="Koala_v1")} == {"koala_v1"}
    assert {s.template for s in resolve_models(names, template="repo")} == {None}
    with pytest.raises(UserError, match="unknown prompt template 'koala'"):
        resolve_models(names, template="koala")


def test_adapters(folders: Path) -> None:
    base, lora, plus = (str(folders / n) for n in ("a/checkpoint-500", "lora", "with+plus"))
    specs = resolve_models(
        [
            f"{base}+{lora}",
            f"tuned={plus}+{lora}",
            "vicuna-13b+owner/my-lora",
            f"owner/base+{plus}",
            plus,
        ]
    )
    assert [(s.label, s.source, s.adapter) for s in specs] == [
        ("checkpoint-500+lora", base, lora),
        ("tuned", plus, lora),
        ("vicuna-13b+my-lora", "lmsys/vicuna-13b-v1.5", "owner/my-lora"),
        ("base+with+plus", "owner/base", plus),
        ("with+plus", plus, None),
    ]
    assert specs[2].template == "vicuna_v1.1"


def test_a_folder_wins_over_a_label_when_its_path_has_an_equals_sign(tmp_path: Path) -> None:
    odd = tmp_path / "lr=3e-4"
    odd.mkdir()
    assert resolve_models([str(odd)])[0].source == str(odd)


def test_a_folder_below_the_home_may_have_an_equals_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    odd = tmp_path / "lr=demo-small"
    odd.mkdir()
    assert resolve_models(["~/lr=demo-small"])[0].source == str(odd)


@pytest.mark.parametrize("label", ["a/b", "<script>", "</script>", "my model", "modèle", "模型"])
def test_a_label_with_a_forbidden_character(folders: Path, label: str) -> None:
    path = str(folders / "a" / "checkpoint-500")
    for model in (path, f"{path}+{folders / 'lora'}", "demo-small", "vicuna-13b"):
        with pytest.raises(UserError, match=r"can't be a model's name because of '.+': letters"):
            resolve_models([f"{label}={model}"])


@pytest.mark.parametrize(
    "name",
    [
        *("manifest.json", "leaderboard.json", "leaderboard.csv", "report.html", "report_data"),
        *("matches.jsonl", "questions.jsonl", "gate.json", "junit.xml", "summary.md"),
    ],
)
def test_a_runs_own_files_give_no_label(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    for model in (f"{name.upper()}=demo-small", f"owner/{name}", str(tmp_path / name)):
        with pytest.raises(UserError, match=r"can't be called .*: give it another") as caught:
            resolve_models([model])
        assert "\n" not in str(caught.value)
    assert resolve_models([f"mine={tmp_path / name}"])[0].label == "mine"


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
        ("vicuna-13", "did you mean vicuna-13b"),
        ("Koala-distil-13b", "did you mean koala-distill-13b"),
        ("zebra", "`evalsuite models` lists"),
        ("./nowhere", "no model folder at ./nowhere"),
        ("a/b/c", "no model folder at a/b/c"),
        ("x=", "names no model"),
        ("-x=demo-small", "can't be a model's name: begin it with a letter"),
        ("a/b=c/d", "no model folder at a/b=c/d"),
        ("vicuna-13b=koala-13b", "registry's name of another model than koala-distill-13b"),
        ("vicuna-13b=demo-small", "registry's name of another model"),
        ("demo-small+./nowhere", "no LoRA adapter at ./nowhere"),
        ("demo-smal+owner/lora", "did you mean demo-small"),
        ("demo-small+", r"write MODEL\+ADAPTER"),
        ("+owner/lora", r"write MODEL\+ADAPTER"),
    ],
)
def test_a_wrong_name_is_one_line(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve_models([name])
    assert "\n" not in str(caught.value)


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"x")
    with pytest.raises(UserError, match="is a file"):
        resolve_models([str(tmp_path / "model.gguf")])


def test_a_revision_needs_a_hub_model() -> None:
    with pytest.raises(UserError, match="--revision is for models from the hub"):
        resolve_models(["demo-small"], "main")
