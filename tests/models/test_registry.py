"""The registry against published figures, and against itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from evalsuite.models import describe_model, describe_models, find
from evalsuite.models.registry import FILE, PRECISIONS, find_repo, find_template, registry
from evalsuite.records import UserError

# Name: parameters, then GiB in bfloat16, 8 and 4 bits, and the card for each.
FIGURES = {
    "llama-7b": (6_738_415_616, (12.6, 6.6, 3.6), (24, 12, 6)),
    "vicuna-13b-v1.5": (13_015_864_320, (24.2, 12.7, 6.7), (32, 24, 12)),
    "oasst-sft-7-llama-30b": (32_528_943_616, (60.6, 31.8, 16.5), (80, 48, 24)),
    "llama-65b": (65_285_660_672, (121.6, 63.8, 32.7), (160, 80, 48)),
    "llama-3.1-8b-instruct": (8_030_261_248, (15.0, 7.9, 4.9), (24, 12, 8)),
    "tinyllama-1.1b-chat": (1_100_048_384, (2.0, 1.1, 0.7), (4, 2, 2)),
    "smollm2-135m-instruct": (134_515_008, (0.3, 0.1, 0.1), (2, 2, 2)),
    "smollm2-360m-instruct": (361_821_120, (0.7, 0.4, 0.3), (2, 2, 2)),
    "smollm2-1.7b-instruct": (1_711_376_384, (3.2, 1.7, 1.0), (6, 4, 4)),
    "mistral-7b-instruct-v0.2": (7_241_732_096, (13.5, 7.1, 3.8), (24, 12, 6)),
    "mistral-7b-instruct-v0.3": (7_248_023_552, (13.5, 7.1, 3.8), (24, 12, 6)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_sizes_give_the_published_counts_and_the_memory(name: str) -> None:
    parameters, memory, cards = FIGURES[name]
    entry = find(name)
    assert entry is not None
    assert entry.size.parameters == parameters
    for precision, gib, card in zip(PRECISIONS, memory, cards, strict=True):
        assert entry.size.weights_gib(precision) == pytest.approx(gib, abs=0.051)
        assert entry.size.card_gib(precision) == card


def test_keys_and_values_take_what_the_heads_make() -> None:
    sizes = {n: e.size for n in ("llama-7b", "llama-33b", "llama-3-8b-instruct") if (e := find(n))}
    assert [round(size.kv_mib(1000)) for size in sizes.values()] == [500, 1523, 125]


@pytest.mark.parametrize(
    ("name", "key", "repo", "template"),
    [
        ("vicuna-13b", "vicuna-13b-v1.5", "lmsys/vicuna-13b-v1.5", "vicuna_v1.1"),
        ("koala-13b", "koala-distill-13b", "TheBloke/koala-13B-HF", "koala_easylm"),
        ("OASST-30B", "oasst-sft-7-llama-30b", "TheBloke/OpenAssistant-SFT-7-Llama-30B-HF", None),
        ("llama-30b", "llama-33b", "huggyllama/llama-30b", "base_raw"),
        ("alpaca", "alpaca-7b", "chavinlo/alpaca-native", "alpaca_stanford"),
        ("gpt4-x-alpaca", "gpt4-x-alpaca-13b", "chavinlo/gpt4-x-alpaca", "alpaca_stanford"),
        ("wizardlm-7b-v1.0", "wizardlm-7b", "TheBloke/wizardLM-7B-HF", "wizardlm_7b"),
        ("openassistant-13b", "oasst-sft-llama-13b", None, "oasst_llama"),
    ],
)
def test_aliases_mean_exact_weights(
    name: str, key: str, repo: str | None, template: str | None
) -> None:
    entry = find(name)
    assert entry is not None
    assert entry.name == key
    assert repo is None or entry.repos == (repo,)
    assert template is None or entry.template == template


def test_the_family_is_complete() -> None:
    assert len(registry().models) == 31
    assert len(registry().templates) == 12
    for templates in (e.alternatives for e in registry().models.values() if e.template == "repo"):
        assert len(templates) <= 1


def test_repositories_are_known_by_their_exact_id() -> None:
    whole, delta, avoid = (
        find_repo(repo)
        for repo in (
            "lmsys/Vicuna-13B-v1.5",
            "lmsys/vicuna-13b-delta-v1.1",
            "decapoda-research/llama-7b-hf",
        )
    )
    assert whole is not None
    assert (whole[0].name, whole[1]) == ("vicuna-13b-v1.5", "whole")
    assert delta is not None
    assert (delta[0].name, delta[1]) == ("vicuna-13b-v1.1", "delta")
    assert avoid is not None
    assert avoid[1] == "avoid"
    assert find_repo("somebody/vicuna-13b-v1.5") is None


def test_every_template_has_its_file_and_the_other_way_round() -> None:
    files = {path.stem for path in (FILE.parent / "templates").glob("*.jinja")}
    assert files == set(registry().templates)


def test_a_template_name_that_is_nearly_right() -> None:
    assert find_template("VICUNA_V1.1") == "vicuna_v1.1"
    with pytest.raises(UserError, match=r"'vicuna'; did you mean vicuna_v1\.1\?"):
        find_template("vicuna")
    with pytest.raises(UserError, match=r"known: vicuna_v1\.1, .*base_raw, repo"):
        find_template("qqq")


def test_the_table_names_every_model_and_fits_a_wide_terminal() -> None:
    table = describe_models()
    for entry in registry().models.values():
        assert any(line.split()[0] == entry.name for line in table.splitlines() if line)
    assert max(map(len, table.splitlines())) <= 140


def test_one_model_is_told_whole() -> None:
    text = describe_model("Koala-13B")
    for part in (
        "koala-distill-13b",
        "TheBloke/koala-13B-HF",
        "13,015,864,320 parameters",
        "research only",
        "koala_easylm",
        "12.7 GiB",
        "not checked",
    ):
        assert part.lower() in text.lower()
    assert max(map(len, text.splitlines())) <= 100
    assert "withdrawn" in describe_model("llama-7b")
    for name in registry().names():
        assert describe_model(name)
    with pytest.raises(UserError, match=r"no model 'vicuna-13'; did you mean vicuna-13b"):
        describe_model("vicuna-13")


def test_describing_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from evalsuite.models import describe_models, resolve_models\n"
        "describe_models(); resolve_models(['vicuna-13b'])\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'huggingface_hub', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
