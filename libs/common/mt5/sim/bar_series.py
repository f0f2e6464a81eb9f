"""Bars of one symbol and timeframe, as ``copy_rates_*`` gives them: built by the house's bar kernel, bar by bar."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from libs.common.messages.base import Floats, Ints
from libs.common.mt5.sim.columns import Columns
from libs.common.mt5.sim.timeframes import Timeframe
from libs.common.trading.compiled import FLOATS_IN, INTS_IN, code_fingerprint, kernel
from libs.common.trading.kernel_bars import (
    BAR_FLOATS,
    BAR_INTS,
    CLOSE,
    HIGH,
    LOW,
    OPEN,
    OPEN_NS,
    SPREAD_SUM,
    TICKS,
    VISIBLE_AT,
    build_base_bars,
)

RATES = np.dtype([
    ("time", "<i8"), ("open", "<f8"), ("high", "<f8"), ("low", "<f8"), ("close", "<f8"), ("tick_volume", "<u8"),
    ("spread", "<i4"), ("real_volume", "<u8"),
])  # fmt: skip
"""A row of ``copy_rates_*``: 60 bytes, packed."""
CHUNK = 16_384
_ALWAYS = -(2**62)
"""Earlier than any tick: a bar counts from its first tick, whether or not that was the bar's beginning."""
_NS = 1_000_000_000
_SIGNATURE = types.int64(
    types.int64[::1], types.float64[::1], types.int64, types.int64, INTS_IN, FLOATS_IN, FLOATS_IN,
    types.float64[:, ::1], types.int64[:, ::1],
)  # fmt: skip


def _compile(fingerprint: int) -> Callable[..., int]:
    @kernel(_SIGNATURE)
    def walk(
        ints: Ints, floats: Floats, length_ns: int, first_ns: int, time_ns: Ints, bid: Floats, ask: Floats,
        closed_f: Floats, closed_i: Ints,
    ) -> int:
        if fingerprint == 0:  # never; read here so that it is part of the cache key
            return -1
        return build_base_bars(ints, floats, length_ns, first_ns, time_ns, bid, ask, closed_f, closed_i)

    compiled: Callable[..., int] = walk
    return compiled


_walk = _compile(code_fingerprint(build_base_bars))


class BarSeries:
    """The bars of one timeframe, extended by ticks in their order.

    Parameters
    ----------
    timeframe : its ruler
    point : size of a point, price units
    limit : bars kept
    """

    def __init__(self, timeframe: Timeframe, point: float, limit: int) -> None:
        self._timeframe = timeframe
        self._point = point
        self._closed = Columns(RATES, limit)
        self._ints = np.zeros(BAR_INTS, dtype=np.int64)
        self._floats = np.zeros(BAR_FLOATS)
        self._traded = 0.0
        self.seen = 0
        """Ticks taken in, counted from the symbol's first."""

    def extend(self, server_s: Ints, bid: Floats, ask: Floats, volume: Floats) -> None:
        """Take in ticks: server seconds, prices and traded lots, all (n,)."""
        for begin in range(0, len(server_s), CHUNK):
            part = slice(begin, begin + CHUNK)
            self._extend(self._timeframe.ruler_s(server_s[part]), bid[part], ask[part], volume[part])
        self.seen += len(server_s)

    def __len__(self) -> int:
        return len(self._closed) + int(self._ints[TICKS] > 0)

    @property
    def opens_s(self) -> Ints:
        """Beginnings of the closed bars, server seconds (n,)."""
        opens: Ints = self._closed.rows["time"]
        return opens

    def slice(self, start: int, stop: int) -> NDArray[Any]:
        """Return the bars from ``start`` to before ``stop`` counted from the oldest kept; the last is still forming."""
        start, stop = max(start, 0), min(stop, len(self))
        closed = self._closed.rows[start:stop]
        if stop <= len(self._closed) or start >= stop:
            return closed.copy()
        return np.concatenate((closed, self._forming()))

    def _extend(self, ruler_s: Ints, bid: Floats, ask: Floats, volume: Floats) -> None:
        floats, ints = np.empty((BAR_FLOATS, len(bid))), np.empty((BAR_INTS, len(bid)), dtype=np.int64)
        n = int(_walk(
            self._ints, self._floats, self._timeframe.length_s * _NS, _ALWAYS, np.ascontiguousarray(ruler_s) * _NS,
            np.ascontiguousarray(bid), np.ascontiguousarray(ask), floats, ints,
        ))  # fmt: skip
        # Traded lots up to each bar's end; the forming bar's wait in ``_traded``.
        traded = self._traded + np.concatenate(([0.0], np.cumsum(volume)))
        ends = traded[ints[VISIBLE_AT, :n]]
        if n:
            self._closed.add(self._rows(floats[:, :n], ints[:, :n], np.diff(ends, prepend=0.0)))
        self._traded = float(traded[-1] - (ends[-1] if n else 0.0))

    def _forming(self) -> NDArray[Any]:
        return self._rows(self._floats[:, None], self._ints[:, None], np.array([self._traded]))

    def _rows(self, floats: Floats, ints: Ints, traded: Floats) -> NDArray[Any]:
        rows = np.zeros(ints.shape[1], dtype=RATES)
        rows["time"] = self._timeframe.server_s(ints[OPEN_NS] // _NS)
        for name, place in (("open", OPEN), ("high", HIGH), ("low", LOW), ("close", CLOSE)):
            rows[name] = floats[place]
        rows["tick_volume"] = ints[TICKS]
        rows["spread"] = np.rint(floats[SPREAD_SUM] / ints[TICKS] / self._point)
        rows["real_volume"] = np.rint(traded)
        return rows
