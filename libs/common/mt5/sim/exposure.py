"""What a symbol's open positions and pending orders add up to, in the form the compiled walk wants."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from libs.common.messages.base import Floats
from libs.common.mt5 import constants as mt5
from libs.common.mt5.sim.state import OpenPosition, PendingOrder, Quote
from libs.common.trading.instrument import Instrument

TOUCH_POINTS = 1e-3
"""A quote this close to a level, in points, has reached it: prices off the grid by a rounding error still count."""


class Exposure(NamedTuple):
    """Sums over one symbol's positions and the nearest levels on each side.

    Parameters
    ----------
    lines : (4,) see ``kernel.scan``
    long_units, short_units : sum of volume * contract
    long_cost, short_cost : sum of volume * contract * price_open, profit currency
    mixed : the most by which gains and losses inside the legs can cancel, profit currency
    margin_ccy : the larger leg's margin, account currency
    swap_ccy : accrued, account currency
    held : open positions
    """

    lines: Floats
    long_units: float
    long_cost: float
    short_units: float
    short_cost: float
    mixed: float
    margin_ccy: float
    swap_ccy: float
    held: int


def exposure_of(
    instrument: Instrument, positions: Iterable[OpenPosition], orders: Iterable[PendingOrder]
) -> Exposure:
    """Sum up a symbol's positions, and find the levels at which the next of them or an order acts."""
    sides: dict[int, list[OpenPosition]] = {1: [], -1: []}
    levels: tuple[list[float], ...] = ([], [], [], [])
    for position in positions:
        sides[position.sign].append(position)
        low, high = (position.sl, position.tp) if position.sign > 0 else (position.tp, position.sl)
        first = 0 if position.sign > 0 else 2
        if low > 0.0:
            levels[first].append(low)
        if high > 0.0:
            levels[first + 1].append(high)
    for order in orders:
        levels[_line_of(order.type)].append(order.price)
    legs = {sign: _leg(instrument, side) for sign, side in sides.items()}
    return Exposure(
        lines=_lines(levels, instrument.point * TOUCH_POINTS),
        long_units=legs[1][0], long_cost=legs[1][1], short_units=legs[-1][0], short_cost=legs[-1][1],
        mixed=legs[1][2] + legs[-1][2],
        margin_ccy=max(sum(p.volume_lots * p.margin_per_lot_ccy for p in side) for side in sides.values()),
        swap_ccy=sum(p.swap_ccy for side in sides.values() for p in side),
        held=sum(len(side) for side in sides.values()),
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
    """Tell whether the pending order's price has come."""
    touch = instrument.point * TOUCH_POINTS
    price = quote.ask if order.type in (mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_BUY_STOP) else quote.bid
    falls = order.type in (mt5.ORDER_TYPE_BUY_LIMIT, mt5.ORDER_TYPE_SELL_STOP)
    return price <= order.price + touch if falls else price >= order.price - touch


def _line_of(order_type: int) -> int:
    return {
        mt5.ORDER_TYPE_SELL_STOP: 0,
        mt5.ORDER_TYPE_SELL_LIMIT: 1,
        mt5.ORDER_TYPE_BUY_LIMIT: 2,
        mt5.ORDER_TYPE_BUY_STOP: 3,
    }[order_type]


def _lines(levels: tuple[list[float], ...], touch: float) -> Floats:
    # A little wide, so that what the exact comparison above would accept always stops the walk.
    wide = 2.0 * touch
    return np.array([
        max(levels[0], default=-np.inf) + wide,
        min(levels[1], default=np.inf) - wide,
        max(levels[2], default=-np.inf) + wide,
        min(levels[3], default=np.inf) - wide,
    ])


def _leg(instrument: Instrument, positions: list[OpenPosition]) -> tuple[float, float, float]:
    """Return units, cost and the most that can cancel inside the leg (reached at the average price)."""
    contract = instrument.config.contract_size
    units = sum(p.volume_lots * contract for p in positions)
    cost = sum(p.volume_lots * contract * p.price_open for p in positions)
    if len(positions) < 2:
        return units, cost, 0.0
    average = cost / units
    mixed = 0.5 * sum(p.volume_lots * contract * abs(p.price_open - average) for p in positions)
    return units, cost, mixed
