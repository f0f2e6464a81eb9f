"""Performance figures on cases small enough to do by hand."""

import math

import numpy as np
import pytest

from libs.common.stats.performance import (
    longest_losing_streak,
    max_drawdown_pct,
    profit_factor,
    sharpe,
    sortino,
    trade_statistics,
    win_rate,
)


def test_sharpe_of_a_known_series():
    returns = np.array([0.01, 0.02, -0.01, 0.02])
    mean, deviation = 0.01, math.sqrt(6e-4 / 3)
    assert sharpe(returns, 252.0) == pytest.approx(mean / deviation * math.sqrt(252.0))
    assert sharpe(-returns, 252.0) == pytest.approx(-mean / deviation * math.sqrt(252.0))


@pytest.mark.parametrize("returns", [[], [0.01], [0.01, 0.01, 0.01], [0.1] * 7])
def test_a_sharpe_ratio_without_deviation_does_not_exist(returns):
    assert sharpe(np.array(returns), 252.0) is None


def test_sortino_counts_only_what_fell_below_the_target():
    returns = np.array([0.03, -0.01, 0.02, -0.02])
    assert sortino(returns, 1.0) == pytest.approx(0.005 / math.sqrt(5e-4 / 4))
    assert sortino(returns, 1.0, target=0.01) == pytest.approx(-0.005 / math.sqrt(13e-4 / 4))


@pytest.mark.parametrize("returns", [[], [0.0, 0.1], [0.1]])
def test_a_sortino_ratio_without_losses_does_not_exist(returns):
    assert sortino(np.array(returns), 1.0) is None


@pytest.mark.parametrize(
    ("equity", "wanted"),
    [([], 0.0), ([5.0], 0.0), ([1.0, 2.0, 3.0], 0.0), ([100.0, 50.0, 200.0, 150.0], 50.0), ([100.0, 0.0], 100.0),
     ([100.0, -20.0], 120.0), ([100.0, 90.0, 95.0, 80.0], 20.0)],
)
def test_drawdown_is_measured_from_the_peak_so_far(equity, wanted):
    assert max_drawdown_pct(np.array(equity)) == pytest.approx(wanted)


@pytest.mark.parametrize("start", [0.0, -1.0, math.nan])
def test_a_drawdown_of_nothing_is_refused(start):
    with pytest.raises(ValueError, match="positive start"):
        max_drawdown_pct(np.array([start, 1.0]))


def test_trades_are_summed_up():
    found = trade_statistics(np.array([10.0, -5.0, -5.0, 0.0, 20.0, -2.0]))
    assert (found.trades, found.net_ccy, found.longest_losing_streak) == (6, 18.0, 2)
    assert found.win_rate == pytest.approx(2 / 6)
    assert found.profit_factor == pytest.approx(30 / 12)
    assert found.expectancy_ccy == pytest.approx(3.0)
    assert (found.average_win_ccy, found.average_loss_ccy) == (15.0, 4.0)


def test_no_trades_have_no_figures():
    found = trade_statistics(np.array([]))
    assert (found.trades, found.net_ccy, found.longest_losing_streak) == (0, 0.0, 0)
    assert found.win_rate is found.profit_factor is found.expectancy_ccy is None
    assert found.average_win_ccy is found.average_loss_ccy is None


def test_gains_alone_have_no_profit_factor():
    assert profit_factor(np.array([1.0, 2.0])) is None
    assert win_rate(np.array([1.0, 2.0])) == 1.0
    assert longest_losing_streak(np.array([1.0, 2.0])) == 0
    assert profit_factor(np.array([-1.0])) == 0.0
