"""Figures of an equity curve, by hand and by other ways of working them out."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.stats.calendar_returns import (
    daily_returns,
    monthly_table,
    trading_days_per_year,
    years_between,
)
from libs.common.stats.drawdown import deepest, drawdowns, longest_ns, underwater_pct
from libs.common.stats.performance import (
    cagr_pct,
    calmar,
    conditional_value_at_risk,
    exposure_share,
    max_drawdown_pct,
    total_return_pct,
    turnover_per_year,
    value_at_risk,
)
from libs.common.stats.summary import ClosedTrades, summarise
from libs.common.stats.trade_order import PERCENTILES, trade_order_risk

S = 1_000_000_000
DAY = 86_400 * S
EQUITY = st.lists(st.floats(1.0, 1_000.0), min_size=1, max_size=40)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


# ---- growth


def test_growth_per_year_compounds_to_the_whole_return():
    equity = np.array([100.0, 180.0, 150.0])
    growth = cagr_pct(equity, 2.5)
    assert 100.0 * (1 + growth / 100.0) ** 2.5 == pytest.approx(150.0)
    assert total_return_pct(equity) == pytest.approx(50.0)
    assert cagr_pct(equity, 0.0) is None
    assert cagr_pct(np.array([100.0, -5.0]), 1.0) == -100.0
    assert cagr_pct(np.array([100.0, 400.0]), 1e-4) is None


@pytest.mark.parametrize("figure", [total_return_pct, max_drawdown_pct, underwater_pct])
def test_equity_that_does_not_start_above_zero_is_refused(figure):
    with pytest.raises(ValueError, match="positive start"):
        figure(np.array([0.0, 1.0]))


def test_calmar_is_growth_over_the_deepest_drawdown():
    assert calmar(np.array([100.0, 75.0, 150.0]), 1.0) == pytest.approx(50.0 / 25.0)
    assert calmar(np.array([100.0, 110.0]), 1.0) is None


# ---- drawdowns


def test_each_drawdown_is_told_with_its_depth_and_length():
    time_ns = np.arange(9) * DAY
    found = drawdowns(time_ns, np.array([100.0, 110.0, 99.0, 104.5, 110.0, 120.0, 114.0, 108.0, 119.0]))
    assert [(one.depth_pct, one.peak_ns, one.trough_ns, one.recovered_ns) for one in found] == [
        (pytest.approx(10.0), DAY, 2 * DAY, 4 * DAY), (pytest.approx(10.0), 5 * DAY, 7 * DAY, None),
    ]  # fmt: skip
    assert deepest(found) is found[0]
    assert longest_ns(found, 30 * DAY) == 25 * DAY
    assert deepest(()) is None
    assert longest_ns((), 5) == 0
    assert drawdowns(np.empty(0, dtype=np.int64), np.empty(0)) == ()


@settings(max_examples=80, deadline=None)
@given(equity=EQUITY)
def test_the_deepest_of_all_drawdowns_is_the_maximum_drawdown(equity):
    curve = np.array(equity)
    found = drawdowns(np.arange(len(curve)), curve)
    worst = deepest(found)
    assert (worst.depth_pct if worst else 0.0) == pytest.approx(max_drawdown_pct(curve))
    under = sum(one.length_ns(len(curve) - 1) for one in found)
    assert under <= len(curve)


# ---- risk of a period


@settings(max_examples=80, deadline=None)
@given(values=st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=60), level=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_value_at_risk_is_the_smallest_loss_that_is_rarely_exceeded(values, level):
    returns = np.array(values)
    found = value_at_risk(returns, level)
    assert np.mean(returns < -found) <= 1.0 - level + 1e-9
    assert conditional_value_at_risk(returns, level) >= found - 1e-12


def test_risk_of_a_known_sample():
    returns = np.arange(-10.0, 90.0)
    assert value_at_risk(returns, 0.95) == 6.0
    assert conditional_value_at_risk(returns, 0.95) == pytest.approx(8.0)
    assert value_at_risk(np.empty(0)) is None
    assert conditional_value_at_risk(np.empty(0)) is None
    with pytest.raises(ValueError, match="level"):
        value_at_risk(returns, 1.0)


# ---- exposure and turnover


@settings(max_examples=80, deadline=None)
@given(spans=st.lists(st.tuples(st.integers(-20, 120), st.integers(0, 60)), max_size=12))
def test_exposure_is_the_time_covered_by_any_position(spans):
    opened = np.array([begin for begin, _ in spans], dtype=np.int64)
    closed = np.array([begin + length for begin, length in spans], dtype=np.int64)
    covered = sum(any(a <= t < b for a, b in zip(opened, closed, strict=True)) for t in range(100))
    assert exposure_share(opened, closed, 0, 100) == pytest.approx(covered / 100)


def test_turnover_is_trade_value_over_mean_equity():
    assert turnover_per_year(np.array([1_000.0, 1_000.0]), np.array([500.0, 1_500.0]), 0.5) == pytest.approx(4.0)
    assert turnover_per_year(np.array([1.0]), np.array([1.0]), 0.0) is None
    assert exposure_share(np.array([1]), np.array([2]), 5, 5) == 0.0


# ---- calendar


def test_a_day_is_measured_by_its_last_equity_and_weekends_are_no_days():
    times = [at("2024-01-04T10:00"), at("2024-01-04T20:00"), at("2024-01-05T12:00"), at("2024-01-08T01:00")]
    days, returns = daily_returns(np.array(times), np.array([100.0, 110.0, 99.0, 198.0]))
    assert days.tolist() == [at("2024-01-05") // DAY, at("2024-01-08") // DAY]
    assert returns == pytest.approx([-0.1, 1.0])
    assert len(daily_returns(np.empty(0, dtype=np.int64), np.empty(0))[0]) == 0


def test_five_days_a_week_are_260_a_year():
    days = np.array([day for day in range(19_700, 20_700) if day % 7 not in (1, 2)])
    assert trading_days_per_year(days) == pytest.approx(260.9, abs=0.5)
    assert trading_days_per_year(days[:1]) == 252.0


def test_the_monthly_table_compounds_to_the_whole():
    times = np.array([at("2023-11-15"), at("2023-11-30"), at("2023-12-31"), at("2024-02-10"), at("2024-02-28")])
    equity = np.array([100.0, 110.0, 99.0, 150.0, 118.8])
    table = monthly_table(times, equity)
    assert table.years == (2023, 2024)
    assert table.months_pct[0][:10] == (None,) * 10
    assert table.months_pct[0][10:] == (pytest.approx(10.0), pytest.approx(-10.0))
    assert table.months_pct[1][0] is None
    assert table.months_pct[1][1] == pytest.approx(20.0)
    whole = np.prod([1 + total / 100 for total in table.totals_pct])
    assert whole == pytest.approx(equity[-1] / equity[0])
    assert monthly_table(np.empty(0, dtype=np.int64), np.empty(0)).years == ()


def test_a_year_has_365_and_a_quarter_days():
    assert years_between(at("2020-01-01"), at("2024-01-01")) == pytest.approx(4.0)


# ---- Monte Carlo of the order


def test_every_order_of_few_trades_is_drawn_as_often():
    from itertools import permutations

    profits = np.array([10.0, -20.0, 15.0, -5.0])
    found = trade_order_risk(profits, 100.0, runs=20_000, seed=1)
    exact = []
    for order in permutations(profits):
        equity = np.concatenate(([100.0], 100.0 + np.cumsum(order)))
        exact.append(max_drawdown_pct(equity))
    assert found.max_drawdown_pct == pytest.approx(np.percentile(exact, PERCENTILES), abs=0.6)
    observed = max_drawdown_pct(np.concatenate(([100.0], 100.0 + np.cumsum(profits))))
    assert found.observed_drawdown_pct == pytest.approx(observed)
    assert found.share_deeper == pytest.approx(np.mean(np.array(exact) >= observed - 1e-9), abs=0.02)
    assert set(found.final_ccy) == {100.0}


def test_drawing_trades_again_spreads_the_end_and_finds_ruin():
    profits = np.array([30.0, -25.0] * 10)
    found = trade_order_risk(profits, 100.0, runs=4_000, seed=2, method="draw", ruin_share=0.5)
    assert found.final_ccy[0] < 150.0 < found.final_ccy[-1]
    assert np.mean(found.final_ccy[2]) == pytest.approx(150.0, abs=40.0)
    assert 0.1 < found.share_ruined < 0.9
    assert trade_order_risk(profits, 100.0, runs=200, seed=3) == trade_order_risk(profits, 100.0, runs=200, seed=3)
    assert trade_order_risk(np.empty(0), 100.0) is None
    with pytest.raises(ValueError, match="positive start"):
        trade_order_risk(profits, 0.0)


# ---- everything together


def test_the_summary_holds_the_figures_of_its_parts():
    random = np.random.default_rng(1)
    time_ns = at("2023-01-01") + np.arange(0, 400) * DAY
    equity = 10_000.0 * np.cumprod(1.0 + np.concatenate(([0.0], random.normal(0.001, 0.01, 399))))
    trades = ClosedTrades(
        opened_ns=time_ns[:-1:4], closed_ns=time_ns[1::4], profit_ccy=random.normal(5.0, 50.0, 100),
        traded_ccy=np.full(100, 20_000.0),
    )  # fmt: skip
    found = summarise(time_ns, equity, trades, trials=20, resamples=200, runs=100)
    returns = equity[1:] / equity[:-1] - 1
    assert found.return_pct == pytest.approx((equity[-1] / equity[0] - 1) * 100)
    assert found.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(365.25), rel=1e-3)
    assert found.max_drawdown_pct == pytest.approx(max_drawdown_pct(equity))
    assert found.exposure_share == pytest.approx(0.25, abs=0.01)
    assert found.deflated_sharpe < found.probabilistic_sharpe
    assert found.trades.trades == 100
    assert found.longest_drawdown_days >= found.max_drawdown_days or found.max_drawdown_days > 0
    assert len(found.months.years) == 2


def test_a_run_without_trades_or_movement_has_a_summary_without_ratios():
    nothing = ClosedTrades(
        opened_ns=np.empty(0, dtype=np.int64), closed_ns=np.empty(0, dtype=np.int64), profit_ccy=np.empty(0),
        traded_ccy=np.empty(0),
    )  # fmt: skip
    found = summarise(np.array([0, DAY, 2 * DAY]), np.full(3, 100.0), nothing)
    assert (found.sharpe, found.sortino, found.calmar, found.deflated_sharpe, found.trade_order) == (None,) * 5
    assert (found.sharpe_p, found.max_drawdown_pct, found.exposure_share) == (1.0, 0.0, 0.0)
    assert summarise(np.array([5]), np.array([1.0]), nothing).cagr_pct is None
    with pytest.raises(ValueError, match="above zero"):
        summarise(np.array([0, 1]), np.array([100.0, 0.0]), nothing)
