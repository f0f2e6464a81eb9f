"""Fits GARCH(1,1) to log-returns, so that a feature can filter with fixed, known parameters."""

import math
from typing import NamedTuple

import numpy as np
from numba import types

from libs.common.errors import DataError
from libs.common.messages.base import Floats
from libs.common.trading.compiled import FLOATS_IN, kernel

LEAST_RETURNS = 500
_GRID = 9
_ROUNDS = 6


class GarchParameters(NamedTuple):
    """Of σ² = omega + alpha · return² + beta · σ² before, in the unit of the returns squared."""

    omega: float
    alpha: float
    beta: float


@kernel(types.float64(FLOATS_IN, types.float64, types.float64, types.float64))
def negative_log_likelihood(returns: Floats, variance: float, alpha: float, persistence: float) -> float:
    """Return the mean Gaussian negative log-likelihood of a filter whose long-run variance is given."""
    omega, beta = variance * (1.0 - persistence), persistence - alpha
    sigma2, total = variance, 0.0
    for k in range(len(returns)):
        total += math.log(sigma2) + returns[k] * returns[k] / sigma2
        sigma2 = omega + alpha * returns[k] * returns[k] + beta * sigma2
    return 0.5 * total / len(returns)


def fit_garch(returns: Floats) -> GarchParameters:
    """Fit by quasi maximum likelihood with the long-run variance targeted at the sample's.

    Parameters
    ----------
    returns : (n,) log-returns, any unit (basis points), at least 500

    Returns
    -------
    Parameters in the same unit.

    Raises
    ------
    DataError : when there are too few returns, or they never move

    References
    ----------
    Francq, Horvath and Zakoian (2011), Merits and drawbacks of variance targeting in GARCH models. The two remaining
    parameters are found on a grid that is refined around its best point: slow, and the same every time.
    """
    returns = np.ascontiguousarray(returns, dtype=np.float64)
    if len(returns) < LEAST_RETURNS or not np.isfinite(returns).all():
        raise DataError("returns", f"{len(returns)} returns", remedy=f"Fit on at least {LEAST_RETURNS} finite ones")
    variance = float(np.mean(returns**2))
    if variance <= 0.0:
        raise DataError("returns", "the price never moved", remedy="Fit on other bars")
    alphas, persistences = (0.001, 0.5), (0.5, 0.9995)
    best = (math.inf, 0.05, 0.95)
    for _ in range(_ROUNDS):
        for alpha in np.linspace(*alphas, _GRID).tolist():
            for persistence in np.linspace(*persistences, _GRID).tolist():
                if persistence > alpha:
                    cost = negative_log_likelihood(returns, variance, alpha, persistence)
                    best = min(best, (cost, alpha, persistence))
        alphas = _around(best[1], alphas, 0.001, 0.5)
        persistences = _around(best[2], persistences, 0.5, 0.9995)
    _, alpha, persistence = best
    return GarchParameters(variance * (1.0 - persistence), alpha, persistence - alpha)


def _around(best: float, span: tuple[float, float], least: float, most: float) -> tuple[float, float]:
    """Return a stretch of the grid's step on either side of its best point."""
    step = (span[1] - span[0]) / (_GRID - 1)
    return max(least, best - step), min(most, best + step)
