"""A checkpoint's tokenizer, as its authors' files define it.

Loaded by transformers without ever running code from the folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalsuite.records import UserError


def check_tokenizer(folder: Path, label: str) -> None:
    """Raises UserError when a folder has no tokenizer; reads no file."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise UserError(f"{label}: no tokenizer.json or tokenizer.model in {folder}")


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
