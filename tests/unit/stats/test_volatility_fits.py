"""GARCH and two-state fits find what made the returns, and refuse what cannot be fitted."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from libs.common.errors import DataError
from libs.common.stats.garch import fit_garch, negative_log_likelihood
from libs.common.stats.hidden_markov import fit_two_states


def test_garch_finds_the_parameters_that_made_the_returns() -> None:
    rng, variance = np.random.default_rng(1), 1.0
    returns = np.empty(20_000)
    for k in range(len(returns)):
        returns[k] = rng.normal() * variance**0.5
        variance = 0.03 + 0.07 * returns[k] ** 2 + 0.90 * variance
    found = fit_garch(returns)
    assert found.alpha == pytest.approx(0.07, abs=0.015)
    assert found.beta == pytest.approx(0.90, abs=0.03)
    assert found.omega / (1.0 - found.alpha - found.beta) == pytest.approx(float(np.mean(returns**2)))
    assert fit_garch(returns) == found
    best = negative_log_likelihood(returns, float(np.mean(returns**2)), found.alpha, found.alpha + found.beta)
    for alpha, persistence in ((0.03, 0.97), (0.15, 0.97), (0.07, 0.80), (0.07, 0.995)):
        assert best < negative_log_likelihood(returns, float(np.mean(returns**2)), alpha, persistence)


def test_two_states_are_told_apart() -> None:
    rng, state = np.random.default_rng(2), 0
    returns = np.empty(20_000)
    for k in range(len(returns)):
        state = state if rng.random() < (0.98, 0.95)[state] else 1 - state
        returns[k] = rng.normal() * (1.0, 3.0)[state]
    found = fit_two_states(returns)
    assert found == pytest.approx((0.98, 0.95, 1.0, 3.0), abs=0.1)
    assert (found.stay_calm, found.stay_wild) == pytest.approx((0.98, 0.95), abs=0.01)
    assert fit_two_states(returns) == found


@pytest.mark.parametrize("fit", [fit_garch, fit_two_states])
@pytest.mark.parametrize(
    ("returns", "words"), [
        (np.ones(100), "at least 500"), (np.zeros(1_000), "never moved"), (np.full(1_000, np.nan), "finite"),
    ],
)
def test_returns_that_say_nothing_are_refused(fit: Callable[[Any], Any], returns: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        fit(returns)


def test_one_state_is_not_two() -> None:
    with pytest.raises(DataError, match="one state explains them all"):
        fit_two_states(np.random.default_rng(3).normal(size=5_000))
