"""Luck and skill told apart: against scipy, against published numbers, against simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from libs.common.stats.significance import (
    block_length,
    deflated_sharpe,
    expected_best_sharpe,
    kurtosis,
    needed_periods,
    period_sharpe,
    probabilistic_sharpe,
    sharpe_p_value,
    skewness,
    stationary_rows,
)


def series(seed: int = 1, n: int = 500, mean: float = 0.05) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(5, n) * 0.01 + mean * 0.01


@pytest.mark.parametrize("seed", range(5))
def test_the_moments_are_scipys(seed):
    values = series(seed) ** 3 + 0.1
    assert skewness(values) == pytest.approx(stats.skew(values))
    assert kurtosis(values) == pytest.approx(stats.kurtosis(values, fisher=False))


def test_constant_values_have_the_moments_of_nothing():
    assert (skewness(np.full(5, 0.1)), kurtosis(np.full(5, 0.1))) == (0.0, 3.0)
    assert (skewness(np.empty(0)), kurtosis(np.empty(0))) == (0.0, 3.0)


@pytest.mark.parametrize("values", [[], [1.0], [0.2] * 9])
def test_without_a_ratio_nothing_is_proved(values):
    returns = np.array(values)
    assert period_sharpe(returns) is None
    assert probabilistic_sharpe(returns) is None
    assert deflated_sharpe(returns, 10) is None
    assert needed_periods(returns) is None
    assert sharpe_p_value(returns) == 1.0


@pytest.mark.parametrize("benchmark", [0.0, 0.02])
def test_the_probabilistic_ratio_is_the_published_formula(benchmark):
    returns = series(3)
    ratio = returns.mean() / returns.std(ddof=1)
    error = math.sqrt(
        (1 - stats.skew(returns) * ratio + (stats.kurtosis(returns, fisher=False) - 1) / 4 * ratio**2) / (len(returns) - 1)
    )
    assert probabilistic_sharpe(returns, benchmark) == pytest.approx(stats.norm.cdf((ratio - benchmark) / error))


def test_the_probabilistic_ratio_says_how_often_the_true_ratio_is_found_above():
    # Two hundred samples of skewed returns whose true ratio is 0.1: the probability of "above 0.1" is uniform.
    random = np.random.default_rng(7)
    found = []
    for _ in range(400):
        values = random.gamma(4.0, 1.0, 1_000)
        found.append(probabilistic_sharpe((values - 4.0) / 2.0 + 0.1, 0.1))
    assert stats.kstest(found, "uniform").pvalue > 0.001


def test_the_example_of_the_paper_of_the_deflated_ratio():
    # Bailey and Lopez de Prado (2014): 100 trials whose annualised ratios have variance 0.5, 1,250 daily returns, an
    # annualised ratio of 2.5, skewness -3, kurtosis 10: the benchmark is 0.1132 per day, the deflated ratio 0.9004.
    variance = 0.5 / 250.0
    assert expected_best_sharpe(100, variance) == pytest.approx(0.1132, abs=5e-5)
    ratio, n = 2.5 / math.sqrt(250.0), 1_250
    error = math.sqrt((1.0 + 3.0 * ratio + 9.0 / 4.0 * ratio * ratio) / (n - 1))
    assert stats.norm.cdf((ratio - expected_best_sharpe(100, variance)) / error) == pytest.approx(0.9004, abs=5e-5)


def test_the_best_of_many_trials_without_skill_is_as_good_as_expected():
    random = np.random.default_rng(3)
    for trials in (10, 100, 1_000):
        best = random.standard_normal((4_000, trials)).max(axis=1).mean()
        assert expected_best_sharpe(trials, 1.0) == pytest.approx(best, rel=0.03)


def test_more_trials_deflate_more_and_one_trial_not_at_all():
    returns = series(5, mean=0.15)
    assert deflated_sharpe(returns, 1) == probabilistic_sharpe(returns)
    found = [deflated_sharpe(returns, trials) for trials in (1, 10, 100, 10_000)]
    assert found == sorted(found, reverse=True)
    known = deflated_sharpe(returns, 10, np.array([0.0, 0.1, -0.1, 0.05]))
    benchmark = expected_best_sharpe(10, float(np.var([0.0, 0.1, -0.1, 0.05], ddof=1)))
    assert known == probabilistic_sharpe(returns, benchmark)
    with pytest.raises(ValueError, match="0 trials"):
        expected_best_sharpe(0, 1.0)


def test_the_needed_periods_make_the_probabilistic_ratio_the_confidence():
    returns = series(8, mean=0.1)
    needed = needed_periods(returns, confidence=0.95)
    assert needed is not None
    z = stats.norm.ppf(probabilistic_sharpe(returns)) * math.sqrt((needed - 1) / (len(returns) - 1))
    assert z == pytest.approx(stats.norm.ppf(0.95))
    assert needed_periods(-returns) is None


def test_blocks_of_the_stationary_bootstrap_are_geometric_and_go_around():
    random = np.random.default_rng(1)
    rows = stationary_rows(50, 5.0, 4_000, random)
    assert rows.min() == 0
    assert rows.max() == 49
    continued = (np.diff(rows, axis=1) % 50 == 1).mean()
    # A new block begins with probability 1/5, and by chance in 1/50 of those goes on all the same.
    assert continued == pytest.approx(1 - 0.2 * 0.98, abs=0.005)
    assert np.bincount(rows.ravel(), minlength=50) == pytest.approx(np.full(50, 4_000), rel=0.1)
    alone = stationary_rows(50, 1.0, 2_000, random)
    assert (np.diff(alone, axis=1) % 50 == 1).mean() == pytest.approx(0.02, abs=0.005)


@pytest.mark.parametrize("phi", [0.3, 0.6, 0.8])
def test_the_block_length_is_that_of_theory_for_an_autoregression(phi):
    random = np.random.default_rng(4)
    n, found = 4_000, []
    for _ in range(20):
        shocks = random.standard_normal(n + 200)
        values = np.zeros(n + 200)
        for k in range(1, n + 200):
            values[k] = phi * values[k - 1] + shocks[k]
        found.append(block_length(values[200:]))
    bend_over_spectrum = (2 * phi / (1 - phi) ** 2) / ((1 + phi) / (1 - phi))
    assert np.median(found) == pytest.approx((bend_over_spectrum**2 * n) ** (1 / 3), rel=0.25)


def test_independent_values_need_short_blocks():
    found = [block_length(np.random.default_rng(seed).standard_normal(1_000)) for seed in range(30)]
    assert np.median(found) < 4.0
    assert block_length(np.arange(5.0)) == 1.0
    assert block_length(np.full(100, 0.3)) == 1.0


def test_the_p_value_of_independent_returns_is_that_of_the_t_test():
    returns = series(11, n=400, mean=0.1)
    expected = stats.ttest_1samp(returns, 0.0, alternative="greater").pvalue
    assert sharpe_p_value(returns, resamples=4_000, seed=1, mean_block=1.0) == pytest.approx(expected, abs=0.02)


def test_returns_without_skill_are_called_skilled_as_often_as_the_p_value_says():
    random = np.random.default_rng(12)
    found = np.array([
        sharpe_p_value(np.convolve(random.standard_normal(253), [1.0, 0.5, 0.3], "valid"), resamples=200, seed=k)
        for k in range(200)
    ])  # fmt: skip
    # The bootstrap of dependent returns errs a little on the bold side.
    assert 0.02 <= (found <= 0.1).mean() <= 0.2


def test_the_p_value_is_the_same_for_the_same_seed():
    returns = series(2, n=300)
    whole = sharpe_p_value(returns, resamples=500, seed=9)
    assert sharpe_p_value(returns, resamples=500, seed=9) == whole
    assert 0.0 < whole <= 1.0
    assert sharpe_p_value(-np.abs(returns), resamples=500) == 1.0
