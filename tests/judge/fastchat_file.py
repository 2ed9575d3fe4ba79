"""A file in the format of FastChat's judge_prompts.jsonl, in words of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_ONE = "[The Start of Assistant{0}'s Answer]\n{{answer{1}}}\n[The End of Assistant{0}'s Answer]"
_CONVERSATION = (
    "<|The Start of Assistant{0}'s Conversation with User|>\n\n### User:\n{{question_1}}\n\n"
    "### Assistant{0}:\n{{answer{1}_1}}\n\n### User:\n{{question_2}}\n\n### Assistant{0}:\n"
    "{{answer{1}_2}}\n\n<|The End of Assistant{0}'s Conversation with User|>"
)
_REFERENCE = "[The Start of Reference Answer]\n{ref_answer_1}\n[The End of Reference Answer]\n\n"
_REFERENCES = "### Reference answer:\n{ref_answer_1}\n\n### Reference answer:\n{ref_answer_2}\n\n"


def prompts() -> list[dict[str, Any]]:
    """Eight prompts: pairs and single answers, one turn and two, without and with references."""
    rows = []
    for kind, output, sides in (
        ("pairwise", "[[A]]", ((" A", "_a"), (" B", "_b"))),
        ("single", "[[rating]]", (("", ""),)),
    ):
        ask = "Say whose answer is better." if kind == "pairwise" else "Rate it from 1 to 10."
        short = "pair" if kind == "pairwise" else "single"
        for later in (False, True):
            body = "\n\n".join((_CONVERSATION if later else _ONE).format(*side) for side in sides)
            for math in (False, True):
                shown = (_REFERENCES if later else _REFERENCE) if math else ""
                version = "v2" if kind == "pairwise" and not math else "v1"
                rows.append(
                    {
                        "name": f"{short}{'-math' if math else ''}-{version}"
                        f"{'-multi-turn' if later else ''}",
                        "type": kind,
                        "system_prompt": f"{ask} End with {output}.",
                        "prompt_template": shown
                        + ("" if later else "[User Question]\n{question}\n\n")
                        + body,
                        "description": "a prompt",
                        "category": "math" if math else "general",
                        "output_format": output,
                    }
                )
    return rows


def write_prompts(path: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    """Writes them, or `rows` instead."""
    text = "".join(json.dumps(row) + "\n" for row in (prompts() if rows is None else rows))
    path.write_text(text, encoding="utf-8")
    return path
