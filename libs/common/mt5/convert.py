"""The broker's clock and the package's arrays, converted once: server time to UTC, structured arrays to columns.

MetaTrader writes the server's wall clock as if it were UTC. What the clock is ahead of UTC is measured while the
market moves (``offset_meter``) and kept as a history, because it changes with daylight time and yesterday's ticks need
yesterday's offset. Where nothing was measured, a named clock (``server_zone``) says what it would have been.
"""

from bisect import bisect_right
from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from libs.common.errors import DataError
from libs.common.messages.base import Floats, Ints
from libs.common.messages.market import Bar, no_floats
from libs.common.mt5.server_zone import ZONES, ServerZone, parse_zone
from libs.common.trading.sessions import SECONDS_PER_DAY
from libs.common.trading.wall_clock import OffsetTable, WallReader

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
_NS_PER_DAY = SECONDS_PER_DAY * NS_PER_S
_NS_PER_WEEK = 7 * _NS_PER_DAY
_SUNDAY_NS = 3 * _NS_PER_DAY
"""1970-01-01 was a Thursday: weeks counted from it have their Sunday three days in."""
_AROUND_NS = 2 * _NS_PER_DAY

TICK_DTYPE = np.dtype(
    [("time", "<i8"), ("bid", "<f8"), ("ask", "<f8"), ("last", "<f8"), ("volume", "<u8"), ("time_msc", "<i8"),
     ("flags", "<u4"), ("volume_real", "<f8")]
)  # fmt: skip
"""The package's ticks, 60 bytes each."""
RATE_DTYPE = np.dtype(
    [("time", "<i8"), ("open", "<f8"), ("high", "<f8"), ("low", "<f8"), ("close", "<f8"), ("tick_volume", "<u8"),
     ("spread", "<i4"), ("real_volume", "<u8")]
)  # fmt: skip
"""The package's bars, 60 bytes each."""


class MeasuredOffset(msgspec.Struct, frozen=True, kw_only=True):
    """An offset the server's clock was seen to have, from one measurement to another.

    Parameters
    ----------
    from_ns, confirmed_ns : first and last measurement that gave it, ns UTC
    offset_s : server clock minus UTC, seconds
    """

    from_ns: int
    confirmed_ns: int
    offset_s: int


class OffsetHistory(msgspec.Struct, frozen=True, kw_only=True):
    """What one broker's server clock was ahead of UTC, at any time.

    Between the first and the last measurement of an offset that offset holds. Elsewhere (before the first
    measurement, after the last, while nobody measured) the named clock holds, so far as it agrees with what was
    measured next to it; so a change to daylight time is right at its very instant without a measurement. Where the
    named clock does not agree, the nearest measured offset holds, and a change falls on the last Sunday midnight
    (UTC) it can have fallen on.

    Parameters
    ----------
    server : the trade server's name, ``account_info().server``
    zone : named clock, see ``server_zone.parse_zone``
    measured : in order of time

    Examples
    --------
    >>> history = OffsetHistory(server="Broker-Demo", zone="NY+7")
    >>> history.offset_s(1_700_000_000_000_000_000), history.server_s(1_700_000_000_000_000_000)
    (7200, 1700007200)
    """

    server: str = ""
    zone: str = "NY+7"
    measured: tuple[MeasuredOffset, ...] = ()

    def observed(self, at_ns: int, offset_s: int) -> "OffsetHistory":
        """Return the history with one more measurement; one from before the last one is ignored."""
        if self.measured and at_ns <= self.measured[-1].confirmed_ns:
            return self
        last = self.measured[-1] if self.measured else None
        if last is not None and last.offset_s == offset_s and not self._zone.changes(last.confirmed_ns, at_ns):
            grown = msgspec.structs.replace(last, confirmed_ns=at_ns)
            return msgspec.structs.replace(self, measured=(*self.measured[:-1], grown))
        fresh = MeasuredOffset(from_ns=at_ns, confirmed_ns=at_ns, offset_s=offset_s)
        return msgspec.structs.replace(self, measured=(*self.measured, fresh))

    def offset_s(self, ts_ns: int) -> int:
        """Return server clock minus UTC at an instant (ns UTC), seconds."""
        index = bisect_right(self.measured, ts_ns, key=lambda one: one.from_ns) - 1
        if index < 0:
            return self._beyond(self.measured[0], self.measured[0].from_ns, ts_ns) if self.measured else (
                self._zone.offset_s(ts_ns)
            )
        found = self.measured[index]
        if ts_ns <= found.confirmed_ns:
            return found.offset_s
        if index + 1 == len(self.measured):
            return self._beyond(found, found.confirmed_ns, ts_ns)
        return self._between(found, self.measured[index + 1], ts_ns)

    def is_measured(self, ts_ns: int) -> bool:
        """Tell whether the offset at an instant lies between two measurements that agree, or on one."""
        index = bisect_right(self.measured, ts_ns, key=lambda one: one.from_ns) - 1
        return index >= 0 and ts_ns <= self.measured[index].confirmed_ns

    def contradiction(self) -> str:
        """Return what a person must know when the named clock is not the measured one, "" when they agree."""
        wrong = next((one for one in self.measured if not _agrees(self._zone, one)), None)
        if wrong is None:
            return ""
        better = [name for name in ZONES if all(_agrees(parse_zone(name), one) for one in self.measured)]
        hint = f" The clock {better[0]} agrees with everything measured." if better else ""
        return (
            f"the clock of {self.server or 'the server'} was measured at {_hours(wrong.offset_s)}, the named clock "
            f"{self.zone} says {_hours(self._zone.offset_s(wrong.from_ns))}.{hint}"
        )

    def table(self, from_ns: int, to_ns: int) -> OffsetTable:
        """Return the offsets in force from one instant to another (ns UTC)."""
        moments = set(self._zone.changes(from_ns, to_ns))
        for before, after in zip(self.measured, self.measured[1:], strict=False):
            moments |= {after.from_ns, _last_sunday(before.confirmed_ns, after.from_ns)}
        starts: list[int] = []
        offsets = [self.offset_s(from_ns)]
        for moment in sorted(m for m in moments if from_ns < m <= to_ns):
            offset = self.offset_s(moment)
            if offset != offsets[-1]:
                starts.append(moment)
                offsets.append(offset)
        return OffsetTable(np.array(starts, dtype=np.int64), np.array(offsets, dtype=np.int64) * NS_PER_S)

    def server_msc(self, ts_ns: int) -> int:
        """Return what the server's clock shows at an instant, milliseconds since 1970."""
        return ts_ns // NS_PER_MS + self.offset_s(ts_ns) * 1_000

    def server_s(self, ts_ns: int) -> int:
        """Return what the server's clock shows at an instant, whole seconds since 1970."""
        return ts_ns // NS_PER_S + self.offset_s(ts_ns)

    def utc_ns(self, server_msc: int) -> int:
        """Return the instant of one reading of the server's clock (ms), ns UTC; of two, the earlier one."""
        return int(self.times(server_msc).to_utc_ns(np.array([server_msc], dtype=np.int64))[0])

    def times(self, server_msc: int = 0) -> "ServerTimes":
        """Return a converter for readings in order of time; ``server_msc`` says about where they begin."""
        return ServerTimes(self, server_msc)

    @property
    def _zone(self) -> ServerZone:
        return parse_zone(self.zone)

    def _beyond(self, nearest: MeasuredOffset, edge_ns: int, ts_ns: int) -> int:
        if self._zone.offset_s(edge_ns) == nearest.offset_s:
            return self._zone.offset_s(ts_ns)
        return nearest.offset_s

    def _between(self, before: MeasuredOffset, after: MeasuredOffset, ts_ns: int) -> int:
        zone = self._zone
        if zone.offset_s(before.confirmed_ns) == before.offset_s and zone.offset_s(after.from_ns) == after.offset_s:
            return zone.offset_s(ts_ns)
        return before.offset_s if ts_ns < _last_sunday(before.confirmed_ns, after.from_ns) else after.offset_s


class ServerTimes:
    """Turns readings of the server's clock into UTC, in order of time, across changes to and from daylight time.

    Parameters
    ----------
    history : of that server
    server_msc : about where the readings begin, ms; only to have the right part of the history at hand
    """

    def __init__(self, history: OffsetHistory, server_msc: int = 0) -> None:
        self._low, self._high = self._span(server_msc, server_msc)
        self._history = history
        self._reader = WallReader(history.table(self._low, self._high))

    def use(self, history: OffsetHistory) -> None:
        """Go on with a history that has learned more."""
        self._history = history
        self._reader.use(history.table(self._low, self._high))

    def resume_at(self, ts_ns: int) -> None:
        """Go on as if the last reading had been taken at this instant (ns UTC): tells a repeated hour's passes apart."""
        self._cover(ts_ns // NS_PER_MS, ts_ns // NS_PER_MS)
        self._reader.resume_at(ts_ns)

    def to_utc_ns(self, server_msc: Ints) -> Ints:
        """Return UTC, ns, for (n,) readings in milliseconds, which continue those of the call before."""
        if len(server_msc) == 0:
            return np.empty(0, dtype=np.int64)
        self._cover(int(server_msc.min()), int(server_msc.max()))
        return self._reader.to_utc(server_msc.astype(np.int64) * NS_PER_MS)

    def _cover(self, first_msc: int, last_msc: int) -> None:
        low, high = self._span(first_msc, last_msc)
        if low < self._low or high > self._high:
            # Half a year more than needed, so that a stream of readings does not ask at every call.
            self._low, self._high = min(low, self._low) if self._low > _AROUND_NS else low, high + 26 * _NS_PER_WEEK
            self._reader.use(self._history.table(self._low, self._high))

    @staticmethod
    def _span(first_msc: int, last_msc: int) -> tuple[int, int]:
        return first_msc * NS_PER_MS - _AROUND_NS, last_msc * NS_PER_MS + _AROUND_NS


def _agrees(zone: ServerZone, one: MeasuredOffset) -> bool:
    return zone.offset_s(one.from_ns) == one.offset_s == zone.offset_s(one.confirmed_ns)


def _last_sunday(after_ns: int, until_ns: int) -> int:
    """Return the last Sunday 00:00 UTC in ``after < t <= until``, ``until`` where there is none."""
    sunday = (until_ns - _SUNDAY_NS) // _NS_PER_WEEK * _NS_PER_WEEK + _SUNDAY_NS
    return sunday if sunday > after_ns else until_ns


def _hours(offset_s: int) -> str:
    sign = "-" if offset_s < 0 else "+"
    return f"UTC{sign}{abs(offset_s) // 3_600:02d}:{abs(offset_s) % 3_600 // 60:02d}"


class ServerTicks(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Ticks as the package gave them, in columns of equal length; times still the server's.

    Parameters
    ----------
    time_msc : (n,) server clock, ms
    bid, ask, last, volume : (n,) as given; volume in lots
    flags : (n,) which of the fields changed, ``TICK_FLAG_*``
    """

    time_msc: Ints
    bid: Floats
    ask: Floats
    last: Floats
    volume: Floats
    flags: Ints

    def __len__(self) -> int:
        return len(self.time_msc)

    @property
    def has_trades(self) -> bool:
        """True where some tick carries a traded price or volume; forex brokers fill both with zeros."""
        return bool(self.last.any() or self.volume.any())

    def part(self, rows: NDArray[np.intp] | slice) -> "ServerTicks":
        """Return some of the ticks."""
        return ServerTicks(**{name: getattr(self, name)[rows] for name in self.__struct_fields__})


def joined(pages: Iterable[ServerTicks]) -> ServerTicks:
    """Return the ticks of one page or more, one after the other."""
    every = tuple(pages)
    return ServerTicks(**{
        name: np.concatenate([getattr(page, name) for page in every]) for name in ServerTicks.__struct_fields__
    })


def server_ticks(array: NDArray[np.void]) -> ServerTicks:
    """Return the columns of a tick array of the package.

    ``time_msc`` is used, never the whole seconds beside it; ``volume_real`` is the volume unless it is zero.

    Raises
    ------
    DataError : when the array is not one of ticks
    """
    _require(array, TICK_DTYPE, "ticks")
    real = array["volume_real"].astype(np.float64)
    return ServerTicks(
        time_msc=array["time_msc"].astype(np.int64),
        bid=array["bid"].astype(np.float64),
        ask=array["ask"].astype(np.float64),
        last=array["last"].astype(np.float64),
        volume=np.where(real != 0.0, real, array["volume"].astype(np.float64)),
        flags=array["flags"].astype(np.int64),
    )


class ServerBars(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Bars as the package gave them, in columns of equal length; times still the server's.

    Parameters
    ----------
    time_s : (n,) start of each bar on the server's clock, seconds
    open, high, low, close : (n,) bid prices (last prices where the symbol's chart shows those)
    tick_volume : (n,) ticks in the bar
    spread_points : (n,) as given, points
    real_volume : (n,) traded volume, 0 where there is none
    """

    time_s: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    tick_volume: Ints
    spread_points: Floats
    real_volume: Floats

    def __len__(self) -> int:
        return len(self.time_s)


def server_bars(array: NDArray[np.void]) -> ServerBars:
    """Return the columns of a rates array of the package.

    Raises
    ------
    DataError : when the array is not one of rates
    """
    _require(array, RATE_DTYPE, "rates")
    return ServerBars(
        time_s=array["time"].astype(np.int64),
        **{name: array[name].astype(np.float64) for name in ("open", "high", "low", "close", "real_volume")},
        tick_volume=array["tick_volume"].astype(np.int64),
        spread_points=array["spread"].astype(np.float64),
    )


def closed_bars(
    symbol: str, timeframe_s: int, bars: ServerBars, open_ns: Ints, point: float, now_ns: int
) -> tuple[Bar, ...]:
    """Return the bars that had closed at ``now_ns`` as messages.

    Parameters
    ----------
    open_ns : (n,) the bars' starts, ns UTC
    point : size of a point, price units
    """
    return tuple(
        Bar(
            ts_event_ns=start + timeframe_s * NS_PER_S, ts_init_ns=max(now_ns, start + timeframe_s * NS_PER_S),
            symbol=symbol, timeframe_s=timeframe_s, open_ns=start, open=float(bars.open[row]),
            high=float(bars.high[row]), low=float(bars.low[row]), close=float(bars.close[row]),
            spread_mean=float(bars.spread_points[row]) * point, tick_count=int(bars.tick_volume[row]),
        )
        for row, start in enumerate(open_ns.tolist())
        if start + timeframe_s * NS_PER_S <= now_ns
    )  # fmt: skip


def no_trades(ticks: ServerTicks) -> ServerTicks:
    """Return the ticks with the columns of trades left empty, as our messages want them where a feed has none."""
    return msgspec.structs.replace(ticks, last=no_floats(), volume=no_floats())


def _require(array: NDArray[np.void], expected: np.dtype[np.void], name: str) -> None:
    missing = set(expected.names or ()) - set(array.dtype.names or ())
    if missing:
        raise DataError(
            "terminal", f"its {name} lack the columns {', '.join(sorted(missing))}",
            remedy="Use the MetaTrader5 package 5.0.5 or later",
        )  # fmt: skip
