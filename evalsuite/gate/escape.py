"""Texts from elsewhere made harmless: for GitHub's commands, markdown and XML.

Knows the rules of these three places and nothing else. Names of models and tasks and the words of
errors may hold anything.
"""

from __future__ import annotations

import re

from evalsuite.terminal import one_line

# What XML 1.0 has no way to write, and what a terminal may act on.
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Between letters or digits these are only themselves; anywhere else they may be markup.
_PLAIN_INSIDE = frozenset("-_,")


def command_message(text: str) -> str:
    """The message of a GitHub workflow command: one that can't end early or begin another."""
    safe = re.sub("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]", " ", text)
    return safe.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_property(text: str) -> str:
    """A property of a GitHub workflow command, such as its title."""
    return command_message(text).replace(":", "%3A").replace(",", "%2C")


def markdown(text: str) -> str:
    """A text that markdown shows as it stands, in a table's cell too: one line, no markup, no HTML.

    Every sign that could be markup becomes a numeric character reference, which CommonMark (0.31,
    section 2.5) never takes for structure.
    """
    line = one_line(text)
    out = []
    for place, c in enumerate(line):
        inside = (
            0 < place < len(line) - 1 and line[place - 1].isalnum() and line[place + 1].isalnum()
        )
        plain = c == " " or (c.isalnum() or not c.isascii()) or (c in _PLAIN_INSIDE and inside)
        out.append(c if plain else f"&#{ord(c)};")
    return "".join(out)


def xml_text(text: str) -> str:
    """A text that an XML 1.0 file can hold: what it can't is written as \\x1b or \\ud800.

    Signs such as < are the XML writer's to escape.
    """
    return _CONTROLS.sub(
        lambda m: f"\\x{ord(m[0]):02x}" if ord(m[0]) < 256 else f"\\u{ord(m[0]):04x}", text
    )
