"""Tasks as conversations: prompts and metrics equal lm-eval's with --apply_chat_template."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asked import Asked

from evalsuite.cli import main
from evalsuite.harness.adapter import EngineLM
from evalsuite.harness.catalog import list_suites, resolve
from evalsuite.harness.chat import TemplateRender, in_chat
from evalsuite.harness.evaluate import Evaluation, evaluate
from evalsuite.harness.library import library
from evalsuite.harness.planning import token_requests
from evalsuite.harness.results import write_results
from evalsuite.harness.task_set import Chat, TaskSet
from evalsuite.harness.tasks import load_tasks
from evalsuite.models import named_template, repo_template
from evalsuite.models.names import DEMO_FOLDER
from evalsuite.records import UserError

TEMPLATE = """{{ bos_token }}{% for message in messages %}
{%- if message['role'] == 'system' %}(({{ message['content'] | trim }}))
{% elif message['role'] == 'user' %}[INST] {{ message['content'] }} [/INST]
{%- else %} {{ message['content'] | trim }}{{ eos_token }}{% endif %}{% endfor %}
{%- if add_generation_prompt %} {% endif %}"""
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    + TEMPLATE
)


@pytest.fixture(scope="module")
def folder(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """stories260k with a chat template."""
    place = tmp_path_factory.mktemp("chat") / "stories-chat"
    shutil.copytree(model_folder, place)
    (place / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return place


@pytest.fixture
def oracle_of(hf: Any, oracle: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """lm-eval's own backend with a chat template."""

    def run(path: Path, turns: bool, template: str = TEMPLATE, **options: Any) -> Any:
        hf.tokenizer.chat_template = template
        return oracle(path, apply_chat_template=True, fewshot_as_multiturn=turns, **options)

    before = hf.tokenizer.chat_template
    yield run
    hf.tokenizer.chat_template = before


def ours(
    asked: Asked, tokenizer: Any, task_set: TaskSet, template: Any, turns: bool
) -> tuple[Evaluation, TemplateRender]:
    render = TemplateRender(template)
    chatted = in_chat(task_set, render, Chat(template.name, template.source, turns))
    lm = EngineLM(
        tokenizer, asked.max_length, asked.score, asked.generate, stop=template.stop_strings
    )
    return evaluate(chatted, lm, model="chat"), render


def flat(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in flat(part)]
    return [value]


def assert_equal(mine: Evaluation, theirs: Any, name: str) -> None:
    numbers = {key: value for key, value in theirs["results"][name].items() if "," in key}
    got = {key: value for key, value in mine.raw["results"][name].items() if "," in key}
    assert got == pytest.approx(numbers, abs=1e-12)
    samples = theirs["samples"][name]
    assert len(samples) == len(mine.samples[name])
    for a, b in zip(mine.samples[name], samples, strict=True):
        for field in ("arguments", "prompt_hash", "doc_hash", "target_hash"):
            assert a[field] == b[field], field
        for x, y in zip(flat(a["resps"]), flat(b["resps"]), strict=True):
            assert x == (pytest.approx(y, abs=1e-3) if isinstance(y, float) else y)


@pytest.mark.parametrize("turns", [True, False])
@pytest.mark.parametrize(("name", "shots"), [("arc_easy", 2), ("winogrande", 2), ("nq_open", 5)])
def test_equals_lm_evals_apply_chat_template(
    name: str,
    shots: int,
    turns: bool,
    folder: Path,
    asked: Asked,
    tokenizer: Any,
    oracle_of: Callable[..., Any],
    benchmarks: Path,
) -> None:
    task_set = load_tasks(resolve([name]), data_dir=benchmarks, limit=8, num_fewshot=shots)
    template = repo_template(folder)
    mine, render = ours(asked, tokenizer, task_set, template, turns)
    theirs = oracle_of(library().tasks[name], turns, limit=8, num_fewshot=shots)
    assert_equal(mine, theirs, name)
    first = mine.samples[name][0]["arguments"][0][0]
    assert first.count("[INST]") == (shots + 1 if turns else 1)
    assert first.startswith(tokenizer.bos_token)
    # The task set is as it was: a base model beside it gets plain prompts.
    assert "[INST]" not in task_set.instances[name][0].args[0]
    assert not render.without_system


def test_bos_stands_once_in_what_the_engine_gets(
    folder: Path, tokenizer: Any, benchmarks: Path
) -> None:
    """Whether the template writes it (a folder's own) or the tokenizer puts it (ours)."""
    task_set = load_tasks(resolve(["arc_easy", "nq_open"]), data_dir=benchmarks, limit=5)
    for template in (repo_template(folder), named_template("zero_shot")):
        assert template is not None
        chat = Chat(template.name, template.source)
        chatted = in_chat(task_set, TemplateRender(template), chat)
        score, generate = token_requests(chatted, tokenizer, 512, stop=template.stop_strings)
        prompts = [r.context for r in score] + [r.prompt for r in generate]
        assert len(prompts) > 10
        for prompt in prompts:
            assert prompt[0] == tokenizer.bos_token_id
            assert prompt.count(tokenizer.bos_token_id) == 1
        assert all(set(template.stop_strings) <= set(request.stop) for request in generate)


def test_drawn_documents_are_the_same_ones_in_a_conversation(
    folder: Path, asked: Asked, tokenizer: Any, benchmarks: Path
) -> None:
    (quick,) = [suite for suite in list_suites() if suite.name == "quick"]
    specs = [spec for spec in quick.specs if spec.name in ("piqa", "mmlu")]
    task_set = load_tasks(specs, data_dir=benchmarks, limit=12)
    mine, _ = ours(asked, tokenizer, task_set, repo_template(folder), True)
    plain = evaluate(
        task_set,
        EngineLM(tokenizer, asked.max_length, asked.score, asked.generate),
        model="plain",
    )
    assert [result.n for result in mine.results] == [12, 12]
    for name, samples in plain.samples.items():
        assert [s["doc_hash"] for s in mine.samples[name]] == [s["doc_hash"] for s in samples]
        assert all("[INST]" in s["arguments"][0][0] for s in mine.samples[name])


def own_task(folder: Path) -> Path:
    """A task with a description and an answer that has been begun, which no benchmark here has."""
    rows = folder / "rows.jsonl"
    words = ("cat", "dog", "sun", "moon", "tree", "ball")
    rows.write_text("".join(json.dumps({"w": w}) + "\n" for w in words), encoding="utf-8")
    path = folder / "begun.yaml"
    path.write_text(
        f"task: begun\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {rows}}}}}\n"
        "test_split: test\nfewshot_split: test\noutput_type: generate_until\n"
        'description: "Name the thing.\\n\\n"\ndoc_to_text: "A {{w}} is"\n'
        'doc_to_target: "a {{w}}"\n'
        'gen_prefix: "It is "\nnum_fewshot: 2\n'
        "generation_kwargs: {until: ['.'], max_gen_toks: 8}\n"
        "metric_list: [{metric: exact_match}]\n",
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize("turns", [True, False])
@pytest.mark.parametrize("source", [TEMPLATE, NO_SYSTEM], ids=["system", "no_system"])
def test_begun_answers_and_system_texts_equal_lm_evals(
    turns: bool,
    source: str,
    folder: Path,
    tmp_path: Path,
    asked: Asked,
    tokenizer: Any,
    oracle_of: Callable[..., Any],
) -> None:
    place = tmp_path / "model"
    shutil.copytree(folder, place)
    (place / "chat_template.jinja").write_text(source, encoding="utf-8")
    path = own_task(tmp_path)
    task_set = load_tasks(resolve([str(path)]))
    mine, render = ours(asked, tokenizer, task_set, repo_template(place), turns)
    assert_equal(mine, oracle_of(path, turns, source), "begun")
    prompt = mine.samples["begun"][0]["arguments"][0][0]
    assert prompt.endswith("It is")  # the template trims
    assert ("((Name the thing.))" in prompt) == (source == TEMPLATE)
    assert render.without_system == (source == NO_SYSTEM)


def test_lm_evals_fields_say_what_was_applied(
    folder: Path, asked: Asked, tokenizer: Any, benchmarks: Path, tmp_path: Path
) -> None:
    from datetime import UTC, datetime

    from lm_eval.utils import hash_string

    task_set = load_tasks(resolve(["arc_easy"]), data_dir=benchmarks, limit=2)
    mine, _ = ours(asked, tokenizer, task_set, repo_template(folder), True)
    place = write_results(tmp_path, "chat", mine, created=datetime(2026, 1, 1, tzinfo=UTC))
    (file,) = place.glob("results_*.json")
    said = json.loads(file.read_text())
    assert said["chat_template"] == TEMPLATE
    assert said["chat_template_sha"] == hash_string(TEMPLATE)
    assert said["fewshot_as_multiturn"] is True


def test_a_run_applies_formats_by_the_flag(tmp_path: Path, folder: Path) -> None:
    """auto: to the model with a template, not to the base model beside it."""

    def run(flag: str) -> tuple[dict[str, Any], dict[str, str]]:
        place = tmp_path / flag
        code = main(
            [
                *("run", "--models", f"chatty={folder}", "demo-small"),
                *("--tasks", "starter_commonsense", "--limit", "3", "--progress", "none"),
                *("--judge", "none", "--chat", flag),
                *("--store", str(tmp_path / "store.db"), "--output", str(place)),
            ]
        )
        assert code == 0
        manifest = json.loads((place / "manifest.json").read_text())
        prompts = {}
        for model in ("chatty", "demo-small"):
            (file,) = (place / model).glob("samples_*.jsonl")
            arguments = json.loads(file.read_text().splitlines()[0])["arguments"]
            prompts[model] = json.dumps(arguments)
        return {model["name"]: model["chat"] for model in manifest["models"]}, prompts

    chats, prompts = run("auto")
    assert chats == {"chatty": {"template": "repo", "fewshot": "turns"}, "demo-small": None}
    assert "[INST]" in prompts["chatty"]
    assert "[INST]" not in prompts["demo-small"]
    chats, prompts = run("never")
    assert chats == {"chatty": None, "demo-small": None}
    assert "[INST]" not in prompts["chatty"]


def test_always_needs_a_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--models", f"mine={DEMO_FOLDER / 'demo-small'}", "--tasks", "starter_commonsense"]
    flags += ["--chat", "always", "--store", str(tmp_path / "s.db"), "--judge", "none"]
    assert main(["run", *flags, "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.strip()
    assert "mine has no prompt format" in said
    assert "--template" in said
    assert main(["plan", *flags, "--limit", "2", "--template", "zero_shot"]) == 0


def test_a_format_that_refuses_names_the_task(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "model"
    shutil.copytree(folder, place)
    (place / "chat_template.jinja").write_text("{{ raise_exception('never') }}", encoding="utf-8")
    template = repo_template(place)
    assert template is not None
    task_set = load_tasks(resolve(["starter_commonsense"]), limit=2)
    with pytest.raises(UserError, match="never"):
        in_chat(task_set, TemplateRender(template), Chat(template.name, template.source))
    assert task_set.tasks["starter_commonsense"].instances == list(
        task_set.instances["starter_commonsense"]
    )
