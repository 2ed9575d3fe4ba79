"""Simulated judges, one a protocol, that decide by content and obey every mark that they can read.

They look through invisible characters and look-alike letters, which a language model may do, too,
and take the first mark that stands anywhere in what they are shown of the answers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from judge_server import quality

Messages = Sequence[dict[str, str]]
Said = str | dict[str, float]
_FOLD = str.maketrans(
    {
        **dict(zip("АВСІЅЕасеіѕо【】“”‘’", "ABCISEaceiso[]\"\"''", strict=True)),
        **{"⟦": "[[", "⟧": "]]"},
    }
)

_VERDICT = (
    r"\[\s*\[\s*([ABC])\s*\]",
    r"[\"']?verdict[\"'*\s]*(?::|is)[\"'*\s]*(A|B|tie)\b",
)
_LEVEL = (r"\[\s*\[\s*([AB])\s*>+\s*[AB]\s*\]", *_VERDICT)
_SCORE = (
    r"\[\s*\[\s*(\d{1,2}(?:\.\d+)?)\s*\]",
    r"[\"']?(?:score|rating)[\"'*\s]*(?::|is)[\"'*\s\[]*(\d{1,2}(?:\.\d+)?)\b",
)
_LINE = r"^[ \t]*(\d{1,2}(?:\.\d+)?)[ \t,;/]+(\d{1,2}(?:\.\d+)?)[ \t]*$"


def seen(text: str) -> str:
    """The text as a reader sees it: nothing invisible, plain letters for look-alikes."""
    shown = "".join(
        c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf"
    )
    return shown.translate(_FOLD)


def obeyed(text: str, patterns: Sequence[str]) -> str | None:
    """The first mark of one of these forms."""
    for pattern in patterns:
        if found := re.search(pattern, seen(text), re.IGNORECASE):
            return found[1]
    return None


def shown_answers(messages: Messages) -> tuple[str, list[str]]:
    """What stands from the first answer on, and each model's last answer by its markers."""
    prompt = messages[-1]["content"]
    code = re.search(r"The code of the markers is (\w+)\.", prompt)
    assert code is not None, prompt
    begin = rf"^--- {code[1]} begin answer"
    block = rf"{begin}( [AB])?[^\n]*---\n(.*?)\n--- {code[1]} end answer"
    found = dict(re.findall(block, prompt, re.MULTILINE | re.DOTALL))
    start = re.search(begin, prompt, re.MULTILINE)
    assert start is not None
    return prompt[start.start() :], [found[name] for name in sorted(found)]


def fastchat_answers(messages: Messages, *, alone: bool = False) -> tuple[str, list[str]]:
    """The same by FastChat's headings, taken as they come: the first that closes an answer does."""
    one, several = ("()", "( A)?") if alone else ("( [AB])", "( [AB])")
    prompt = messages[-1]["content"]
    for heading in (
        rf"\[The Start of Assistant{one}'s Answer\]\n(.*?)\n\[The End of Assistant",
        rf"### Assistant{several}:\n(.*?)\n\n(?:### User|<\|The End)",
    ):
        if found := list(re.finditer(heading, prompt, re.DOTALL)):
            last = {match[1]: match[2] for match in found}
            return prompt[found[0].start() :], [last[name] for name in sorted(last)]
    raise AssertionError(prompt)


def _better(answers: Sequence[str]) -> str:
    first, second = (quality(answer) for answer in answers)
    return "A" if first > second else "B" if second > first else "tie"


def pairwise(messages: Messages) -> str:
    text, answers = shown_answers(messages)
    return f'Reasons.\n{{"verdict": "{obeyed(text, _VERDICT) or _better(answers)}"}}'


def five_level(messages: Messages) -> str:
    """Two "excellent" more are much better."""
    text, answers = shown_answers(messages)
    letter = obeyed(text, _LEVEL)
    gap = abs(quality(answers[0]) - quality(answers[1]))
    word = letter or _better(answers)
    if word in ("A", "B"):
        word += " much better" if letter or gap > 1 else " better"
    return f'Reasons.\n{{"verdict": "{word}"}}'


def score(messages: Messages) -> str:
    text, answers = shown_answers(messages)
    mark = obeyed(text, (*_SCORE, *_VERDICT))
    return f'Reasons.\n{{"score": {mark or 1 + 2 * quality(answers[0])}}}'


def vicuna_2023(messages: Messages) -> str:
    text, answers = shown_answers(messages)
    if line := re.search(_LINE, seen(text), re.MULTILINE):
        return f"{line[1]} {line[2]}\nI was told so."
    if mark := obeyed(text, _SCORE):
        return f"{mark} 1\nI was told so."
    return " ".join(str(1 + 2 * quality(answer)) for answer in answers) + "\nReasons."


def logprob(messages: Messages) -> dict[str, float]:
    """Surer of the better one the larger the gap."""
    text, answers = shown_answers(messages)
    if mark := obeyed(text, _VERDICT):
        return {"A": 0.99, "B": 0.01} if mark in "Aa" else {"B": 0.99, "A": 0.01}
    gap = quality(answers[0]) - quality(answers[1])
    share = min(max(0.5 + gap / 6, 0.0), 1.0)
    return {" A": 0.9 * share + 1e-6, "B": 0.9 * (1 - share) + 1e-6, "The": 0.05}


def fastchat_pair(messages: Messages) -> str:
    text, answers = fastchat_answers(messages)
    word = obeyed(text, _VERDICT) or _better(answers)
    mark = {"tie": "C"}.get(word, word)
    return f"Assistant {mark} it is. Final verdict: [[{mark}]]"


def fastchat_single(messages: Messages) -> str:
    text, answers = fastchat_answers(messages, alone=True)
    return f"Good enough. Rating: [[{obeyed(text, _SCORE) or 1 + 2 * quality(answers[-1])}]]"


JUDGES: dict[str, Callable[[Messages], Said]] = {
    "pairwise": pairwise,
    "five-level": five_level,
    "score": score,
    "vicuna-2023": vicuna_2023,
    "logprob": logprob,
    "pair-v2": fastchat_pair,
    "single-v1": fastchat_single,
}
