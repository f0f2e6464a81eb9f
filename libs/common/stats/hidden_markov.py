"""Fits a two-state Gaussian hidden Markov model to log-returns; the filter itself is a feature."""

import math
from typing import NamedTuple

import numpy as np
from numba import types

from libs.common.errors import DataError
from libs.common.messages.base import Floats
from libs.common.trading.compiled import FLOATS_IN, kernel

LEAST_RETURNS = 500
_ITERATIONS = 200
_TOLERANCE = 1e-8


class TwoStates(NamedTuple):
    """Probability of staying in each state, and the deviation of its returns (mean 0)."""

    stay_calm: float
    stay_wild: float
    calm: float
    wild: float


@kernel(types.float64(FLOATS_IN, types.float64[::1], types.float64[:, ::1], types.float64[:, ::1]))
def _expect_and_maximise(returns: Floats, state: Floats, forward: Floats, counts: Floats) -> float:
    """Take one step of Baum and Welch: ``state`` is stay_calm, stay_wild, calm, wild; return the log-likelihood."""
    n = len(returns)
    stay = (state[0], state[1])
    sigma = (state[2], state[3])
    p_wild = (1.0 - stay[0]) / (2.0 - stay[0] - stay[1])
    likelihood = 0.0
    for k in range(n):
        prior = p_wild if k == 0 else forward[k - 1, 1] * stay[1] + forward[k - 1, 0] * (1.0 - stay[0])
        calm = (1.0 - prior) * math.exp(-0.5 * (returns[k] / sigma[0]) ** 2) / sigma[0]
        wild = prior * math.exp(-0.5 * (returns[k] / sigma[1]) ** 2) / sigma[1] + 1e-300
        forward[k, 0], forward[k, 1] = calm / (calm + wild), wild / (calm + wild)
        likelihood += math.log(calm + wild)
    counts[:, :] = 0.0
    squares_calm, squares_wild, calm_weight, wild_weight = 0.0, 0.0, 0.0, 0.0
    after = forward[n - 1, 1]
    for k in range(n - 1, -1, -1):
        squares_calm += (1.0 - after) * returns[k] * returns[k]
        squares_wild += after * returns[k] * returns[k]
        calm_weight += 1.0 - after
        wild_weight += after
        if k == 0:
            break
        # Kim's smoother: what is known of the state before, given all returns.
        before = forward[k - 1, 1]
        ahead = before * stay[1] + (1.0 - before) * (1.0 - stay[0])
        from_wild_to_wild = before * stay[1] * after / max(ahead, 1e-300)
        from_wild_to_calm = before * (1.0 - stay[1]) * (1.0 - after) / max(1.0 - ahead, 1e-300)
        from_calm_to_calm = (1.0 - before) * stay[0] * (1.0 - after) / max(1.0 - ahead, 1e-300)
        counts[1, 1] += from_wild_to_wild
        counts[1, 0] += from_wild_to_calm
        counts[0, 0] += from_calm_to_calm
        counts[0, 1] += max(0.0, after - from_wild_to_wild)
        after = min(1.0, from_wild_to_wild + from_wild_to_calm)
    state[0] = counts[0, 0] / max(counts[0, 0] + counts[0, 1], 1e-300)
    state[1] = counts[1, 1] / max(counts[1, 0] + counts[1, 1], 1e-300)
    state[2] = math.sqrt(squares_calm / max(calm_weight, 1e-300))
    state[3] = math.sqrt(squares_wild / max(wild_weight, 1e-300))
    return likelihood


def fit_two_states(returns: Floats) -> TwoStates:
    """Fit by expectation maximisation, begun where the calm state is half and the wild one twice as wild as all.

    Parameters
    ----------
    returns : (n,) log-returns, any unit (basis points), at least 500

    Returns
    -------
    The states, the calm one first.

    Raises
    ------
    DataError : when there are too few returns, they never move, or one state explains them all

    References
    ----------
    Baum, Petrie, Soules and Weiss (1970); Kim (1994), Dynamic linear models with Markov switching (the smoother).
    """
    returns = np.ascontiguousarray(returns, dtype=np.float64)
    if len(returns) < LEAST_RETURNS or not np.isfinite(returns).all():
        raise DataError("returns", f"{len(returns)} returns", remedy=f"Fit on at least {LEAST_RETURNS} finite ones")
    whole = math.sqrt(float(np.mean(returns**2)))
    if whole <= 0.0:
        raise DataError("returns", "the price never moved", remedy="Fit on other bars")
    state = np.array([0.98, 0.95, 0.5 * whole, 2.0 * whole])
    forward, counts = np.zeros((len(returns), 2)), np.zeros((2, 2))
    before = -math.inf
    for _ in range(_ITERATIONS):
        likelihood = _expect_and_maximise(returns, state, forward, counts)
        if likelihood - before < _TOLERANCE * len(returns):
            break
        before = likelihood
    found = TwoStates(*state.tolist())
    if found.calm > found.wild:
        found = TwoStates(found.stay_wild, found.stay_calm, found.wild, found.calm)
    if not 1.25 * found.calm < found.wild or not min(found[:2]) > 0.01 or max(found[:2]) > 0.9999 or found.calm <= 0.0:
        raise DataError("returns", "one state explains them all", remedy="Fit on more bars, or use no hidden_markov")
    return found
