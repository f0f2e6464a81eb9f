"""The population stability index and the references it compares with."""

import numpy as np
import pytest

from libs.common.stats.drift import bin_shares, drift_reference, psi, psi_by_chance


def test_the_index_of_a_known_pair():
    expected, actual = np.array([0.25, 0.25, 0.5]), np.array([0.5, 0.25, 0.25])
    assert psi(expected, actual) == pytest.approx(0.25 * np.log(2.0) + 0.25 * np.log(2.0))


def test_an_empty_bin_counts_with_the_floor():
    assert psi(np.array([0.5, 0.5]), np.array([1.0, 0.0]), floor=0.01) == pytest.approx(
        0.5 * np.log(2.0) + (0.01 - 0.5) * np.log(0.01 / 0.5)
    )
    assert np.isfinite(psi(np.array([1.0, 0.0]), np.array([0.0, 1.0])))


def test_many_features_are_compared_at_once():
    expected = np.array([[0.5, 0.5], [0.1, 0.9]])
    assert psi(expected, expected).tolist() == [0.0, 0.0]


def test_a_reference_of_even_values_has_even_bins():
    found = drift_reference(np.arange(1_000.0))
    assert found.edges == tuple(float(edge) for edge in range(100, 1_000, 100))
    assert found.shares == (0.1,) * 10


def test_a_flag_keeps_its_two_values_apart():
    found = drift_reference(np.array([0.0] * 70 + [1.0] * 30))
    shares = bin_shares(np.array(found.edges), np.array([0.0, 0.0, 1.0, 1.0]))
    assert sorted(share for share in shares if share) == [0.5, 0.5]
    assert psi(np.array(found.shares), shares) > 0.1


def test_a_rare_flag_keeps_its_two_values_apart():
    found = drift_reference(np.array([0.0] * 990 + [1.0] * 10))
    live = bin_shares(np.array(found.edges), np.array([0.0] * 50 + [1.0] * 50))
    assert psi(np.array(found.shares), live) > 1.0


def test_a_constant_feature_that_moves_is_found_in_both_directions():
    found = drift_reference(np.full(100, 2.0))
    edges, shares = np.array(found.edges), np.array(found.shares)
    assert psi(shares, bin_shares(edges, np.full(10, 2.0))) == 0.0
    assert psi(shares, bin_shares(edges, np.full(10, 1.9))) > 1.0
    assert psi(shares, bin_shares(edges, np.full(10, 2.1))) > 1.0


@pytest.mark.parametrize("sample", [[], [1.0, np.nan], [np.inf]])
def test_a_reference_needs_finite_values(sample):
    with pytest.raises(ValueError, match="finite"):
        drift_reference(np.array(sample))


def test_a_reference_needs_two_bins():
    with pytest.raises(ValueError, match="2"):
        drift_reference(np.arange(3.0), bins=1)


def test_persistence_tells_slow_features_from_fast_ones():
    random = np.random.default_rng(3)
    noise = random.normal(size=4_000)
    assert drift_reference(noise).persistence < 0.05
    assert drift_reference(np.repeat(noise[:400], 10)).persistence > 0.85
    assert drift_reference(np.tile([0.0, 1.0], 50)).persistence == 0.0
    assert drift_reference(np.full(9, 1.0)).persistence == 0.0
    assert drift_reference(np.sort(noise)).persistence < 1.0


@pytest.mark.parametrize("persistence", [0.0, 0.6, 0.95])
def test_samples_of_one_distribution_stay_below_what_chance_allows(persistence):
    random = np.random.default_rng(4)
    edges = np.linspace(-1.2, 1.2, 9)
    walk = np.zeros(200_000)
    for i in range(1, len(walk)):
        walk[i] = persistence * walk[i - 1] + np.sqrt(1 - persistence**2) * random.normal()
    reference = bin_shares(edges, walk)
    windows = walk.reshape(-1, 400)
    indices = np.array([psi(reference, bin_shares(edges, window)) for window in windows])
    limit = psi_by_chance(10, persistence, 400, len(walk), 4.0)
    assert (indices > limit).mean() < 0.01
    assert indices.mean() > psi_by_chance(10, persistence, 400, len(walk), 0.0) / 8.0
