"""Tokenizers as folders bring them: tokenizer.json, or the SentencePiece file alone."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from tiny_llamas import TEXT, fast, llama_tokenizer

from evalsuite.models import check_tokenizer, encode_chat, load_tokenizer, named_template
from evalsuite.records import UserError

HAS_SENTENCEPIECE = importlib.util.find_spec("sentencepiece") is not None


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x: no tokenizer\.json or tokenizer\.model in"):
        load_tokenizer(tmp_path, "x")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "is not whole JSON"),
        (b"", "is not whole JSON"),
        (b"\xff\xfe", "is not whole JSON"),
        (b"{}", 'has no "model" entry'),
        (b"[]", 'has no "model" entry'),
        (b'{"model": null}', 'has no "model" entry'),
    ],
)
def test_a_damaged_tokenizer(tmp_path: Path, text: bytes | None, why: str) -> None:
    fast(llama_tokenizer()).save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    check_tokenizer(tmp_path, "x")
    file.write_bytes(file.read_bytes()[:1000] if text is None else text)
    for use in (check_tokenizer, load_tokenizer):
        with pytest.raises(UserError, match=rf"x: .*tokenizer\.json .*{why}.*: download") as caught:
            use(tmp_path, "x")
        assert "\n" not in str(caught.value)


def test_a_tokenizer_of_an_unknown_kind(tmp_path: Path) -> None:
    fast(llama_tokenizer()).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Unheard"}}')
    check_tokenizer(tmp_path, "x")
    with pytest.raises(UserError, match="x: can't read the tokenizer in") as caught:
        load_tokenizer(tmp_path, "x")
    assert "\n" not in str(caught.value)


def test_code_of_a_folder_is_never_run(tmp_path: Path) -> None:
    fast(llama_tokenizer()).save_pretrained(tmp_path)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings["auto_map"] = {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    load_tokenizer(tmp_path, "x")
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(HAS_SENTENCEPIECE, reason="sentencepiece is installed")
def test_a_sentencepiece_file_alone_names_the_packages_it_takes(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"pieces")
    with pytest.raises(UserError, match="pip install sentencepiece protobuf"):
        load_tokenizer(tmp_path, "x")


@pytest.mark.skipif(not HAS_SENTENCEPIECE, reason="sentencepiece is not installed")
def test_a_sentencepiece_file_alone_gives_its_own_pieces(tmp_path: Path) -> None:
    """As in the older repositories of this family, which have no tokenizer.json."""
    import sentencepiece

    (tmp_path / "text").write_text("\n".join(TEXT * 5))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"),
        model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=330,
        model_type="bpe",
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
    )
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "add_bos_token": True,
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    tokenizer = load_tokenizer(tmp_path, "x")
    reference = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    for text in (*TEXT, "42 é 漢字", "two  spaces"):
        assert tokenizer(text)["input_ids"] == [1, *reference.encode(text)]

    template = named_template("koala_easylm")
    assert template is not None
    prompt = encode_chat(tokenizer, template, [{"role": "user", "content": "Who? </s>"}])
    assert prompt.tokens == (1, *reference.encode(prompt.text))
