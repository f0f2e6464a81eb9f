"""How well trading went: ratios of returns, drawdown of equity, statistics of trades.

A ratio whose denominator is zero does not exist and comes back as ``None``, never as a huge number.
"""

import math

import msgspec
import numpy as np

from libs.common.messages.base import Floats, Ints


class TradeStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of closed trades amounts to.

    Parameters
    ----------
    trades : how many
    net_ccy : sum of the profits
    win_rate : share of trades that earned more than zero, 0..1; ``None`` without trades
    profit_factor : sum of gains over sum of losses; ``None`` without losses
    expectancy_ccy : mean profit; ``None`` without trades
    average_win_ccy, average_loss_ccy : mean gain, mean loss (>= 0); ``None`` where there is none
    longest_losing_streak : most losing trades in a row
    """

    trades: int
    net_ccy: float
    win_rate: float | None
    profit_factor: float | None
    expectancy_ccy: float | None
    average_win_ccy: float | None
    average_loss_ccy: float | None
    longest_losing_streak: int


def sharpe(returns: Floats, periods_per_year: float) -> float | None:
    """Return the annualised ratio of mean return to its standard deviation.

    Parameters
    ----------
    returns : (n,) returns per period in excess of the risk-free rate
    periods_per_year : > 0

    Returns
    -------
    The ratio; ``None`` for fewer than two returns or returns that never vary.

    Examples
    --------
    >>> sharpe(np.array([1.0, 3.0]), 2.0)
    2.0

    References
    ----------
    Sharpe (1994), The Sharpe Ratio, Journal of Portfolio Management 21.
    """
    if len(returns) < 2 or np.ptp(returns) == 0.0:
        return None
    return float(np.mean(returns) / np.std(returns, ddof=1) * math.sqrt(periods_per_year))


def sortino(returns: Floats, periods_per_year: float, target: float = 0.0) -> float | None:
    """Return the annualised ratio of mean return above a target to the downside deviation.

    Parameters
    ----------
    returns : (n,) returns per period
    periods_per_year : > 0
    target : least acceptable return per period

    Returns
    -------
    The ratio; ``None`` without returns or when none fell below the target.

    Examples
    --------
    >>> sortino(np.array([2.0, 2.0, 2.0, -2.0]), 1.0)
    1.0

    References
    ----------
    Sortino and van der Meer (1991), Downside risk, Journal of Portfolio Management 17.
    """
    if not len(returns):
        return None
    downside = math.sqrt(float(np.mean(np.minimum(returns - target, 0.0) ** 2)))
    if downside == 0.0:
        return None
    return float((np.mean(returns) - target) / downside * math.sqrt(periods_per_year))


def max_drawdown_pct(equity: Floats) -> float:
    """Return the deepest fall of equity below its peak so far, percent of that peak.

    Parameters
    ----------
    equity : (n,) equity over time, the first value > 0

    Raises
    ------
    ValueError : when equity does not start above zero

    Examples
    --------
    >>> max_drawdown_pct(np.array([100.0, 120.0, 90.0, 130.0]))
    25.0
    """
    if not len(equity):
        return 0.0
    if not equity[0] > 0.0:
        raise ValueError(f"equity starts at {equity[0]}, a drawdown in percent needs a positive start")
    peaks = np.maximum.accumulate(equity)
    return float(np.max((peaks - equity) / peaks) * 100.0)


def total_return_pct(equity: Floats) -> float:
    """Return how much equity has grown from its first value to its last, percent of the first.

    Parameters
    ----------
    equity : (n,) equity over time, the first value > 0

    Raises
    ------
    ValueError : when equity does not start above zero

    Examples
    --------
    >>> total_return_pct(np.array([100.0, 90.0, 125.0]))
    25.0
    """
    if not len(equity):
        return 0.0
    if not equity[0] > 0.0:
        raise ValueError(f"equity starts at {equity[0]}, a return in percent needs a positive start")
    return float((equity[-1] / equity[0] - 1.0) * 100.0)


def cagr_pct(equity: Floats, years: float) -> float | None:
    """Return the constant yearly growth that leads from the first equity to the last, percent.

    Parameters
    ----------
    equity : (n,) equity over time, the first value > 0
    years : from the first value to the last

    Returns
    -------
    The growth, -100 when nothing is left; ``None`` where no time has passed, or it is beyond any number (a few good
    hours taken for a whole year).

    Examples
    --------
    >>> round(cagr_pct(np.array([100.0, 121.0]), 2.0), 9)
    10.0
    """
    if not years > 0.0 or not len(equity):
        return None
    growth = 1.0 + total_return_pct(equity) / 100.0
    if growth <= 0.0:
        return -100.0
    logarithm = math.log(growth) / years
    return (math.exp(logarithm) - 1.0) * 100.0 if logarithm < 700.0 else None


def calmar(equity: Floats, years: float) -> float | None:
    """Return the yearly growth over the deepest drawdown; ``None`` without one.

    >>> round(calmar(np.array([100.0, 80.0, 110.0]), 1.0), 9)
    0.5

    References
    ----------
    Young (1991), Calmar Ratio: A Smoother Tool, Futures 20.
    """
    growth, deepest = cagr_pct(equity, years), max_drawdown_pct(equity)
    return None if growth is None or deepest == 0.0 else growth / deepest


def value_at_risk(returns: Floats, level: float = 0.95) -> float | None:
    """Return the loss per period that is not exceeded in a share ``level`` of the periods, from the returns themselves.

    Parameters
    ----------
    returns : (n,) returns per period, any unit
    level : in (0, 1)

    Returns
    -------
    The loss, positive, in the returns' unit (negative where even the bad periods earned); ``None`` without returns.

    Examples
    --------
    >>> value_at_risk(np.array([-4.0, -2.0, 1.0, 3.0]), 0.75)
    4.0
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level of {level} is no share between 0 and 1")
    if not len(returns):
        return None
    return -float(np.sort(returns)[_tail(len(returns), level) - 1])


def conditional_value_at_risk(returns: Floats, level: float = 0.95) -> float | None:
    """Return the mean loss of the worst share ``1 - level`` of the periods (at least one of them).

    >>> conditional_value_at_risk(np.array([-4.0, -2.0, 1.0, 3.0]), 0.5)
    3.0

    References
    ----------
    Rockafellar and Uryasev (2000), Optimization of conditional value-at-risk, Journal of Risk 2.
    """
    if value_at_risk(returns, level) is None:
        return None
    return -float(np.mean(np.sort(returns)[: _tail(len(returns), level)]))


def _tail(count: int, level: float) -> int:
    """Return how many of the worst periods lie beyond the level, at least one."""
    # A share such as 1 - 0.95 is a little more than 0.05 as a double; so is its product with 20.
    return max(1, math.ceil(count * (1.0 - level) - 1e-9))


def exposure_share(from_ns: Ints, to_ns: Ints, start_ns: int, end_ns: int) -> float:
    """Return the share of a stretch of time during which at least one position was open.

    Parameters
    ----------
    from_ns, to_ns : (n,) when each position was opened and closed, ns UTC
    start_ns, end_ns : the stretch

    Examples
    --------
    >>> exposure_share(np.array([0, 5, 40]), np.array([10, 20, 50]), 0, 100)
    0.3
    """
    if not end_ns > start_ns:
        return 0.0
    order = np.argsort(from_ns, kind="stable")
    opened, closed = np.clip(from_ns[order], start_ns, end_ns), np.clip(to_ns[order], start_ns, end_ns)
    covered_to = np.maximum.accumulate(np.concatenate(([start_ns], closed)))
    return float(np.sum(np.maximum(0, closed - np.maximum(opened, covered_to[:-1]))) / (end_ns - start_ns))


def turnover_per_year(traded_ccy: Floats, equity: Floats, years: float) -> float | None:
    """Return how many times a year the account's mean equity was traded.

    Parameters
    ----------
    traded_ccy : (n,) value of each fill, account currency, >= 0; an entry and its exit are two
    equity : (m,) equity over time
    years : > 0

    Returns
    -------
    Times per year; ``None`` where no time has passed or the mean equity is not above zero.
    """
    if not years > 0.0 or not len(equity) or not np.mean(equity) > 0.0:
        return None
    return float(np.sum(traded_ccy) / np.mean(equity) / years)


def profit_factor(profits: Floats) -> float | None:
    """Return the sum of gains over the sum of losses; ``None`` without losses.

    >>> profit_factor(np.array([3.0, -1.0, -1.0]))
    1.5
    """
    losses = -float(np.sum(np.minimum(profits, 0.0)))
    return float(np.sum(np.maximum(profits, 0.0))) / losses if losses > 0.0 else None


def win_rate(profits: Floats) -> float | None:
    """Return the share of trades that earned more than zero; ``None`` without trades.

    >>> win_rate(np.array([3.0, -1.0, 0.0, 1.0]))
    0.5
    """
    return float(np.mean(profits > 0.0)) if len(profits) else None


def longest_losing_streak(profits: Floats) -> int:
    """Return the most losing trades in a row.

    >>> longest_losing_streak(np.array([-1.0, 2.0, -1.0, -1.0, 0.0]))
    2
    """
    longest = current = 0
    for lost in (profits < 0.0).tolist():
        current = current + 1 if lost else 0
        longest = max(longest, current)
    return longest


def trade_statistics(profits_ccy: Floats) -> TradeStatistics:
    """Summarise closed trades.

    Parameters
    ----------
    profits_ccy : (n,) net profit per trade in order of closing, account currency

    Examples
    --------
    >>> trade_statistics(np.array([3.0, -1.0, -1.0])).expectancy_ccy == 1.0 / 3.0
    True
    """
    gains, losses = profits_ccy[profits_ccy > 0.0], profits_ccy[profits_ccy < 0.0]
    return TradeStatistics(
        trades=len(profits_ccy),
        net_ccy=float(np.sum(profits_ccy)),
        win_rate=win_rate(profits_ccy),
        profit_factor=profit_factor(profits_ccy),
        expectancy_ccy=float(np.mean(profits_ccy)) if len(profits_ccy) else None,
        average_win_ccy=float(np.mean(gains)) if len(gains) else None,
        average_loss_ccy=-float(np.mean(losses)) if len(losses) else None,
        longest_losing_streak=longest_losing_streak(profits_ccy),
    )
