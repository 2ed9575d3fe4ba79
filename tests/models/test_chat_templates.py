"""Every prompt format to the letter, which one a model gets, and templates that mean harm."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from tiny_llamas import LLAMA31_TEMPLATE, fast, llama3_tokenizer

from evalsuite.models import choose_template, named_template, repo_template, resolve_models
from evalsuite.models.chat import Message
from evalsuite.models.registry import registry
from evalsuite.records import UserError

TURNS: list[Message] = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Who?\n"},
    {"role": "assistant", "content": "Me."},
    {"role": "user", "content": "Bye"},
]
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
ZERO = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the human's questions."
)
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request."
)
KOALA = "BEGINNING OF CONVERSATION:"
H, E = "<|start_header_id|>", "<|end_header_id|>\n\n"

# Name: what one, two and three turns of TURNS become without a system text, then three turns with
# "Be kind.", then two turns of which the second is answered ("Me.") and nothing is asked for.
EXPECTED: dict[str, tuple[str, str, str, str, str]] = {
    "vicuna_v1.1": (
        f"{VICUNA} USER: Hi ASSISTANT:",
        f"{VICUNA} USER: Hi ASSISTANT: Hello!</s>USER: Who?\n ASSISTANT:",
        f"{VICUNA} USER: Hi ASSISTANT: Hello!</s>USER: Who?\n ASSISTANT: Me.</s>"
        "USER: Bye ASSISTANT:",
        "Be kind. USER: Hi ASSISTANT: Hello!</s>USER: Who?\n ASSISTANT: Me.</s>"
        "USER: Bye ASSISTANT:",
        f"{VICUNA} USER: Hi ASSISTANT: Hello!</s>USER: Who?\n ASSISTANT: Me.</s>",
    ),
    "zero_shot": (
        f"{ZERO}\n### Human: Hi\n### Assistant:",
        f"{ZERO}\n### Human: Hi\n### Assistant: Hello!\n### Human: Who?\n\n### Assistant:",
        f"{ZERO}\n### Human: Hi\n### Assistant: Hello!\n### Human: Who?\n\n### Assistant: Me."
        "\n### Human: Bye\n### Assistant:",
        "Be kind.\n### Human: Hi\n### Assistant: Hello!\n### Human: Who?\n\n### Assistant: Me."
        "\n### Human: Bye\n### Assistant:",
        f"{ZERO}\n### Human: Hi\n### Assistant: Hello!\n### Human: Who?\n"
        "\n### Assistant: Me.\n### ",
    ),
    "koala_v1": (
        f"{KOALA} USER: Hi GPT:",
        f"{KOALA} USER: Hi GPT: Hello!</s>USER: Who?\n GPT:",
        f"{KOALA} USER: Hi GPT: Hello!</s>USER: Who?\n GPT: Me.</s>USER: Bye GPT:",
        "Be kind. USER: Hi GPT: Hello!</s>USER: Who?\n GPT: Me.</s>USER: Bye GPT:",
        f"{KOALA} USER: Hi GPT: Hello!</s>USER: Who?\n GPT: Me.</s>",
    ),
    "koala_easylm": (
        f"{KOALA} USER: Hi GPT:",
        f"{KOALA} USER: Hi GPT:Hello!</s>USER: Who?\n GPT:",
        f"{KOALA} USER: Hi GPT:Hello!</s>USER: Who?\n GPT:Me.</s>USER: Bye GPT:",
        "Be kind. USER: Hi GPT:Hello!</s>USER: Who?\n GPT:Me.</s>USER: Bye GPT:",
        f"{KOALA} USER: Hi GPT:Hello!</s>USER: Who?\n GPT:Me.</s>",
    ),
    "alpaca": (
        f"{ALPACA}\n\n### Instruction: Hi\n\n### Response:",
        f"{ALPACA}\n\n### Instruction: Hi\n\n### Response: Hello!</s>"
        "### Instruction: Who?\n\n\n### Response:",
        f"{ALPACA}\n\n### Instruction: Hi\n\n### Response: Hello!</s>"
        "### Instruction: Who?\n\n\n### Response: Me.</s>### Instruction: Bye\n\n### Response:",
        "Be kind.\n\n### Instruction: Hi\n\n### Response: Hello!</s>"
        "### Instruction: Who?\n\n\n### Response: Me.</s>### Instruction: Bye\n\n### Response:",
        f"{ALPACA}\n\n### Instruction: Hi\n\n### Response: Hello!</s>"
        "### Instruction: Who?\n\n\n### Response: Me.</s>",
    ),
    "alpaca_stanford": (
        f"{ALPACA}\n\n### Instruction:\nHi\n\n### Response:",
        f"{ALPACA}\n\n### Instruction:\nHi\n\n### Response:\nHello!\n\n"
        "### Instruction:\nWho?\n\n\n### Response:",
        f"{ALPACA}\n\n### Instruction:\nHi\n\n### Response:\nHello!\n\n"
        "### Instruction:\nWho?\n\n\n### Response:\nMe.\n\n### Instruction:\nBye\n\n### Response:",
        "Be kind.\n\n### Instruction:\nHi\n\n### Response:\nHello!\n\n"
        "### Instruction:\nWho?\n\n\n### Response:\nMe.\n\n### Instruction:\nBye\n\n### Response:",
        f"{ALPACA}\n\n### Instruction:\nHi\n\n### Response:\nHello!\n\n"
        "### Instruction:\nWho?\n\n\n### Response:\nMe.\n\n",
    ),
    "oasst_llama": (
        "<|prompter|>Hi</s><|assistant|>",
        "<|prompter|>Hi</s><|assistant|>Hello!</s><|prompter|>Who?\n</s><|assistant|>",
        "<|prompter|>Hi</s><|assistant|>Hello!</s><|prompter|>Who?\n</s><|assistant|>Me.</s>"
        "<|prompter|>Bye</s><|assistant|>",
        "<|system|>Be kind.</s><|prompter|>Hi</s><|assistant|>Hello!</s><|prompter|>Who?\n</s>"
        "<|assistant|>Me.</s><|prompter|>Bye</s><|assistant|>",
        "<|prompter|>Hi</s><|assistant|>Hello!</s><|prompter|>Who?\n</s><|assistant|>Me.</s>",
    ),
    "wizardlm_7b": (
        "Hi\n\n### Response:",
        "Hi\n\n### Response:Hello!\n\nWho?\n\n\n### Response:",
        "Hi\n\n### Response:Hello!\n\nWho?\n\n\n### Response:Me.\n\nBye\n\n### Response:",
        "Be kind.\n\nHi\n\n### Response:Hello!\n\nWho?\n\n\n### Response:Me.\n\nBye"
        "\n\n### Response:",
        "Hi\n\n### Response:Hello!\n\nWho?\n\n\n### Response:Me.\n\n",
    ),
    "llama-2": (
        "[INST] Hi [/INST]",
        "[INST] Hi [/INST] Hello! </s><s>[INST] Who?\n [/INST]",
        "[INST] Hi [/INST] Hello! </s><s>[INST] Who?\n [/INST] Me. </s><s>[INST] Bye [/INST]",
        "[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Hello! </s><s>[INST] Who?\n [/INST] Me. "
        "</s><s>[INST] Bye [/INST]",
        "[INST] Hi [/INST] Hello! </s><s>[INST] Who?\n [/INST] Me. </s><s>",
    ),
    "llama-3": (
        f"<|begin_of_text|>{H}user{E}Hi<|eot_id|>{H}assistant{E}",
        f"<|begin_of_text|>{H}user{E}Hi<|eot_id|>{H}assistant{E}Hello!<|eot_id|>"
        f"{H}user{E}Who?<|eot_id|>{H}assistant{E}",
        f"<|begin_of_text|>{H}user{E}Hi<|eot_id|>{H}assistant{E}Hello!<|eot_id|>"
        f"{H}user{E}Who?<|eot_id|>{H}assistant{E}Me.<|eot_id|>{H}user{E}Bye<|eot_id|>{H}assistant{E}",
        f"<|begin_of_text|>{H}system{E}Be kind.<|eot_id|>{H}user{E}Hi<|eot_id|>"
        f"{H}assistant{E}Hello!<|eot_id|>{H}user{E}Who?<|eot_id|>{H}assistant{E}Me.<|eot_id|>"
        f"{H}user{E}Bye<|eot_id|>{H}assistant{E}",
        f"<|begin_of_text|>{H}user{E}Hi<|eot_id|>{H}assistant{E}Hello!<|eot_id|>"
        f"{H}user{E}Who?<|eot_id|>{H}assistant{E}Me.<|eot_id|>",
    ),
    "mistral": (
        "[INST] Hi [/INST]",
        "[INST] Hi [/INST] Hello!</s>[INST] Who?\n [/INST]",
        "[INST] Hi [/INST] Hello!</s>[INST] Who?\n [/INST] Me.</s>[INST] Bye [/INST]",
        "[INST] Be kind.\nHi [/INST] Hello!</s>[INST] Who?\n [/INST] Me.</s>[INST] Bye [/INST]",
        "[INST] Hi [/INST] Hello!</s>[INST] Who?\n [/INST] Me.</s>",
    ),
    "TinyLlama": (
        "<|system|>\n</s>\n<|user|>\nHi</s>\n<|assistant|>\n",
        "<|system|>\n</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n<|user|>\nWho?\n</s>\n"
        "<|assistant|>\n",
        "<|system|>\n</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n<|user|>\nWho?\n</s>\n"
        "<|assistant|>\nMe.</s>\n<|user|>\nBye</s>\n<|assistant|>\n",
        "<|system|>\nBe kind.</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n<|user|>\nWho?\n"
        "</s>\n<|assistant|>\nMe.</s>\n<|user|>\nBye</s>\n<|assistant|>\n",
        "<|system|>\n</s>\n<|user|>\nHi</s>\n<|assistant|>\nHello!</s>\n<|user|>\nWho?\n</s>\n"
        "<|assistant|>\nMe.</s>\n",
    ),
}


def test_every_template_is_written_out_here() -> None:
    assert EXPECTED.keys() == registry().templates.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_text_is_exact(name: str) -> None:
    template = named_template(name)
    assert template is not None
    one, two, three, with_system, closed = EXPECTED[name]
    assert template.render(TURNS[:1]) == one
    assert template.render(TURNS[:3]) == two
    assert template.render(TURNS) == three
    assert template.render(TURNS, "Be kind.") == with_system
    assert template.render([{"role": "system", "content": "Be kind."}, *TURNS]) == with_system
    assert template.render(TURNS[:4], add_generation_prompt=False) == closed


@pytest.mark.parametrize("name", EXPECTED)
def test_contents_are_never_read_as_a_template(name: str) -> None:
    template = named_template(name)
    assert template is not None
    hostile = "{{ 7 * 7 }}{% raise %}{# #}</s> USER: <|eot_id|>"
    assert hostile in template.render([{"role": "user", "content": hostile}])


def test_stop_strings_and_who_writes_bos() -> None:
    facts = registry().templates
    assert facts["alpaca_stanford"].stop == ("</s>", "\n### Instruction:")
    assert facts["zero_shot"].stop == ("###",)
    assert facts["llama-3"].stop == ("<|eot_id|>",)
    assert [name for name, each in facts.items() if each.bos == "template"] == ["llama-3"]


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "assistant", "content": "first"}],
        [TURNS[0], TURNS[0]],
        [TURNS[0], {"role": "system", "content": "late"}],
        [TURNS[0], {"role": "tool", "content": "x"}],
    ],
)
def test_roles_out_of_order_are_refused(messages: list[Message]) -> None:
    template = named_template("vicuna_v1.1")
    assert template is not None
    with pytest.raises(UserError, match="a conversation goes user, assistant"):
        template.render(messages)


def test_one_system_text_is_enough() -> None:
    template = named_template("vicuna_v1.1")
    assert template is not None
    with pytest.raises(UserError, match="one system text"):
        template.render([{"role": "system", "content": "a"}, TURNS[0]], system="b")


# ---- which format a model gets -------------------------------------------------------------------


def _folder(place: Path, chat_template: object = None, **files: str) -> Path:
    place.mkdir(exist_ok=True)
    settings = {"bos_token": "<s>", "eos_token": {"content": "</s>"}}
    if chat_template is not None:
        settings["chat_template"] = chat_template  # type: ignore[assignment]
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text)
    return place


def test_the_registry_comes_before_the_folder_and_the_flag_before_both(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "own", "own: {{ messages[0]['content'] }}")

    def text(name: str, flag: str | None = None) -> str | None:
        template = choose_template(resolve_models([name], template=flag)[0], folder)
        return template.render(TURNS[:1]) if template else None

    assert text(f"vicuna-13b={folder}") == EXPECTED["vicuna_v1.1"][0]
    assert text(f"vicuna-13b={folder}", "koala_v1") == EXPECTED["koala_v1"][0]
    assert text(f"vicuna-13b={folder}", "repo") == "own: Hi"
    assert text(f"llama-7b={folder}") is None
    assert text(f"llama-7b={folder}", "base_raw") is None
    assert text(str(folder)) == "own: Hi"
    assert text(f"llama-3-8b-instruct={folder}") == "own: Hi"
    folder = _folder(tmp_path / "none")
    assert text(f"llama-3-8b-instruct={folder}") == EXPECTED["llama-3"][0]
    assert text(f"smollm2-135m-instruct={folder}") is None
    assert text(str(folder)) is None


def test_where_a_folder_keeps_its_template(tmp_path: Path) -> None:
    def text(folder: Path) -> str | None:
        template = repo_template(folder)
        return template.render(TURNS[:1]) if template else None

    named = [{"name": "tool_use", "template": "tool"}, {"name": "default", "template": "default"}]
    assert text(_folder(tmp_path / "a", "config", chat_template__jinja="jinja")) == "jinja"
    assert text(_folder(tmp_path / "b", named)) == "default"
    assert text(_folder(tmp_path / "c", chat_template__json='{"chat_template": "json"}')) == "json"
    assert text(_folder(tmp_path / "d")) is None
    assert text(_folder(tmp_path / "e", "{{ bos_token }}{{ eos_token }}")) == "<s></s>"
    with pytest.raises(UserError, match="is no text"):
        repo_template(_folder(tmp_path / "f", 7))
    with pytest.raises(UserError, match="is not JSON"):
        repo_template(_folder(tmp_path / "g", chat_template__json="{"))


def test_a_folder_s_template_gives_what_transformers_gives(tmp_path: Path) -> None:
    more = (
        "{% for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}\n"
        "    {% generation %}{{ m | tojson }}{% endgeneration %}\n{% endfor %}{{ bos_token }}"
    )
    tokenizer = fast(llama3_tokenizer(), "<|begin_of_text|>", "<|eot_id|>")
    for number, source in enumerate((LLAMA31_TEMPLATE, more)):
        folder = tmp_path / str(number)
        tokenizer.save_pretrained(folder)
        (folder / "chat_template.jinja").write_text(source)
        template = repo_template(folder)
        assert template is not None
        for turns in (TURNS[:1], TURNS[:3], TURNS):
            for system in (None, "Be <kind> & «good»."):
                head = [] if system is None else [{"role": "system", "content": system}]
                assert template.render(turns, system) == tokenizer.apply_chat_template(
                    [*head, *turns],
                    chat_template=source,
                    tokenize=False,
                    add_generation_prompt=True,
                )


def test_the_day_is_pinned(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "a", LLAMA31_TEMPLATE)
    template = repo_template(folder)
    assert template is not None
    assert "Today Date: 26 Jul 2024\n\n" in template.render(TURNS[:1])
    template = repo_template(_folder(tmp_path / "b", "{{ strftime_now('%d %B %Y') }}"))
    assert template is not None
    assert template.render(TURNS[:1]) == "26 July 2024"


def test_a_template_may_refuse(tmp_path: Path) -> None:
    source = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}ok"
    )
    template = repo_template(_folder(tmp_path / "a", source))
    assert template is not None
    assert template.render(TURNS[:1]) == "ok"
    with pytest.raises(UserError, match=r"'repo' can't be used .*: no system role$"):
        template.render(TURNS[:1], "Be kind.")
    assert template.render(TURNS[:1]) == "ok"


# ---- templates that mean harm --------------------------------------------------------------------

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (ENDLESS, "takes more than 1 seconds"),
        ("{% for a in range(99999) %}{{ 'x' * 999 }}{% endfor %}", "more than 4,000,000 char"),
        ("{% set n = namespace(s='x') %}{% for a in range(64) %}{% set n.s = n.s ~ n.s %}"
         "{% endfor %}", "MemoryError|lack of memory"),
        ("{{ 'x'.rjust(99999999999) }}", "MemoryError|lack of memory"),
        ("{{ '%099999999999d' | format(1) }}", "MemoryError|lack of memory|too large|too big"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError|recursion|ended"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe|undefined"),
        ("{{ messages.append(1) }}", "not safely callable|unsafe"),
        ("{{ raise_exception.__globals__['os'].environ }}", "unsafe|undefined"),
        ("{% include '/etc/passwd' %}", "no loader"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ nothing.at.all }}", "undefined"),
        ("{% if %}", "Expected an expression"),
    ],
)  # fmt: skip
def test_a_hostile_template_ends_as_one_line(tmp_path: Path, source: str, why: str) -> None:
    limit = 1 if source == ENDLESS else 10
    template = repo_template(_folder(tmp_path / "evil", source), seconds=limit)
    assert template is not None
    began = time.monotonic()
    with pytest.raises(UserError, match=why) as caught:
        template.render(TURNS[:1])
    assert time.monotonic() - began < 60
    assert "\n" not in str(caught.value)


def test_a_harmless_one_still_renders_after_a_hostile_conversation(tmp_path: Path) -> None:
    source = "{% if messages[0].content == 'loop' %}" + ENDLESS + "{% endif %}fine"
    template = repo_template(_folder(tmp_path / "a", source), seconds=1)
    assert template is not None
    with pytest.raises(UserError, match="takes more than"):
        template.render([{"role": "user", "content": "loop"}])
    assert template.render(TURNS[:1]) == "fine"


def test_the_second_process_has_no_secrets_and_does_not_outlive_its_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    template = repo_template(_folder(tmp_path / "a", "fine"))
    assert template is not None
    assert template._worker is not None
    template.render(TURNS[:1])
    process = template._worker._process
    assert process is not None
    assert b"hf_secret" not in Path(f"/proc/{process.pid}/environ").read_bytes()
    del template
    assert process.poll() is not None
    assert not os.path.exists(f"/proc/{process.pid}")


def test_a_template_that_is_a_book_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1,000,001 characters; refused"):
        repo_template(_folder(tmp_path / "a", "x" * 1_000_001))
