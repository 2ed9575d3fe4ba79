"""Length-controlled win rates in a league: every pair may meet, and one judge has one taste.

The sibling of length_control.py for models without a common baseline. Pure functions on arrays;
knows numpy and scipy, no games and no files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from evalsuite.stats.length_control import (
    LONGEST_STEP,
    SLOPE_SD,
    Array,
    LengthControlled,
    UncontrolledError,
    numbered,
    on_logit_scale,
    require_lengths,
)
from evalsuite.stats.strengths import HALF_TIE


def in_league(
    models: Sequence[str],
    firsts: Sequence[int],
    seconds: Sequence[int],
    shares: Sequence[float],
    differences: Sequence[float],
    questions: Sequence[object],
    level: float = 0.95,
) -> tuple[LengthControlled, ...]:
    """Length-controlled win rates of models that met each other, one slope for the judge.

    One entry a comparison: the places in `models` of the two, the first one's share of the win,
    its length less the other's, and the question. A model's rate is the mean over its comparisons
    of the fitted chance at equal lengths. There is no difficulty: in a comparison of two models it
    favours neither. Half a tie is added a compared pair, as in `ratings.bradley_terry`.

    Raises:
        UncontrolledError: as `against_baseline`; also a model without comparisons.
    """
    a, b = np.asarray(firsts, dtype=np.intp), np.asarray(seconds, dtype=np.intp)
    y = np.asarray(shares, dtype=np.float64)
    delta = np.asarray(differences, dtype=np.float64)
    if not len(a) == len(b) == len(y) == len(delta) == len(questions) or (a == b).any():
        raise ValueError("a comparison has two models, a share, a difference and a question")
    require_lengths(delta)
    m = len(models)
    missing = [model for k, model in enumerate(models) if not ((a == k) | (b == k)).any()]
    if missing or not len(a):
        raise UncontrolledError(f"no comparison with a verdict for {', '.join(missing) or 'any'}")
    pair = np.minimum(a, b) * m + np.maximum(a, b)
    turned = np.where(a < b, delta, -delta)
    if all(np.ptp(turned[pair == one]) == 0 for one in np.unique(pair)):
        raise UncontrolledError(
            "the answers of each pair differ in length by the same on every question, so length "
            "and quality can't be told apart"
        )
    rows = np.arange(len(a))
    design = np.zeros((len(a), m + 1))  # one column a model, the last for length
    design[rows, a], design[rows, b] = 1.0, -1.0
    design[:, m] = np.tanh(delta / delta.std())
    made_up = np.zeros((len(np.unique(pair)), m + 1))
    for k, one in enumerate(np.unique(pair)):
        made_up[k, one // m], made_up[k, one % m] = 1.0, -1.0
    ridge = np.full(m + 1, 1e-6)  # skills are known up to a constant
    ridge[m] = SLOPE_SD**-2
    weights = np.concatenate([np.ones(len(a)), np.full(len(made_up), 2 * HALF_TIE)])
    whole = np.vstack([design, made_up])
    target = np.concatenate([y, np.full(len(made_up), 0.5)])
    found, inverse = _logistic(whole, target, weights, ridge)

    chance = expit(found[a] - found[b])  # at equal lengths, [rows]
    chance_of_made_up = expit(made_up @ found)[:, None]
    scores = _cluster_sums(design * (y - expit(design @ found))[:, None], numbered(questions))
    scores = np.vstack([scores, made_up * (1 - chance_of_made_up), -made_up * chance_of_made_up])
    bend = (chance * (1 - chance))[:, None] * design
    bend[:, m] = 0.0
    results = []
    for k, model in enumerate(models):
        first, second = a == k, b == k
        its = np.concatenate([chance[first], 1 - chance[second]])
        gradient = (bend[first].sum(0) - bend[second].sum(0)) / len(its)
        influence = scores @ inverse @ gradient
        ci = on_logit_scale(float(its.mean()), float(np.sqrt((influence**2).sum())), level)
        results.append(LengthControlled(model, float(its.mean()), ci, float(found[m])))
    return tuple(results)


def _logistic(design: Array, y: Array, weights: Array, ridge: Array) -> tuple[Array, Array]:
    """Coefficients of a weighted logistic regression and the inverse of its information."""
    found = np.zeros(design.shape[1])
    for _ in range(500):
        chance = expit(design @ found)
        gradient = design.T @ (weights * (y - chance)) - ridge * found
        spread = weights * chance * (1 - chance)
        information = (design * spread[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(information, gradient)
        found += step / max(1.0, float(np.abs(step).max()) / LONGEST_STEP)
        if np.abs(step).max() < 1e-9:
            return found, np.linalg.inv(information)
    raise ArithmeticError("the length-controlled fit did not converge")


def _cluster_sums(rows: Array, groups: NDArray[np.intp]) -> Array:
    sums = np.zeros((int(groups.max()) + 1, rows.shape[1]))
    np.add.at(sums, groups, rows)
    return sums
