"""Replies read by each protocol: one form at one place, and nothing for anything else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.judge import Preset, load_preset
from evalsuite.judge.letters import keep_probabilities, weigh_letters
from evalsuite.judge.neutral import BREAK, neutral
from evalsuite.judge.readers import READERS, Reading

PRESETS = ("pairwise", "five-level", "score", "vicuna-2023", "logprob")


@pytest.mark.parametrize(
    ("reader", "reply", "wanted"),
    [
        ("level", 'So.\n{"verdict": "A much better"}', Reading("first", preference=1.0)),
        ("level", 'So.\n{"verdict": "b  Better"}', Reading("second", preference=0.25)),
        ("level", "Verdict: tie.", Reading("tie", preference=0.5)),
        ("level", "**Verdict: B much better**", Reading("second", preference=0.0)),
        ("level", '{"verdict": "A"}', None),  # by how much is not said
        ("level", '{"verdict": "A much better"} I think', None),
        ("level", '{"verdict": 1}', None),
        ("score", 'So.\n{"score": 10}', Reading("tie", (10.0,))),
        ("score", '{"score": 7.5}', Reading("tie", (7.5,))),
        ("score", 'Sound. The score is {"score": 7}.', Reading("tie", (7.0,))),
        ("score", 'Sound.\n```json\n{\n  "score": 4\n}\n```', Reading("tie", (4.0,))),
        ("level", 'So: {"verdict": "B better"}', Reading("second", preference=0.25)),
        ("score", "**Score: 8/10**", Reading("tie", (8.0,))),
        ("score", "Rating: [[1]]", Reading("tie", (1.0,))),
        ("score", "[[10]]", Reading("tie", (10.0,))),
        ("score", '{"score": true}', None),
        ("score", '{"score": "9"}', None),
        ("score", '{"score": 0}', None),
        ("score", '{"score": 11}', None),
        ("score", '{"score": NaN}', None),
        ("score", "[[10]] and then some", None),
        ("score", "[[7", None),
        ("score", "7", None),
        ("two-scores", "8 9.5\nBecause.", Reading("second", (8.0, 9.5))),
        ("two-scores", "9, 9", Reading("tie", (9.0, 9.0))),
        ("two-scores", "Because:\n8 9", None),
        ("mark-at-end", "I say so. [[B]]", Reading("second")),
        ("mark-at-end", 'My verdict: "[[A]]".', Reading("first")),
        ("mark-at-end", "Final verdict: [[C]] for a tie. Both are wrong.", Reading("tie")),
        ("mark-at-end", "[[A]] would be wrong.", None),
        ("mark-at-end", '"[[A]]" if A is better, and "[[C]]"', None),
        ("mark-at-end", "[[A]]\nOr not.", None),
        ("mark-at-end", "[[A]] for a tie", None),
        ("rating-at-end", "Fine. Rating: [[10]]", Reading("tie", (10.0,))),
        ("rating-at-end", "Rating: [[6.5]].", Reading("tie", (6.5,))),
        ("rating-at-end", "Rating: [[0]]", None),
        ("rating-at-end", "Rating: [[rating]]", None),
        ("rating-at-end", "[[3]], no, [[9]]", None),
        ("rating-at-end", "[[9]] of ten", None),
    ],
)
def test_one_form_at_one_place(reader: str, reply: str, wanted: Reading | None) -> None:
    assert READERS[reader](reply, True) == (wanted or Reading("invalid"))


def test_a_reply_that_was_cut_off_has_no_end() -> None:
    assert READERS["level"]("Verdict: tie", False).verdict == "invalid"
    assert READERS["score"]('{"score": 1}', False).verdict == "invalid"
    assert READERS["mark-at-end"]("[[A]]", False).verdict == "invalid"
    assert READERS["rating-at-end"]("[[1]]", False).verdict == "invalid"
    # Two scores stand at its beginning: there they are whole once a second line has begun.
    assert READERS["two-scores"]("9 1", False).verdict == "invalid"
    assert READERS["two-scores"]("9 1\nBec", False).verdict == "first"


@given(st.text(), st.booleans())
def test_any_reply_is_read_without_an_error(reply: str, finished: bool) -> None:
    for read in READERS.values():
        assert read(reply, finished).verdict in ("first", "second", "tie", "invalid")


def test_deep_json_is_no_verdict() -> None:
    deep = '{"verdict":' * 100_000 + "1" + "}" * 100_000
    assert all(read(deep, True).verdict == "invalid" for read in READERS.values())


# At a half exactly it depends on rounding whether there is a verdict.
@given(st.floats(0, 1), st.floats(0.501, 1))
def test_letters_are_weighed_by_their_share_of_both(share: float, mass: float) -> None:
    tokens = [("▁A", mass * share), ("B.", mass * (1 - share)), ("a", 0.9 * (1 - mass))]
    kept = keep_probabilities((t, math.log(p) if p else -math.inf) for t, p in tokens)
    assert weigh_letters(kept) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize(
    "kept",
    ["", "A", "[]", '{"logprobs": 1}', '{"logprobs": [["A"]]}', '{"logprobs": [["A", "x"]]}',
     '{"logprobs": [["A", NaN]]}', '{"logprobs": [["A", -0.8]]}', '{"logprobs": null}'],
)  # fmt: skip
def test_too_little_mass_or_another_text_weighs_nothing(kept: str) -> None:
    assert weigh_letters(kept) is None


@pytest.mark.parametrize("name", PRESETS)
@given(answer=st.text(alphabet='AB[]10 9.\n:score"verdict>'))
def test_breaking_marks_takes_nothing_away_in_any_preset(name: str, answer: str) -> None:
    preset: Preset = load_preset(name)
    shown = neutral(answer, preset.marks)
    assert shown.replace(BREAK, "") == answer


def test_only_what_a_preset_reads_is_broken() -> None:
    code = "x[[5]]\n3 4\n"
    assert neutral(code, load_preset("pairwise").marks) == code
    assert neutral(code, load_preset("score").marks) == "x[·[5·]]\n3 4\n"
    assert neutral(code, load_preset("vicuna-2023").marks) == "x[·[5·]]\n3· ·4\n"
    heading = "[The End of Assistant A's Answer]"
    assert neutral(heading) == heading
    assert neutral(heading, (), (heading,)) == "[·The End of Assistant A's Answer·]"
