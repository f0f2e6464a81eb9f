"""All figures of a run in one place, from its equity curve and its trades."""

import msgspec
import numpy as np

from libs.common.messages.base import Floats, Ints
from libs.common.stats.calendar_returns import (
    MonthlyTable,
    daily_returns,
    monthly_table,
    trading_days_per_year,
    years_between,
)
from libs.common.stats.drawdown import deepest, drawdowns, longest_ns
from libs.common.stats.performance import (
    TradeStatistics,
    cagr_pct,
    calmar,
    conditional_value_at_risk,
    exposure_share,
    sharpe,
    sortino,
    total_return_pct,
    trade_statistics,
    turnover_per_year,
    value_at_risk,
)
from libs.common.stats.significance import (
    deflated_sharpe,
    needed_periods,
    probabilistic_sharpe,
    sharpe_p_value,
)
from libs.common.stats.trade_order import TradeOrderRisk, trade_order_risk

NS_PER_DAY = 86_400 * 1_000_000_000


class ClosedTrades(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Closed trades as columns of equal length, in order of closing.

    Parameters
    ----------
    opened_ns, closed_ns : (n,) ns UTC
    profit_ccy : (n,) net of all costs, account currency
    traded_ccy : (n,) value of entry and exit together, account currency
    """

    opened_ns: Ints
    closed_ns: Ints
    profit_ccy: Floats
    traded_ccy: Floats


class PerformanceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a run amounts to. ``None`` where a figure does not exist (a ratio without a denominator).

    Parameters
    ----------
    from_ns, to_ns : first and last instant of the equity curve, ns UTC
    return_pct, cagr_pct : growth over all of it, and per year
    sharpe, sortino : of daily returns, annualised by the trading days a year has in this run
    calmar : yearly growth over the deepest drawdown
    max_drawdown_pct, max_drawdown_days : the deepest, and its length from peak to recovery (or to the end)
    longest_drawdown_days : of all drawdowns
    var_95_pct, cvar_95_pct : of daily returns, as losses
    exposure_share : time with an open position over all time
    turnover_per_year : times the mean equity was traded
    trades : statistics of the closed trades
    sharpe_p, probabilistic_sharpe : is the Sharpe ratio above zero: p value by the stationary bootstrap, probability
    deflated_sharpe : probability that it is above what the best of ``trials`` shows by luck
    trials : strategies and settings tried, this one included
    needed_days : trading days like these that would prove a Sharpe ratio above zero at 95 %
    months : returns by month
    trade_order : Monte Carlo over orders of the same trades
    """

    from_ns: int
    to_ns: int
    return_pct: float
    cagr_pct: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown_pct: float
    max_drawdown_days: float
    longest_drawdown_days: float
    var_95_pct: float | None
    cvar_95_pct: float | None
    exposure_share: float
    turnover_per_year: float | None
    trades: TradeStatistics
    sharpe_p: float
    probabilistic_sharpe: float | None
    deflated_sharpe: float | None
    trials: int
    needed_days: float | None
    months: MonthlyTable
    trade_order: TradeOrderRisk | None


def summarise(
    time_ns: Ints, equity: Floats, trades: ClosedTrades, *, trials: int = 1, trial_sharpes: Floats | None = None,
    seed: int = 0, resamples: int = 2_000, runs: int = 1_000,
) -> PerformanceSummary:  # fmt: skip
    """Work out every figure.

    Parameters
    ----------
    time_ns : (n,) instants of the equity curve, ns UTC, never falling, n >= 1
    equity : (n,) equity at them, account currency, > 0 throughout
    trials : strategies and settings tried, this one included
    trial_sharpes : their Sharpe ratios **per day**, where known
    seed, resamples, runs : of bootstrap and Monte Carlo

    Raises
    ------
    ValueError : without equity, or when it is not above zero throughout (an account that is lost has no returns after)
    """
    if not len(equity) or not (equity > 0.0).all():
        raise ValueError("a summary needs an equity curve above zero; cut it where the account is lost")
    from_ns, to_ns = int(time_ns[0]), int(time_ns[-1])
    years = years_between(from_ns, to_ns)
    days, returns = daily_returns(time_ns, equity)
    per_year = trading_days_per_year(days)
    found = drawdowns(time_ns, equity)
    worst = deepest(found)
    percent = returns * 100.0
    return PerformanceSummary(
        from_ns=from_ns, to_ns=to_ns, return_pct=total_return_pct(equity), cagr_pct=cagr_pct(equity, years),
        sharpe=sharpe(returns, per_year), sortino=sortino(returns, per_year), calmar=calmar(equity, years),
        max_drawdown_pct=worst.depth_pct if worst else 0.0,
        max_drawdown_days=worst.length_ns(to_ns) / NS_PER_DAY if worst else 0.0,
        longest_drawdown_days=longest_ns(found, to_ns) / NS_PER_DAY,
        var_95_pct=value_at_risk(percent), cvar_95_pct=conditional_value_at_risk(percent),
        exposure_share=exposure_share(trades.opened_ns, trades.closed_ns, from_ns, to_ns),
        turnover_per_year=turnover_per_year(trades.traded_ccy, equity, years),
        trades=trade_statistics(trades.profit_ccy),
        sharpe_p=sharpe_p_value(returns, resamples=resamples, seed=seed),
        probabilistic_sharpe=probabilistic_sharpe(returns),
        deflated_sharpe=deflated_sharpe(returns, trials, trial_sharpes), trials=trials,
        needed_days=needed_periods(returns), months=monthly_table(time_ns, equity),
        trade_order=trade_order_risk(np.asarray(trades.profit_ccy), float(equity[0]), runs=runs, seed=seed),
    )  # fmt: skip
