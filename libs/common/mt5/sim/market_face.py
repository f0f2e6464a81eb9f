"""The package's questions about the market: the Market Watch window, ticks, bars and depth."""

import datetime
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from libs.common.mt5 import constants as mt5
from libs.common.mt5.results import BookInfo, Tick
from libs.common.mt5.sim.bar_series import BarSeries
from libs.common.mt5.sim.ledger import Ledger
from libs.common.mt5.sim.liquidity import Offer, book_levels
from libs.common.mt5.sim.port import FAILED, INVALID_PARAMS, NOT_FOUND, SUCCESS, LastError
from libs.common.mt5.sim.tick_history import TickHistory, is_tick_choice
from libs.common.mt5.sim.timeframes import TIMEFRAMES

Answer = TypeVar("Answer")
Moment = int | float | datetime.datetime
"""A server time: seconds, or a date-time whose ``timestamp()`` is taken."""


class MarketFace:
    """Answers about prices.

    Parameters
    ----------
    ledger : whose quotes these are
    history : what is remembered of them; ``None``: nothing, and ``copy_*`` fails
    """

    def __init__(self, ledger: Ledger, history: TickHistory | None = None) -> None:
        self._ledger = ledger
        self._history = history
        self._last_error: LastError = (0, "")
        self._hidden: set[str] = set()
        self._books: set[str] = set()

    def symbol_select(self, symbol: str, enable: bool = True) -> bool:
        """Show a symbol in Market Watch or take it out; one with positions or orders stays."""
        held = symbol in self._ledger.instruments and (self._ledger.positions(symbol) or self._ledger.orders(symbol))
        if symbol not in self._ledger.instruments or (held and not enable):
            self._no(*FAILED)
            return False
        if enable:
            self._hidden.discard(symbol)
        else:
            self._hidden.add(symbol)
            self._books.discard(symbol)
        return self._ok(True)

    def symbol_info_tick(self, symbol: str) -> Tick | None:
        """Return the quote in force; ``None`` for a symbol that is unknown, not selected, or has no tick yet."""
        known = symbol in self._ledger.instruments and symbol not in self._hidden
        if not known or not self._ledger.has_quote(symbol):
            self._no(*NOT_FOUND)
            return None
        quote = self._ledger.state.quotes[symbol]
        msc = self._ledger.clock.msc(quote.time_ns)
        newest = self._history.last_tick(symbol) if self._history else None
        if newest is not None and newest["time_msc"][0] == msc:
            return self._ok(Tick(*newest[0].item()))
        return self._ok(Tick(time=msc // 1000, bid=quote.bid, ask=quote.ask, last=quote.last, time_msc=msc,
                             flags=mt5.TICK_FLAG_BID | mt5.TICK_FLAG_ASK))

    # Bars.

    def copy_rates_from(self, symbol: str, timeframe: int, date_from: int, count: int) -> NDArray[Any] | None:
        """Return up to ``count`` bars that opened at or before a server time, oldest first."""
        series = self._bars(symbol, timeframe, count)
        if series is None:
            return None
        newest = series.slice(len(series) - 1, len(series))
        stop = len(series)
        if len(newest) and int(newest["time"][0]) > date_from:
            stop = int(np.searchsorted(series.opens_s, date_from, side="right"))
        return self._found(series.slice(stop - count, stop))

    def copy_rates_from_pos(self, symbol: str, timeframe: int, start_pos: int, count: int) -> NDArray[Any] | None:
        """Return up to ``count`` bars before position ``start_pos``, 0 being the forming bar; oldest first."""
        series = self._bars(symbol, timeframe, count)
        if series is None:
            return None
        stop = len(series) - start_pos
        return self._found(series.slice(stop - count, stop))

    def copy_rates_range(self, symbol: str, timeframe: int, date_from: int, date_to: int) -> NDArray[Any] | None:
        """Return the bars that opened between two server times, both included; none is an empty array."""
        series = self._bars(symbol, timeframe, 1)
        if series is None:
            return None
        everything = series.slice(0, len(series))
        opens = everything["time"]
        begin, end = np.searchsorted(opens, date_from), np.searchsorted(opens, date_to, side="right")
        return self._ok(everything[begin : max(begin, end)].copy())

    # Ticks.

    def copy_ticks_from(self, symbol: str, date_from: int, count: int, flags: int) -> NDArray[Any] | None:
        """Return up to ``count`` ticks from a server time on; none is an empty array."""
        if not is_tick_choice(flags) or count <= 0:
            self._no(*INVALID_PARAMS)
            return None
        if self._history is None:
            self._no(*FAILED)
            return None
        start_ns = self._ledger.clock.utc_ns(date_from)
        return self._some(self._history.ticks_from(symbol, start_ns, count, flags))

    def copy_ticks_range(self, symbol: str, date_from: int, date_to: int, flags: int) -> NDArray[Any] | None:
        """Return the ticks between two server times, both included; none is an empty array."""
        if not is_tick_choice(flags):
            self._no(*INVALID_PARAMS)
            return None
        if self._history is None:
            self._no(*FAILED)
            return None
        clock = self._ledger.clock
        return self._some(
            self._history.ticks_between(symbol, clock.utc_ns(date_from), clock.utc_ns(date_to), flags)
        )

    # Depth: what the symbol's conditions say there is at each level, less what has been taken.

    def market_book_add(self, symbol: str) -> bool:
        """Subscribe to the depth of a symbol that has one and is in Market Watch."""
        traded = self._ledger.symbols.get(symbol)
        if traded is None or not traded.terms.depth_lots or symbol in self._hidden:
            self._no(*FAILED)
            return False
        self._books.add(symbol)
        return self._ok(True)

    def market_book_release(self, symbol: str) -> bool:
        """Unsubscribe from a symbol's depth; False when it was not subscribed to."""
        if symbol not in self._books:
            self._no(*FAILED)
            return False
        self._books.discard(symbol)
        return self._ok(True)

    def market_book_get(self, symbol: str) -> tuple[BookInfo, ...] | None:
        """Return the depth of a subscribed symbol, dearest first: sell orders, then buy orders."""
        if symbol not in self._books or not self._ledger.has_quote(symbol):
            self._no(*FAILED)
            return None
        asks, bids = book_levels(self._ledger, symbol)
        sells = [_line(mt5.BOOK_TYPE_SELL, offer) for offer in asks]
        buys = [_line(mt5.BOOK_TYPE_BUY, offer) for offer in bids]
        return self._ok((*reversed(sells), *buys))

    # Inside.

    def _ok(self, answer: Answer) -> Answer:
        self._last_error = SUCCESS
        return answer

    def _no(self, code: int, text: str) -> None:
        self._last_error = (code, text)

    def _bars(self, symbol: str, timeframe: int, count: int) -> BarSeries | None:
        if timeframe not in TIMEFRAMES or not 0 < count <= self._max_bars:
            self._no(*INVALID_PARAMS)
            return None
        series = None
        if self._history is not None and symbol in self._ledger.instruments:
            series = self._history.bars(symbol, timeframe, self._ledger.instruments[symbol].point)
        if series is None:
            self._no(*FAILED)
        return series

    @property
    def _max_bars(self) -> int:
        return self._history.bars_kept if self._history is not None else 2**31

    def _found(self, rows: NDArray[Any]) -> NDArray[Any] | None:
        """Return bars; none at all means that there is no history there."""
        if len(rows) == 0:
            self._no(*FAILED)
            return None
        return self._ok(rows)

    def _some(self, rows: NDArray[Any] | None) -> NDArray[Any] | None:
        if rows is None:
            self._no(*FAILED)
            return None
        return self._ok(rows)


def _line(kind: int, offer: Offer) -> BookInfo:
    return BookInfo(type=kind, price=offer.price, volume=int(offer.lots), volume_dbl=offer.lots)
