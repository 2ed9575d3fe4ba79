"""A checkpoint's tokenizer, as its authors' files define it.

Loaded by transformers without ever running code from the folder.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from evalsuite.models.registry import TokenizerFacts
from evalsuite.records import UserError


def check_tokenizer(folder: Path, label: str) -> None:
    """Raises UserError when a folder has no tokenizer that can be read here.

    A tokenizer.json is read as JSON, which finds one that was cut short; nothing is built of it.
    """
    if (folder / "tokenizer.json").is_file():
        _check_json(folder / "tokenizer.json", label)
        return
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return  # GPT-2's form, which transformers reads by itself
    if not (folder / "tokenizer.model").is_file():
        raise UserError(f"{label}: no tokenizer.json or tokenizer.model in {folder}")
    # transformers would name another package when these are missing.
    if not (_installed("sentencepiece") and _installed("google.protobuf")):
        raise UserError(
            f"{label}: {folder} has its tokenizer only as tokenizer.model, which takes two more "
            "packages to read: pip install sentencepiece protobuf"
        )


def _check_json(file: Path, label: str) -> None:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{label}: {file} is not whole JSON ({error}): download it again") from None
    if not isinstance(held, dict) or not isinstance(held.get("model"), dict):
        raise UserError(
            f'{label}: {file} is no tokenizer (it has no "model" entry): download it again'
        )


def load_tokenizer(folder: Path, label: str) -> Any:
    """The transformers tokenizer in `folder`.

    Raises:
        UserError: there is none, or its files can't be read.
    """
    from transformers import AutoTokenizer

    check_tokenizer(folder, label)
    try:
        return AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # transformers and tokenizers raise bare Exceptions on bad files
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{label}: can't read the tokenizer in {folder}: {reason}") from error


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is a part of is missing
        return False


def tokenizer_warnings(tokenizer: Any, facts: TokenizerFacts) -> tuple[str, ...]:
    """What a tokenizer has otherwise than its family's registry entry says, one line each.

    Early conversions carry empty or swapped BOS and EOS: prompts then begin wrongly, and answers
    don't end.
    """
    found = []
    for role, name, number in (
        ("BOS", facts.bos, facts.bos_id),
        ("EOS", facts.eos, facts.eos_id),
    ):
        has = getattr(tokenizer, f"{role.lower()}_token")
        has_id = getattr(tokenizer, f"{role.lower()}_token_id")
        if (name is not None and has != name) or (number is not None and has_id != number):
            wanted = name if number is None else f"{name} ({number})"
            found.append(f"the tokenizer's {role} is {has or 'empty'} ({has_id}), not {wanted}")
    if facts.bos is not None and tokenizer("x")["input_ids"][0] != tokenizer.bos_token_id:
        found.append("the tokenizer puts no BOS before a text")
    return tuple(f"{line}: probably an early conversion" for line in found)
