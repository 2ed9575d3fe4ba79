"""Texts from elsewhere made harmless for a terminal and for a CI's log.

Names of models and tasks and the words of servers may hold anything: control sequences, and what
GitHub's runner takes for a command. Knows the rules of these two places and nothing else.
"""

from __future__ import annotations

import unicodedata

_LONGEST = 500


def one_line(text: str, longest: int = _LONGEST) -> str:
    """A text as one line of visible characters; what is cut off ends in "…".

    Control characters, line breaks of every kind and marks that turn the direction of writing are
    gone, and so is what GitHub's runner takes for a command anywhere in a line.
    """
    line = " ".join(_visible(text).split()).replace("##[", "# #[")
    return line if len(line) <= longest else line[: longest - 1] + "…"


def harmless(text: str) -> str:
    """A text of ours with others' words in it: its lines and spaces stay, as `one_line` else.

    A line that begins with "::" would be a command as well: a space comes in between.
    """
    lines = (_visible(line).replace("##[", "# #[") for line in text.split("\n"))
    return "\n".join(
        line.replace("::", ": :", 1) if line.lstrip().startswith("::") else line for line in lines
    )


def _visible(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c
        for c in text
        if unicodedata.category(c) not in ("Cf", "Cs")
    )
