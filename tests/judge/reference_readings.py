"""What references to extraction and everyday questions must say, read from the questions' texts.

Knows the questions by id; parses the log, table or message in them and follows it. It must not
read a reference or a check.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from fractions import Fraction

from reference_proofs import Proof, numbers, only

from evalsuite.judge.records import Question


def table(turn: str) -> list[dict[str, str]]:
    """The rows of a table with | between its columns."""
    head, *rows = (
        [cell.strip() for cell in line.split("|")] for line in turn.splitlines() if "|" in line
    )
    return [dict(zip(head, row, strict=True)) for row in rows]


def minutes(clock: str) -> int:
    hour, minute = clock.split(":")
    return 60 * int(hour) + int(minute)


def clock(minute: int) -> str:
    return f"{minute // 60}:{minute % 60:02}"


# ---- extraction ----------------------------------------------------------------------------------


def invoice(question: Question) -> Fraction:
    whole, credit, left = (
        Fraction(amount.replace(",", ""))
        for amount in re.findall(r"\d[\d,]*\.\d\d", question.turns[0])
    )
    assert whole - credit == left
    return left


def rainy_month(question: Question) -> str:
    return only(
        row["month"]
        for row in table(question.turns[0])
        if int(row["umbrellas"]) > int(row["sunglasses"])
    )


def people(question: Question) -> int:
    [text] = re.findall(r'"(.*)"', question.turns[0])
    return len(set(re.findall(r"\b[A-Z][a-z]+", text)))


def meeting(question: Question) -> str:
    [moved] = re.findall(r"moved us to (\d+:\d+).*add half an hour to that", question.turns[0])
    return clock(minutes(moved) + 30)


def measures(question: Question, unit: str = r"\w+") -> list[tuple[int, str]]:
    [text] = re.findall(r'"(The bridge.*)"', question.turns[0])
    return [(int(value), name) for value, name in re.findall(rf"(\d+) ({unit})", text)]


def pump(question: Question) -> list[tuple[str, int]]:
    """What it did, and for how many minutes, from one change to the next."""
    changes = [
        (minutes(time), state)
        for time, state in re.findall(r"^(\S+) pump (on|off)$", question.turns[0], re.MULTILINE)
    ]
    return [(state, until - since) for (since, state), (until, _) in itertools.pairwise(changes)]


def chairs(question: Question) -> dict[str, int]:
    monday, tuesday, wednesday, thursday, friday = re.findall(r'"(.*)"', question.turns[0])
    red, blue = numbers(monday)
    [before, red] = red, *numbers(tuesday)
    assert "twice as many blue" in wednesday
    [green] = numbers(wednesday)
    blue *= 2
    assert thursday == "Forget Tuesday's message."
    red = before
    assert friday == "Half of the blue ones should be green instead."
    blue, green = blue // 2, green + blue // 2
    return {"red": red, "blue": blue, "green": green}


def heads(question: Question) -> list[tuple[str, int, int]]:
    """Name, first and last year; each begins when the one before ends."""
    [text] = re.findall(r'"(The school.*)"', question.turns[0])
    founded, left, _, closed = map(int, re.findall(r"\b1\d{3}\b", text))
    assert "stayed for eleven years" in text
    assert "nine years later" in text
    ends = [founded, founded + 11, left, left + 9, closed]
    names = re.findall(r"(Ines Falk|Rolf Adeyemi|Tove Lindqvist|Aron Beck)", text)
    return list(zip(names, ends, ends[1:], strict=False))


def as_csv(question: Question) -> str:
    rows = [("name", "from", "to"), *heads(question)]
    return "\n".join(",".join(map(str, row)) for row in rows)


def longest_head(question: Question) -> str:
    terms = [(until - since, name) for name, since, until in heads(question)]
    years, name = max(terms)
    assert [term for term, _ in terms].count(years) == 1
    return f"{name}, {years}"


def arrival(question: Question) -> str:
    [(sunday, crossing)] = re.findall(
        r"on Sundays at (\d+:\d+) only. The crossing takes (\d+) minutes", question.turns[0]
    )
    return clock(minutes(sunday) + int(crossing))


def herbs(question: Question) -> list[str]:
    return sorted(
        row["name"]
        for row in table(question.turns[0])
        if row["sown in"] == "April"
        and int(row["height in cm"]) < 70
        and float(row["price of a packet"]) < 2.20
    )


def bill(question: Question) -> Fraction:
    chosen, total = herbs(question), Fraction(0)
    for row in table(question.turns[0]):
        packets = (row["name"] in chosen) + 2 * (row["place"] == "sun")
        total += packets * Fraction(row["price of a packet"])
    return total


# ---- knowledge and common sense ------------------------------------------------------------------

YEARS = {
    "the Ottomans take Constantinople": 1453,
    "Magna Carta is sealed": 1215,
    "Columbus sails across the Atlantic for the first time": 1492,
    "the Normans conquer England": 1066,
}


def in_order(question: Question) -> str:
    events = re.findall(r"^([A-D])\) (.*)$", question.turns[0], re.MULTILINE)
    return "".join(key for key, _ in sorted(events, key=lambda event: YEARS[event[1]]))


def scales(question: Question) -> int:
    [shown] = numbers(question.turns[0])
    return shown - sum(numbers(question.turns[1]))


READINGS: dict[tuple[int, int], Proof] = {
    (31, 0): lambda q: float(invoice(q)),
    (31, 1): lambda q: float(invoice(q) / 2 / 5),
    (32, 0): rainy_month,
    (33, 0): people,
    (34, 0): meeting,
    (74, 0): lambda q: sum(length for state, length in pump(q) if state == "off"),
    (74, 1): lambda q: max(length for state, length in pump(q) if state == "on"),
    (75, 0): lambda q: chairs(q)["green"],
    (75, 1): lambda q: ", ".join(f"{colour} {count}" for colour, count in chairs(q).items()),
    (76, 0): as_csv,
    (76, 1): longest_head,
    (77, 1): arrival,
    (78, 0): lambda q: ", ".join(herbs(q)),
    (78, 1): lambda q: float(bill(q)),
    (80, 0): in_order,
    (80, 1): lambda q: max(YEARS.values()) - min(YEARS.values()),
    (45, 0): lambda q: 2,
    (45, 1): lambda q: 2 * math.ceil(10 / 4),
    (84, 0): lambda q: only(numbers(q.turns[0])),
    (84, 1): scales,
}


def measured(reference: str) -> list[tuple[int, str]]:
    """Values and units of a reference answer in JSON, in its order."""
    return [(entry["value"], entry["unit"]) for entry in json.loads(reference)]
