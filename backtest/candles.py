"""Candles of a run's own ticks, coarse enough to be drawn, and how far prices moved hour by hour."""

from typing import NamedTuple

import numpy as np

from libs.common.messages.base import Floats, Ints

NS_PER_S = 1_000_000_000
STEPS_S = (60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 86_400, 604_800)
"""Lengths of candles that people are used to; each divides a later one or the week."""
HOUR_S = 3_600


class CandleTable(NamedTuple):
    """Candles of bid prices in order of time, without those in which nothing happened.

    Parameters
    ----------
    step_s : their length
    open_ns : (n,) start of each, ns UTC
    open, high, low, close : (n,) prices
    """

    step_s: int
    open_ns: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats


class Candles:
    """Folds prices into candles; where there are too many, into longer ones.

    Parameters
    ----------
    step_s : length to begin with, one of ``STEPS_S``
    most : candles held at most; 0 for as many as there are
    """

    def __init__(self, step_s: int = STEPS_S[0], most: int = 12_000) -> None:
        self._step_s, self._most = step_s, most
        self._parts: list[tuple[Ints, Floats, Floats, Floats, Floats]] = []
        self._held = 0

    def add(self, time_ns: Ints, price: Floats) -> None:
        """Take in prices.

        Parameters
        ----------
        time_ns, price : (n,) never falling times, ns UTC, and prices, n >= 1
        """
        buckets = time_ns // (self._step_s * NS_PER_S)
        starts = np.flatnonzero(np.diff(buckets, prepend=buckets[0] - 1))
        lasts = np.append(starts[1:], len(buckets)) - 1
        self._parts.append((
            buckets[starts], price[starts], np.maximum.reduceat(price, starts), np.minimum.reduceat(price, starts),
            price[lasts],
        ))  # fmt: skip
        self._held += len(starts)
        while self._most and self._held > 2 * self._most:
            self._settle()
            if self._held <= self._most or self._step_s == STEPS_S[-1]:
                break
            self._coarsen()

    def table(self) -> CandleTable:
        """Return the candles so far."""
        self._settle()
        while self._most and self._held > self._most and self._step_s != STEPS_S[-1]:
            self._coarsen()
        if not self._parts:
            nothing = np.empty(0)
            return CandleTable(self._step_s, np.empty(0, dtype=np.int64), nothing, nothing, nothing, nothing)
        bucket, *prices = self._parts[0]
        return CandleTable(self._step_s, bucket * (self._step_s * NS_PER_S), *prices)

    def _settle(self) -> None:
        """Make one part of all, with one candle per bucket."""
        if not self._parts:
            return
        joined = [np.concatenate(columns) for columns in zip(*self._parts, strict=True)]
        self._parts = [_merged(joined[0], *joined[1:])]
        self._held = len(self._parts[0][0])

    def _coarsen(self) -> None:
        step_s = next(
            longer for longer in STEPS_S if longer > self._step_s and longer % self._step_s == 0
        )
        bucket, *prices = self._parts[0]
        self._parts = [_merged(bucket * self._step_s // step_s, *prices)]
        self._step_s, self._held = step_s, len(self._parts[0][0])


def _merged(
    bucket: Ints, first: Floats, high: Floats, low: Floats, last: Floats
) -> tuple[Ints, Floats, Floats, Floats, Floats]:
    starts = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
    lasts = np.append(starts[1:], len(bucket)) - 1
    return (
        bucket[starts], first[starts], np.maximum.reduceat(high, starts), np.minimum.reduceat(low, starts), last[lasts],
    )


REGIMES = ("calm", "usual", "wild")


class VolatilityRegimes:
    """Sorts the hours of a run into thirds by how far the price ranged within them.

    Parameters
    ----------
    hours : candles of one hour each

    References
    ----------
    Parkinson (1980), The extreme value method for estimating the variance of the rate of return: the range of an hour
    stands for its volatility.
    """

    def __init__(self, hours: CandleTable) -> None:
        self._open_ns = hours.open_ns
        ranges = np.log(hours.high / hours.low)
        edges = np.quantile(ranges, (1.0 / 3.0, 2.0 / 3.0)) if len(ranges) else np.zeros(2)
        self._thirds = np.searchsorted(edges, ranges, side="left")

    def at(self, ts_ns: int) -> str:
        """Return the regime of the hour an instant lies in; the nearest earlier hour's where none has that instant."""
        if not len(self._open_ns):
            return REGIMES[1]
        place = max(int(np.searchsorted(self._open_ns, ts_ns, side="right")) - 1, 0)
        return REGIMES[int(self._thirds[place])]
