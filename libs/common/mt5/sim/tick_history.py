"""What the simulated terminal remembers of its market, for ``copy_ticks_*`` and ``copy_rates_*``.

It is kept only where somebody wants it: a terminal without a history answers those calls with "Call failed", as a real
one does whose history has not arrived. It is no part of a snapshot; after a restart it fills again from the ticks.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from libs.common.messages.base import Floats, Ints
from libs.common.messages.market import TickBlock
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim.bar_series import BarSeries
from libs.common.mt5.sim.clock import ServerClock
from libs.common.mt5.sim.columns import Columns
from libs.common.mt5.sim.timeframes import TIMEFRAMES

TICKS = np.dtype([
    ("time", "<i8"), ("bid", "<f8"), ("ask", "<f8"), ("last", "<f8"), ("volume", "<u8"), ("time_msc", "<i8"),
    ("flags", "<u4"), ("volume_real", "<f8"),
])  # fmt: skip
"""A row of ``copy_ticks_*``: 60 bytes, packed."""
TICKS_KEPT = 1_000_000
BARS_KEPT = 100_000
_INFO = mt5.TICK_FLAG_BID | mt5.TICK_FLAG_ASK
_TRADE = mt5.TICK_FLAG_LAST | mt5.TICK_FLAG_VOLUME
_WANTED = {mt5.COPY_TICKS_ALL: -1, mt5.COPY_TICKS_INFO: _INFO, mt5.COPY_TICKS_TRADE: _TRADE, _INFO | _TRADE: -1}
_FIELDS = (
    ("bid", mt5.TICK_FLAG_BID), ("ask", mt5.TICK_FLAG_ASK), ("last", mt5.TICK_FLAG_LAST),
    ("volume_real", mt5.TICK_FLAG_VOLUME),
)  # fmt: skip
_NS_PER_MS = 1_000_000
_MS_PER_S = 1_000
_CHUNK = 65_536


class _Kept:
    """One symbol's ticks and the bar series somebody has asked for."""

    def __init__(self, ticks_kept: int) -> None:
        self.ticks = Columns(TICKS, ticks_kept)
        self.time_ns = Columns(np.int64, ticks_kept)
        self.series: dict[int, BarSeries] = {}


class TickHistory:
    """The newest ticks of every symbol, and bars of the timeframes that were asked for.

    Parameters
    ----------
    ticks_kept : per symbol
    bars_kept : per symbol and timeframe; ``terminal_info().maxbars``
    """

    def __init__(self, ticks_kept: int = TICKS_KEPT, bars_kept: int = BARS_KEPT) -> None:
        self.ticks_kept = ticks_kept
        self.bars_kept = bars_kept
        self._kept: dict[str, _Kept] = {}

    def add(self, block: TickBlock, clock: ServerClock) -> None:
        """Take in ticks that come after those of their symbol before."""
        kept = self._kept.setdefault(block.symbol, _Kept(self.ticks_kept))
        rows = np.zeros(len(block), dtype=TICKS)
        rows["time_msc"] = _server_msc(block.time_ns, clock)
        rows["time"] = rows["time_msc"] // _MS_PER_S
        rows["bid"], rows["ask"] = block.bid, block.ask
        if len(block.last):
            rows["last"] = block.last
        if len(block.volume):
            rows["volume"], rows["volume_real"] = block.volume, block.volume
        rows["flags"] = block.flags if len(block.flags) else _changes(rows, kept.ticks.rows[-1:])
        kept.ticks.add(rows)
        kept.time_ns.add(np.asarray(block.time_ns, dtype=np.int64))

    def last_tick(self, symbol: str) -> NDArray[Any] | None:
        """Return a symbol's newest tick (1,), ``None`` before its first."""
        kept = self._kept.get(symbol)
        return None if kept is None else kept.ticks.rows[-1:]

    def ticks_from(self, symbol: str, start_ns: int, count: int, flags: int) -> NDArray[Any] | None:
        """Return up to so many ticks at or after a time, ns UTC; ``None`` where there is no history."""
        return self._select(symbol, start_ns, None, count, _WANTED[flags])

    def ticks_between(self, symbol: str, start_ns: int, end_ns: int, flags: int) -> NDArray[Any] | None:
        """Return the ticks between two times, ns UTC, both included; ``None`` where there is no history."""
        return self._select(symbol, start_ns, end_ns, None, _WANTED[flags])

    def bars(self, symbol: str, timeframe: int, point: float) -> BarSeries | None:
        """Return a symbol's bars up to now; ``None`` where there is no history.

        Parameters
        ----------
        timeframe : TIMEFRAME_*
        point : size of a point, price units
        """
        kept = self._kept.get(symbol)
        if kept is None:
            return None
        series = kept.series.get(timeframe)
        if series is None:
            series = kept.series[timeframe] = BarSeries(TIMEFRAMES[timeframe], point, self.bars_kept)
            series.seen = kept.ticks.forgotten
        new = kept.ticks.rows[max(0, series.seen - kept.ticks.forgotten) :]
        series.seen = max(series.seen, kept.ticks.forgotten)
        if len(new):
            series.extend(new["time"], new["bid"], new["ask"], new["volume_real"])
        return series

    def _select(
        self, symbol: str, start_ns: int, end_ns: int | None, count: int | None, mask: int
    ) -> NDArray[Any] | None:
        kept = self._kept.get(symbol)
        if kept is None:
            return None
        times = kept.time_ns.rows
        begin = int(np.searchsorted(times, start_ns))
        end = len(times) if end_ns is None else int(np.searchsorted(times, end_ns, side="right"))
        if mask == -1:
            end = end if count is None else min(end, begin + count)
            return kept.ticks.rows[begin : max(begin, end)].copy()
        return _matching(kept.ticks.rows[begin : max(begin, end)], mask, count)


def is_tick_choice(flags: int) -> bool:
    """Tell whether ``copy_ticks_*`` knows these flags."""
    return flags in _WANTED


def _matching(rows: NDArray[Any], mask: int, count: int | None) -> NDArray[Any]:
    """Return the rows that changed something of the mask, at most ``count``, looking no further than needed."""
    found, missing = [rows[:0]], len(rows) if count is None else count
    for begin in range(0, len(rows), _CHUNK):
        if missing <= 0:
            break
        part = rows[begin : begin + _CHUNK]
        part = part[(part["flags"] & mask) != 0][:missing]
        missing -= len(part)
        found.append(part)
    return np.concatenate(found)


def _server_msc(time_ns: Ints, clock: ServerClock) -> Ints:
    """Return server milliseconds (n,) of UTC times (n,) ns."""
    first, last = int(time_ns[0]), int(time_ns[-1])
    offset_ms = clock.msc(first) - first // _NS_PER_MS
    if clock.msc(last) - last // _NS_PER_MS == offset_ms:
        return np.asarray(time_ns // _NS_PER_MS + offset_ms)
    return np.array([clock.msc(int(moment)) for moment in time_ns], dtype=np.int64)


def _changes(rows: NDArray[Any], before: NDArray[Any]) -> Ints:
    """Return which fields each tick changed; a tick that changed nothing repeats the quote: bid and ask."""
    flags = np.zeros(len(rows), dtype=np.int64)
    for name, flag in _FIELDS:
        column: Floats = rows[name]
        first = before[name][0] if len(before) else 0.0
        if column[0] != first:
            flags[0] |= flag
        if len(rows) > 1:
            flags[1:] |= np.where(column[1:] != column[:-1], flag, 0)
    flags[flags == 0] = _INFO
    return flags
