"""What a run's ticks tell beside the messages: their hash, candles, days, gaps, and the quotes around each trade."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from backtest.candles import HOUR_S, Candles, CandleTable, VolatilityRegimes
from libs.common.config import InstrumentConfig
from libs.common.errors import DataError
from libs.common.messages.base import Ints, Message
from libs.common.messages.market import Side, TickBlock
from libs.common.messages.orders import OrderFilled, OrderPartiallyFilled, PositionClosed
from services.executor.broker import BrokerPosition
from services.ingest.market_hours import open_ns_between

NS_PER_S = 1_000_000_000
NS_PER_DAY = 86_400 * NS_PER_S
NS_PER_HOUR = 3_600 * NS_PER_S
_DEALS = (OrderFilled, OrderPartiallyFilled, PositionClosed)


class Extremes(NamedTuple):
    """The lowest and the highest price a position could have been closed at."""

    low: float
    high: float

    def joined(self, other: "Extremes | None") -> "Extremes":
        """Return the extremes of both."""
        return self if other is None else Extremes(min(self.low, other.low), max(self.high, other.high))


class Gap(NamedTuple):
    """The longest silence of an open market.

    Parameters
    ----------
    open_ns : how long the market was open in it
    """

    symbol: str
    from_ns: int
    to_ns: int
    open_ns: int


class _Feed:
    """One symbol's ticks so far."""

    def __init__(self) -> None:
        self.hashes = [hashlib.sha256() for _ in range(3)]
        self.ticks = 0
        self.first_ns = self.last_ns = 0
        self.bid = self.ask = 0.0
        self.candles = Candles()
        self.hours = Candles(HOUR_S, most=0)
        self.spread_sum = 0.0


class Tape:
    """Watches the ticks of a run go by.

    Parameters
    ----------
    instruments : by symbol
    max_gap_h : longest silence of an open market that is let pass, hours; 0 for any
    """

    def __init__(self, instruments: Mapping[str, InstrumentConfig], max_gap_h: float = 0.0) -> None:
        self._instruments = instruments
        self._max_gap_ns = max_gap_h * NS_PER_HOUR
        self._feeds: dict[str, _Feed] = {}
        self._day_ends: dict[int, int] = {}
        self._open: dict[int, Extremes] = {}
        self._extremes: dict[tuple[int, int], Extremes] = {}
        self._spreads: dict[tuple[str, int], float] = {}
        self.longest_gap: Gap | None = None

    # ---- while the run goes on

    def see(self, block: TickBlock) -> None:
        """Take in a block before it is acted upon.

        Raises
        ------
        DataError : when the market was silent for too long
        """
        feed = self._feeds.get(block.symbol)
        if feed is None:
            feed = self._feeds[block.symbol] = _Feed()
            feed.first_ns = feed.last_ns = int(block.time_ns[0])
        self._look_for_gaps(block, feed)
        for digest, column in zip(feed.hashes, (block.time_ns, block.bid, block.ask), strict=True):
            digest.update(np.ascontiguousarray(column).data)
        feed.ticks += len(block)
        feed.last_ns = int(block.time_ns[-1])
        feed.spread_sum += float(np.sum(block.ask - block.bid))
        feed.candles.add(block.time_ns, block.bid)
        feed.hours.add(block.time_ns, block.bid)
        self._note_days(block.time_ns)

    def note(self, block: TickBlock, said: Iterable[Message], positions: Sequence[BrokerPosition]) -> None:
        """Look up the quotes of what happened in a block.

        Parameters
        ----------
        said : everything the cores said since the last call
        positions : what is open after the block
        """
        for message in said:
            if isinstance(message, _DEALS):
                self._spreads[message.symbol, message.ts_event_ns] = self._spread_at(block, message)
            if isinstance(message, PositionClosed):
                now = _extremes(block, message.side, message.symbol, message.opened_ns, message.ts_event_ns)
                before = self._open.get(message.position_id)
                found = before if now is None else now.joined(before)
                if found is not None:
                    self._extremes[message.position_id, message.ts_event_ns] = found
        still = {}
        for held in positions:
            before = self._open.get(held.position_id)
            now = _extremes(block, held.side, held.symbol, held.opened_ns, int(block.time_ns[-1]))
            found = before if now is None else now.joined(before)
            if found is not None:
                still[held.position_id] = found
        self._open = still
        feed = self._feeds[block.symbol]
        feed.bid, feed.ask = float(block.bid[-1]), float(block.ask[-1])

    # ---- afterwards

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols that had ticks, in alphabetical order."""
        return tuple(sorted(self._feeds))

    @property
    def first_ns(self) -> int:
        """When the first tick happened, ns UTC; 0 without ticks."""
        return min((feed.first_ns for feed in self._feeds.values()), default=0)

    @property
    def last_ns(self) -> int:
        """When the last tick happened, ns UTC; 0 without ticks."""
        return max((feed.last_ns for feed in self._feeds.values()), default=0)

    def ticks(self, symbol: str) -> int:
        """Return how many good ticks a symbol had."""
        return self._feeds[symbol].ticks

    def mean_spread_points(self, symbol: str) -> float:
        """Return the mean of ask - bid, points."""
        feed = self._feeds[symbol]
        return feed.spread_sum / feed.ticks / self._instruments[symbol].point

    def digits(self, symbol: str) -> int:
        """Return the decimals of a symbol's prices."""
        return self._instruments[symbol].digits

    def data_sha256(self) -> str:
        """Return the hash of all good ticks; how they were cut into blocks does not matter."""
        whole = hashlib.sha256()
        for symbol in self.symbols:
            whole.update(symbol.encode() + b"\0")
            for digest in self._feeds[symbol].hashes:
                whole.update(digest.digest())
        return whole.hexdigest()

    def candles(self, symbol: str) -> CandleTable:
        """Return a symbol's candles."""
        return self._feeds[symbol].candles.table()

    def regimes(self, symbol: str) -> VolatilityRegimes:
        """Return the calm, usual and wild hours of a symbol."""
        return VolatilityRegimes(self._feeds[symbol].hours.table())

    def day_ends(self) -> Ints:
        """Return (n,) when the last tick of each UTC day happened, ns UTC, rising."""
        return np.array([self._day_ends[day] for day in sorted(self._day_ends)], dtype=np.int64)

    def spread_at(self, symbol: str, ts_ns: int) -> float | None:
        """Return ask - bid when a fill or a closing happened; ``None`` where nothing did."""
        return self._spreads.get((symbol, ts_ns))

    def extremes_of(self, position_id: int, closed_ns: int) -> Extremes | None:
        """Return how far prices went while a position that was closed at an instant was open."""
        return self._extremes.get((position_id, closed_ns))

    # ---- inside

    def _look_for_gaps(self, block: TickBlock, feed: _Feed) -> None:
        silences = np.diff(block.time_ns, prepend=feed.last_ns)
        least = self.longest_gap.open_ns if self.longest_gap is not None else NS_PER_HOUR
        session = self._instruments[block.symbol].session
        for place in np.flatnonzero(silences > least).tolist():
            to_ns = int(block.time_ns[place])
            from_ns = to_ns - int(silences[place])
            open_ns = open_ns_between(from_ns, to_ns, session)
            if open_ns > least:
                least = open_ns
                self.longest_gap = Gap(block.symbol, from_ns, to_ns, open_ns)
        gap = self.longest_gap
        if gap is not None and 0 < self._max_gap_ns < gap.open_ns:
            raise DataError(
                gap.symbol,
                f"no tick between {_clock(gap.from_ns)} and {_clock(gap.to_ns)}, {gap.open_ns / NS_PER_HOUR:.0f} hours "
                "of an open market",
                remedy="Fill the gap (`tickwire history`), leave it out with --from or --to, or allow it with --max-gap",
            )

    def _note_days(self, time_ns: Ints) -> None:
        days = time_ns // NS_PER_DAY
        for end in np.flatnonzero(np.diff(days, append=days[-1] + 1)).tolist():
            day = int(days[end])
            self._day_ends[day] = max(self._day_ends.get(day, 0), int(time_ns[end]))

    def _spread_at(self, block: TickBlock, message: OrderFilled | OrderPartiallyFilled | PositionClosed) -> float:
        if message.symbol == block.symbol:
            place = int(np.searchsorted(block.time_ns, message.ts_event_ns, side="right")) - 1
            if place >= 0:
                return float(block.ask[place] - block.bid[place])
        feed = self._feeds[message.symbol]
        return feed.ask - feed.bid


def _extremes(block: TickBlock, side: Side, symbol: str, from_ns: int, to_ns: int) -> Extremes | None:
    """Return how far the closing side of the quote went within a block; ``None`` where the block has nothing of it."""
    if symbol != block.symbol:
        return None
    start, stop = np.searchsorted(block.time_ns, (from_ns, to_ns + 1)).tolist()
    if stop <= start:
        return None
    prices = (block.bid if side is Side.BUY else block.ask)[start:stop]
    return Extremes(float(prices.min()), float(prices.max()))


def _clock(ts_ns: int) -> str:
    return f"{datetime.fromtimestamp(ts_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M}"
