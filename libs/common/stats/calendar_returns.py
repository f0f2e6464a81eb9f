"""Equity by days and months: returns per period, and the table of months everybody looks at first."""

import msgspec
import numpy as np

from libs.common.messages.base import Floats, Ints

NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S
SECONDS_PER_YEAR = 365.25 * 86_400.0
_MONTHS = 12


class MonthlyTable(msgspec.Struct, frozen=True, kw_only=True):
    """Returns by month, percent.

    Parameters
    ----------
    years : in order
    months_pct : a row per year, January to December; ``None`` where the curve has no part in the month
    totals_pct : per year
    """

    years: tuple[int, ...]
    months_pct: tuple[tuple[float | None, ...], ...]
    totals_pct: tuple[float, ...]


def years_between(from_ns: int, to_ns: int) -> float:
    """Return the years (of 365.25 days) from one instant to another."""
    return (to_ns - from_ns) / NS_PER_S / SECONDS_PER_YEAR


def daily_returns(time_ns: Ints, equity: Floats) -> tuple[Ints, Floats]:
    """Return (days, returns) of every UTC day with a value of equity but the first.

    A day's return is its last value over the last value of the day before it that has one; days without a value (a
    weekend) are left out, so that a year has as many returns as trading days.

    Parameters
    ----------
    time_ns : (n,) instants, ns UTC, never falling
    equity : (n,) equity at them, > 0

    Returns
    -------
    (m,) day numbers since 1970 and (m,) returns as fractions.
    """
    if not len(time_ns):
        return np.empty(0, dtype=np.int64), np.empty(0)
    days = time_ns // NS_PER_DAY
    last = np.flatnonzero(np.diff(days, append=days[-1] + 1))
    closes = equity[last]
    return days[last][1:], closes[1:] / closes[:-1] - 1.0


def trading_days_per_year(days: Ints) -> float:
    """Return how many of such days a year has, from the days themselves: about 260 for forex, 365 for crypto.

    >>> round(trading_days_per_year(np.arange(1000)))
    365
    """
    if len(days) < 2:
        return 252.0
    return float((len(days) - 1) / (days[-1] - days[0]) * 365.25)


def monthly_table(time_ns: Ints, equity: Floats) -> MonthlyTable:
    """Return what every month (UTC) brought: its last equity over the last one before it.

    Parameters
    ----------
    time_ns : (n,) instants, ns UTC, never falling
    equity : (n,) equity at them, > 0
    """
    if not len(time_ns):
        return MonthlyTable(years=(), months_pct=(), totals_pct=())
    months = time_ns.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    last = np.flatnonzero(np.diff(months, append=months[-1] + 1))
    closes = np.concatenate((equity[:1], equity[last]))
    by_month = dict(zip(months[last].tolist(), ((closes[1:] / closes[:-1] - 1.0) * 100.0).tolist(), strict=True))
    first_year, last_year = 1970 + int(months[0]) // _MONTHS, 1970 + int(months[-1]) // _MONTHS
    years = tuple(range(first_year, last_year + 1))
    rows = tuple(
        tuple(by_month.get((year - 1970) * _MONTHS + month) for month in range(_MONTHS)) for year in years
    )
    totals = tuple(
        float((np.prod([1.0 + value / 100.0 for value in row if value is not None]) - 1.0) * 100.0) for row in rows
    )
    return MonthlyTable(years=years, months_pct=rows, totals_pct=totals)
