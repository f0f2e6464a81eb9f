"""Laws of the statistics, over any sample."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.stats import drift, moments, performance
from libs.common.stats.drift import bin_shares, drift_reference, psi
from libs.common.stats.moments import EwMoments, Moments
from libs.common.stats.performance import max_drawdown_pct, sharpe

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)
samples = st.lists(st.floats(-1e9, 1e9) | st.sampled_from((0.0, 1.0)), min_size=1, max_size=200).map(np.array)


@pytest.mark.parametrize("module", [drift, moments, performance])
def test_every_example_in_the_documentation_runs(module):
    assert doctest.testmod(module).failed == 0


def tracked(numbers) -> Moments:
    found = Moments()
    for number in numbers:
        found.update(number)
    return found


@given(values, st.floats(-1e9, 1e9))
@settings(max_examples=60)
def test_moments_equal_two_passes_wherever_the_values_lie(numbers, offset):
    shifted = np.array(numbers) + offset
    found = tracked(shifted.tolist())
    # Differences beyond the last digits of the offset cannot be told from it.
    resolution = 1e-9 * max(abs(offset), 1.0)
    assert found.mean == pytest.approx(shifted.mean(), rel=1e-9, abs=resolution)
    if len(numbers) > 1:
        assert found.deviation == pytest.approx(shifted.std(ddof=1), rel=1e-6, abs=1e-6 * max(abs(offset) * 1e-3, 1.0))
    assert found.squares >= 0.0


@given(values, values)
@settings(max_examples=60)
def test_merged_moments_equal_those_of_all_values(first, second):
    found, wanted = tracked(first), tracked(first + second)
    found.merge(tracked(second))
    assert found.count == wanted.count
    assert found.mean == pytest.approx(wanted.mean, rel=1e-9, abs=1e-6)
    assert found.squares == pytest.approx(wanted.squares, rel=1e-6, abs=1e-3)


def test_moments_that_do_not_exist_are_none():
    assert Moments().variance is Moments().deviation is tracked([1.0]).variance is None
    empty = Moments()
    empty.merge(Moments())
    assert empty.count == 0


@given(values, st.floats(0.01, 1.0))
@settings(max_examples=60)
def test_weighted_moments_equal_the_weighted_sums(numbers, alpha):
    found = EwMoments(alpha)
    for number in numbers:
        found.update(number)
    later = [alpha * (1 - alpha) ** age for age in range(len(numbers) - 2, -1, -1)]
    weights = np.array([(1 - alpha) ** (len(numbers) - 1), *later])
    mean = weights @ np.array(numbers)
    assert found.mean == pytest.approx(mean, rel=1e-9, abs=1e-6)
    assert found.variance == pytest.approx(weights @ (np.array(numbers) - mean) ** 2, rel=1e-6, abs=1e-3)


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.1, math.nan])
def test_a_weight_outside_its_range_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        EwMoments(alpha)


@given(samples, st.integers(2, 20))
@settings(max_examples=100)
def test_a_reference_describes_its_own_sample_exactly(sample, bins):
    found = drift_reference(sample, bins)
    edges, shares = np.array(found.edges), np.array(found.shares)
    assert (np.diff(edges) > 0).all()
    assert 1 <= len(edges) <= max(bins - 1, 2)
    assert shares.sum() == pytest.approx(1.0)
    assert psi(shares, bin_shares(edges, sample)) == 0.0


@given(samples, samples)
@settings(max_examples=100)
def test_the_index_is_never_negative_and_does_not_ask_which_came_first(first, second):
    found = drift_reference(first)
    shares, live = np.array(found.shares), bin_shares(np.array(found.edges), second)
    index = psi(shares, live)
    assert np.isfinite(index)
    assert index >= 0.0
    assert index == pytest.approx(psi(live, shares))


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=100))
@settings(max_examples=60)
def test_drawdown_equals_the_worst_pair(equity):
    worst = max(
        (equity[i] - equity[j]) / equity[i] for i in range(len(equity)) for j in range(i, len(equity))
    )
    assert max_drawdown_pct(np.array(equity)) == pytest.approx(worst * 100.0, abs=1e-9)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=50), st.floats(0.1, 100.0))
@settings(max_examples=60)
def test_sharpe_does_not_depend_on_the_unit_of_the_returns(returns, unit):
    ratio = sharpe(np.array(returns, dtype=float), 252.0)
    scaled = sharpe(np.array(returns, dtype=float) * unit, 252.0)
    assert (ratio is None) == (scaled is None)
    if ratio is not None:
        assert scaled == pytest.approx(ratio, rel=1e-9, abs=1e-9)
