"""Audit shares, agreement, paired figures: other implementations, raw replies, coverage."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import sem
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportion_confint

from evalsuite.stats.agreement import agreement
from evalsuite.stats.resampling import mean_difference, ratio_of_sums, standard_error
from evalsuite.stats.shares import (
    family_favour,
    family_share,
    first_place_share,
    invalid_share,
    longer_share,
    repeat_agreement,
    share_of,
    swap_agreement,
    win_rate_spread,
)


def test_llmbar_accuracy_by_order_and_agreement_after_the_swap(test_data: Path) -> None:
    """GPT-4 on pairs with gold labels: what its raw replies come to."""
    path = test_data / "judge" / "llmbar" / "natural_gpt4_vanilla.jsonl"
    pairs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    place = {"Output (a)": 0, "Output (b)": 1}
    winners = {}
    for order, shown in (("swap = False", (1, 2)), ("swap = True", (2, 1))):
        said = [pair["results"][0][order]["completion"][0].strip() for pair in pairs]
        winners[order] = [shown[place[reply]] for reply in said]
    gold = [pair["label"] for pair in pairs]
    straight, swapped = winners["swap = False"], winners["swap = True"]
    assert agreement(straight, gold).raw.value == 0.95
    assert agreement(swapped, gold).raw.value == 0.96
    same = swap_agreement(straight, swapped)
    assert (same.value, same.n) == (0.95, 100)
    assert same.ci is not None
    assert same.ci[0] < 0.95 < same.ci[1]
    kappa = agreement(straight, gold).kappa
    assert kappa is not None
    assert 0.85 < kappa < 0.95


def test_agreement_is_statsmodels_kappa() -> None:
    rng = np.random.default_rng(0)
    ours = rng.choice(["a", "b", "tie"], 400, p=[0.5, 0.3, 0.2])
    theirs = np.where(rng.random(400) < 0.6, ours, rng.choice(["a", "b", "tie"], 400))
    found = agreement(ours.tolist(), theirs.tolist())
    counts = [[((ours == x) & (theirs == y)).sum() for y in found_labels()] for x in found_labels()]
    wanted = cohens_kappa(np.array(counts))
    assert found.kappa == pytest.approx(float(wanted.kappa), abs=1e-12)
    assert found.raw.value == pytest.approx((ours == theirs).mean())
    assert found.kappa_ci is not None
    half = (found.kappa_ci[1] - found.kappa_ci[0]) / 2
    assert half == pytest.approx(1.96 * float(wanted.std_kappa), rel=0.15)


def found_labels() -> tuple[str, str, str]:
    return "a", "b", "tie"


def test_raters_that_say_one_thing_have_no_kappa() -> None:
    found = agreement(["a"] * 5, ["a"] * 5)
    assert (found.raw.value, found.kappa, found.kappa_ci) == (1.0, None, None)
    with pytest.raises(ValueError, match="one label of each"):
        agreement(["a"], [])


def test_independent_cases_give_wilson_s_interval_and_clusters_widen_it() -> None:
    hits = [True] * 30 + [False] * 70
    plain = share_of(hits)
    assert plain.ci == pytest.approx(proportion_confint(30, 100, method="wilson"))
    four = share_of(hits * 4, [k for _ in range(4) for k in range(100)])
    assert four.n == 400
    assert four.ci == pytest.approx(plain.ci, abs=0.01)
    assert share_of([]).value is None


def test_share_intervals_cover_in_clusters() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(400):
        level = rng.beta(2, 3, 60)  # clusters of four that hang together; the mean is 0.4
        hits = (rng.random((60, 4)) < level[:, None]).ravel()
        ci = share_of(hits.tolist(), np.repeat(np.arange(60), 4).tolist()).ci
        assert ci is not None
        held += ci[0] <= 0.4 <= ci[1]
    assert 0.92 <= held / 400 <= 0.98


def test_shares_count_what_they_say() -> None:
    verdicts = ["first", "second", "tie", "invalid", "first"]
    first = first_place_share(verdicts)
    assert (first.value, first.n) == (pytest.approx(2 / 3), 3)
    longer = longer_share(verdicts, [(5, 2), (5, 2), (5, 2), (5, 2), (4, 4)])
    assert (longer.value, longer.n) == (0.5, 2)
    assert invalid_share(verdicts).value == 0.2
    assert first_place_share(["first"] * 40, range(40)).value == 1.0
    assert longer_share(["tie"], [(1, 2)]).value is None


def test_repeats_and_their_spread() -> None:
    found = repeat_agreement([["first"] * 3, ["first", "first", "second"], ["tie"]])
    assert (found.value, found.n) == (pytest.approx((1 + 1 / 3) / 2), 2)
    assert win_rate_spread([0.5, 0.6, 0.7]) == pytest.approx(0.1)
    assert win_rate_spread([0.5]) is None


def test_favour_for_its_own_family_needs_a_reference() -> None:
    own, others = family_share([1, 1, 0.5, 0], [True, True, False, False])
    assert (own.value, others.value) == (1.0, 0.25)
    rng = np.random.default_rng(0)
    people = (rng.random(200) < 0.5).astype(float)
    judge = np.where(rng.random(200) < 0.3, 1.0, people)
    found = family_favour(judge.tolist(), people.tolist())
    assert found is not None
    value, (low, high) = found
    assert value == pytest.approx(float((judge - people).mean()))
    assert 0 < low < value < high
    assert family_favour([], []) is None


def test_paired_figures() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(1.0, 1.0, 300)
    b = a - 0.2 + rng.normal(0, 0.3, 300)
    found = mean_difference(a, b, seed=1)
    assert found.value == pytest.approx(float((a - b).mean()))
    half = (found.ci[1] - found.ci[0]) / 2
    assert half == pytest.approx(1.96 * float(sem(a - b)), rel=0.1)
    assert standard_error(a) == pytest.approx(float(sem(a)))
    assert standard_error([1.0, 2.0], ["q", "q"]) is None
    doubled = standard_error(np.tile(a, 2), list(range(300)) * 2)
    assert doubled == pytest.approx(float(sem(a)), rel=1e-9)
    ratio = ratio_of_sums([2, 4], [1, 2], seed=0)
    assert ratio is not None
    assert ratio.value == 2
    assert math.isclose(ratio.ci[0], 2)
    assert ratio_of_sums([1.0], [0.0]) is None
    with pytest.raises(ValueError, match="one length"):
        mean_difference([1.0], [1.0, 2.0])
