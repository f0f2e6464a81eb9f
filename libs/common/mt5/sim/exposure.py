"""What a symbol's positions and orders add up to, kept up to date with every change, and the levels they wait for."""

from bisect import bisect_left, insort

import numpy as np

from libs.common.messages.base import Floats
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim.state import OpenPosition, PendingOrder, Quote
from libs.common.trading.instrument import Instrument

TOUCH_POINTS = 1e-3
"""A quote this close to a level, in points, has reached it: prices off the grid by a rounding error still count."""
_FIX = 2.0**60
"""Sums are kept as integers of 2**-60, in which every term is exact: adding and taking away in any order, or all at
once after a restart, gives the same."""
_NO_LEVEL = (-np.inf, np.inf, -np.inf, np.inf)
_FALLS_BID, _RISES_BID, _FALLS_ASK, _RISES_ASK = range(4)
_LINE_OF = {
    mt5.ORDER_TYPE_SELL_STOP: _FALLS_BID,
    mt5.ORDER_TYPE_SELL_STOP_LIMIT: _FALLS_BID,
    mt5.ORDER_TYPE_SELL_LIMIT: _RISES_BID,
    mt5.ORDER_TYPE_BUY_LIMIT: _FALLS_ASK,
    mt5.ORDER_TYPE_BUY_STOP: _RISES_ASK,
    mt5.ORDER_TYPE_BUY_STOP_LIMIT: _RISES_ASK,
}


class Leg:
    """The sums of one direction's positions: units are volume * value of a lot, cost is that times price_open."""

    __slots__ = ("_cost", "_margin", "_units", "cost", "count", "lots", "margin_ccy", "units")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._units = self._cost = self._margin = self.lots = self.count = 0
        self.units = self.cost = self.margin_ccy = 0.0

    def add(self, position: OpenPosition, value_per_lot: float, cost_per_lot: float, way: int) -> None:
        """Count a position in (``way`` +1) or, exactly as it was counted, out (-1)."""
        lots = position.volume_lots
        self.count += way
        if not self.count:
            self.clear()
            return
        self.lots += way * round(lots * 1e8)
        self._units += way * int(lots * value_per_lot * _FIX)
        self._cost += way * int(lots * cost_per_lot * position.price_open * _FIX)
        self._margin += way * int(lots * position.margin_per_lot_ccy * _FIX)
        self.units, self.cost = self._units / _FIX, self._cost / _FIX
        self.margin_ccy = self._margin / _FIX


class Exposure:
    """One symbol's positions and orders, their sums, and the nearest levels on each side.

    Parameters
    ----------
    instrument : the symbol's
    value_per_lot : what a lot's worth moves by in profit currency when the price moves by 1.0
    cost_per_lot : the same for the opening price; 0.0 for collateral, which counts with its whole worth
    """

    __slots__ = (
        "_cost_per_lot", "_dirty", "_levels", "_lines", "_pending_margin", "_swap", "_touch", "_value_per_lot",
        "expiries", "long", "orders", "pending_margin_ccy", "positions", "short", "swap_ccy", "working",
    )

    def __init__(self, instrument: Instrument, value_per_lot: float, cost_per_lot: float) -> None:
        self._value_per_lot, self._cost_per_lot = value_per_lot, cost_per_lot
        self._touch = instrument.point * TOUCH_POINTS
        self.positions: dict[int, OpenPosition] = {}
        self.orders: dict[int, PendingOrder] = {}
        self.long, self.short = Leg(), Leg()
        self._swap = self._pending_margin = 0
        self.swap_ccy = self.pending_margin_ccy = 0.0
        self.expiries: list[tuple[int, int]] = []
        self.working: set[int] = set()
        # Sorted (price, ticket); orders carry their ticket as it is, positions as its negative.
        self._levels: tuple[list[tuple[float, int]], ...] = ([], [], [], [])
        self._lines, self._dirty = np.empty(4), True

    @property
    def held(self) -> int:
        """Open positions."""
        return self.long.count + self.short.count

    def enter(self, position: OpenPosition) -> None:
        """Count a position in."""
        self.positions[position.ticket] = position
        self._count(position, 1)

    def leave(self, position: OpenPosition) -> None:
        """Count a position out, before it is changed or gone."""
        del self.positions[position.ticket]
        self._count(position, -1)

    def _count(self, position: OpenPosition, way: int) -> None:
        leg, first = (self.long, 0) if position.sign > 0 else (self.short, 2)
        leg.add(position, self._value_per_lot, self._cost_per_lot, way)
        if position.swap_ccy:
            self._swap += way * int(position.swap_ccy * _FIX)
            self.swap_ccy = self._swap / _FIX
        low, high = (position.sl, position.tp) if position.sign > 0 else (position.tp, position.sl)
        if low > 0.0:
            self._level(first, low, -position.ticket, way)
        if high > 0.0:
            self._level(first + 1, high, -position.ticket, way)

    def place(self, order: PendingOrder) -> None:
        """Take an order onto the book."""
        self.orders[order.ticket] = order
        self._wait(order, 1)

    def withdraw(self, order: PendingOrder) -> None:
        """Take an order off the book, before it is changed or gone."""
        del self.orders[order.ticket]
        self._wait(order, -1)

    def _wait(self, order: PendingOrder, way: int) -> None:
        if order.working:
            (self.working.add if way > 0 else self.working.discard)(order.ticket)
            self._dirty = True
        else:
            self._level(_LINE_OF[order.type], order.price, order.ticket, way)
        if order.expires_ns:
            entry = (order.expires_ns, order.ticket)
            if way > 0:
                insort(self.expiries, entry)
            else:
                del self.expiries[bisect_left(self.expiries, entry)]
        if order.margin_per_lot_ccy:
            self._pending_margin += way * int(order.volume_lots * order.margin_per_lot_ccy * _FIX)
            self.pending_margin_ccy = self._pending_margin / _FIX

    def _level(self, line: int, price: float, mark: int, way: int) -> None:
        levels = self._levels[line]
        if way > 0:
            insort(levels, (price, mark))
        else:
            del levels[bisect_left(levels, (price, mark))]
        self._dirty = True

    def lines(self) -> Floats:
        """Return the nearest levels, see ``kernel.scan``: a little wide, so that whatever is reached stops the walk."""
        if self._dirty:
            wide = 2.0 * self._touch
            for line, levels in enumerate(self._levels):
                falls = line in (_FALLS_BID, _FALLS_ASK)
                nearest = (levels[-1] if falls else levels[0])[0] if levels else _NO_LEVEL[line]
                self._lines[line] = nearest + wide if falls else nearest - wide
            if self.working:
                # Volume comes with every quote.
                self._lines[_FALLS_BID] = np.inf
            self._dirty = False
        return self._lines

    def reached(self, bid: float, ask: float) -> tuple[list[int], list[int]]:
        """Return the tickets of positions and of orders for which these prices may mean something, rising."""
        positions, orders = set(), set(self.working)
        wide = 3.0 * self._touch
        for line, levels in enumerate(self._levels):
            if not levels:
                continue
            price = bid if line in (_FALLS_BID, _RISES_BID) else ask
            if line in (_FALLS_BID, _FALLS_ASK):
                hit = levels[bisect_left(levels, (price - wide,)):]
            else:
                hit = levels[:bisect_left(levels, (price + wide,))]
            for _, mark in hit:
                if mark < 0:
                    positions.add(-mark)
                else:
                    orders.add(mark)
        return sorted(positions), sorted(orders)

    def mixed(self) -> float:
        """Return the most by which gains and losses inside the legs can cancel, profit currency."""
        return self._mixed_of(self.long, 1) + self._mixed_of(self.short, -1)

    def _mixed_of(self, leg: Leg, sign: int) -> float:
        if leg.count < 2 or leg.units == 0.0:
            return 0.0
        average = leg.cost / leg.units
        # Reached when the price is at the leg's average.
        return 0.5 * sum(
            p.volume_lots * self._value_per_lot * abs(p.price_open - average)
            for _, p in sorted(self.positions.items()) if p.sign == sign
        )


def stop_reached(instrument: Instrument, position: OpenPosition, quote: Quote) -> int | None:
    """Return the reason (``DEAL_REASON_SL`` or ``_TP``) for which the position closes at this quote, if any."""
    touch = instrument.point * TOUCH_POINTS
    price = quote.bid if position.sign > 0 else quote.ask
    if position.sl > 0.0 and position.sign * (price - position.sl) <= touch:
        return mt5.DEAL_REASON_SL
    if position.tp > 0.0 and position.sign * (position.tp - price) <= touch:
        return mt5.DEAL_REASON_TP
    return None


def price_reached(instrument: Instrument, order: PendingOrder, quote: Quote) -> bool:
    """Tell whether the order's price has come."""
    touch = instrument.point * TOUCH_POINTS
    line = _LINE_OF[order.type]
    price = quote.ask if line in (_FALLS_ASK, _RISES_ASK) else quote.bid
    falls = line in (_FALLS_BID, _FALLS_ASK)
    return price <= order.price + touch if falls else price >= order.price - touch
