"""Bradley-Terry fits of many leagues at once, and how sure one league's fit is.

Pure functions on arrays of win counts. Knows numpy; knows nothing of models' names, judges or
files.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]
Floats = NDArray[np.float64]

# Half a tie for each compared pair, a tie being half a win for either: without it a model that won
# every comparison has no finite rating.
HALF_TIE = 0.25
MEAN_RATING = 1000.0
SCALE = 400 / math.log(10)  # ten to one expected at a gap of 400, as in Elo's ratings


def on_scale(logs: Floats) -> Floats:
    """Log strengths as ratings with mean 1000. [..., m] -> [..., m]"""
    centred = logs - logs.mean(axis=-1, keepdims=True)
    return np.asarray(MEAN_RATING + SCALE * centred)


def fit_many(wins: Counts, start: Floats) -> Floats:
    """Bradley-Terry ratings of many leagues at once, by Newton's method. [r, m, m] -> [r, m]

    The same maximum as `ratings.bradley_terry`; a thousand leagues take one solver call a step
    instead of a thousand fits. `start` are ratings to begin at, [m]. Every league must be
    connected.

    Raises:
        ArithmeticError: a league whose fit did not converge.
    """
    games = wins + np.swapaxes(wins, -1, -2)
    won = wins.sum(-1)
    logs = np.tile((start - start.mean()) / SCALE, (len(wins), 1))  # [r, m]
    for _ in range(200):
        expected = 1 / (1 + np.exp(logs[:, None, :] - logs[:, :, None]))  # [r, i, j]: i beats j
        gradient = won - (games * expected).sum(-1)
        information = _laplacian(games * expected * np.swapaxes(expected, -1, -2))
        # Strengths are known up to a factor: 1 in every cell pins their mean.
        step = np.linalg.solve(information + 1.0, gradient[..., None])[..., 0]
        # Far from the maximum a full step overshoots.
        step /= np.maximum(1.0, np.abs(step).max(axis=-1, keepdims=True))
        logs += step
        if np.abs(step).max() < 1e-10:
            return on_scale(logs)
    raise ArithmeticError("a Bradley-Terry fit of a resample did not converge")


def inverse_laplacian(weights: Floats) -> Floats:
    """Covariance of centred log strengths when pairs hold this information. [m, m] -> [m, m]

    `weights` is symmetric; its pairs connect all models. Exact where a pseudoinverse's cutoff can
    take the one zero eigenvalue for a small one.
    """
    m = len(weights)
    # The vector of ones is the null space; at the diagonal's size it disturbs nothing.
    size = max(float(weights.sum()) / m, np.finfo(np.float64).tiny)
    inverse = np.linalg.inv(_laplacian(weights) + size / m)
    centre = np.eye(m) - 1 / m
    return np.asarray(centre @ inverse @ centre)


def made_up_wins(wins: Counts, asked: Counts, start: Floats) -> Counts:
    """Wins to add to either side of each pair so that the fit has no bias of first order. [m, m]

    Half a pair's leverage, a question's worth of comparisons each: what half ties do for two
    models, for leagues of any size (a half tie for each pair draws many models with few games a
    pair towards their middle). `asked` [m, m] counts the questions of each pair, `wins` [m, m]
    their comparisons; `start` are ratings to begin at, [m].

    Source: D. Firth, Bias reduction of maximum likelihood estimates, Biometrika 80 (1993); the
    pseudo-counts of logistic models: I. Kosmidis and D. Firth, Biometrika 96 (2009).

    Raises:
        ArithmeticError: the leverages did not settle.
    """
    games = wins + wins.T
    each = np.divide(games, asked, out=np.zeros_like(games), where=asked > 0)
    made_up = HALF_TIE * (asked > 0)
    ratings = start
    for _ in range(200):
        ratings = fit_many((wins + made_up)[None], ratings)[0]
        tells = asked * _variances(ratings)
        leverage = tells * gap_variances(inverse_laplacian(tells))
        before, made_up = made_up, each * leverage / 2
        if np.abs(made_up - before).max() < 1e-9:
            return np.asarray(made_up)
    raise ArithmeticError("the leverages of a Bradley-Terry fit did not settle")


def jackknife(questions: Counts, start: Floats) -> tuple[Floats, Floats]:
    """Bias-reduced ratings and the covariance of their errors, questions left out in turn.

    `questions` [n, m, m] holds each question's wins; they must connect all models, as a whole.
    Returns ratings [m] and covariance [m, m], in the ratings' unit. The made-up wins are random as
    questions are, so that three wins of three are not proof: a perfect record is the same whichever
    question is left out.

    Sources: `made_up_wins`; B. Hansen, Jackknife standard errors for clustered regression,
    Journal of Econometrics (2025); J. MacKinnon, M. Nielsen and M. Webb, The Stata Journal 23
    (2023).

    Raises:
        ArithmeticError: a fit did not converge.
    """
    n = len(questions)
    wins = questions.sum(axis=0)
    asked = (questions + np.swapaxes(questions, 1, 2) > 0).sum(axis=0).astype(np.float64)
    made_up = made_up_wins(wins, asked, start)
    ratings = fit_many((wins + made_up)[None], start)[0]
    without = fit_many(wins - questions + made_up, ratings)  # [n, m]
    away = without - without.mean(axis=0)
    real = (n - 1) / n * away.T @ away

    variance = _variances(ratings)
    inverse = inverse_laplacian((wins + wins.T + 2 * made_up) * variance)
    # Either made-up result of a pair lies off its expectation by p or by 1 - p, and their squares
    # sum to 1 - 2 p (1 - p).
    scores = _laplacian(made_up**2 * (1 - 2 * variance))
    return ratings, np.asarray(real + SCALE**2 * inverse @ scores @ inverse)


def gap_variances(covariance: Floats) -> Floats:
    """Variances of all differences. [m, m] -> [m, m]"""
    own = np.diag(covariance)
    return np.asarray(own[:, None] + own[None, :] - 2 * covariance)


def _variances(ratings: Floats) -> Floats:
    """p (1 - p) of each pair. [m] -> [m, m]"""
    expected = 1 / (1 + np.exp((ratings[None, :] - ratings[:, None]) / SCALE))
    return np.asarray(expected * (1 - expected))


def _laplacian(weights: Floats) -> Floats:
    """[..., m, m], symmetric -> [..., m, m]"""
    found = -weights
    diagonal = np.arange(weights.shape[-1])
    found[..., diagonal, diagonal] -= found.sum(-1)
    return found
