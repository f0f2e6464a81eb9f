"""The compiled walk over a tick block to the next tick at which something can happen."""

from numba import types

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import FLOATS_IN, INTS_IN, kernel, kernel_part

# Places in the array of account figures that ``scan`` reads.
FIXED = 0  # balance, swaps and floating profit that this symbol's price does not move
STOP_OUT_LINE = 1  # equity at or below which the tick must be looked at exactly
LONG_UNITS, LONG_COST, SHORT_UNITS, SHORT_COST = 2, 3, 4, 5  # sum of volume * contract, and that times price_open
CONVERSION, GAIN_RATE, LOSS_RATE = 6, 7, 8  # profit currency to account currency: a mode and, for CROSS, two rates
# Floating gains and losses of other symbols, in the currency this symbol's price converts; and the most of them
# that can cancel out inside a leg. Direct: times the price; inverse: divided by it.
DIRECT_GAIN, DIRECT_LOSS, INVERSE_GAIN, INVERSE_LOSS = 9, 10, 11, 12
DIRECT_MIXED, INVERSE_MIXED = 13, 14
FIGURES = 15

ACCOUNT, OWN, CROSS = 0.0, 1.0, 2.0
"""Profit is in account currency; converted with the symbol's own closing price; with another symbol's price."""


@kernel_part
def leg_profit(units: float, cost: float, price: float, figures: Floats | list[float]) -> float:
    """Return the profit of one side's positions in account currency.

    Parameters
    ----------
    units, cost : signed sums over the side's positions of volume * contract and of that times price_open
    price : at which they close
    """
    amount = units * price - cost
    if figures[CONVERSION] == ACCOUNT:
        return amount
    if figures[CONVERSION] == OWN:
        return amount / price
    rate: float = figures[GAIN_RATE] if amount >= 0.0 else figures[LOSS_RATE]
    return amount * rate


@kernel_part
def equity_at(figures: Floats | list[float], bid: float, ask: float) -> float:
    """Return the account's equity at a quote of the symbol, not rounded to cents."""
    equity: float = figures[FIXED]
    equity += leg_profit(figures[LONG_UNITS], figures[LONG_COST], bid, figures)
    equity += leg_profit(-figures[SHORT_UNITS], -figures[SHORT_COST], ask, figures)
    equity += figures[DIRECT_GAIN] * bid + figures[DIRECT_LOSS] * ask
    equity += figures[INVERSE_GAIN] / ask + figures[INVERSE_LOSS] / bid
    return equity


@kernel(types.int64(
    INTS_IN, FLOATS_IN, FLOATS_IN, types.int64, types.int64, FLOATS_IN, types.boolean, FLOATS_IN, types.float64[::1],
    FLOATS_IN, FLOATS_IN,
))
def scan(
    time_ns: Ints, bid: Floats, ask: Floats, start: int, stop_ns: int, lines: Floats, watch_equity: bool,
    figures: Floats, marks: Floats, low_side: Floats, high_side: Floats,
) -> int:
    """Find the next tick at which something can happen.

    Parameters
    ----------
    time_ns, bid, ask : (n,) columns of the block, ns UTC and prices
    start : first tick to look at
    stop_ns : a tick at or after this time stops the walk
    lines : (4,) a low side at or below [0] or at or above [1], a high side at or below [2] or at or above [3] stops it
    watch_equity : whether this symbol's price moves the account at all
    figures : (FIGURES,) the account, see above
    marks : (2,) highest and lowest equity so far, account currency; moved by the ticks before the one found
    low_side, high_side : (n,) prices that orders and stops wait for: bid and ask, or twice the last trade's price

    Returns
    -------
    Offset of that tick; n for none.
    """
    n = len(time_ns)
    bid_low, bid_high, ask_low, ask_high = lines[0], lines[1], lines[2], lines[3]
    for k in range(start, n):
        low, high = low_side[k], high_side[k]
        if time_ns[k] >= stop_ns or low <= bid_low or low >= bid_high or high <= ask_low or high >= ask_high:
            return k
        if watch_equity:
            b, a = bid[k], ask[k]
            equity = equity_at(figures, b, a)
            doubt = figures[DIRECT_MIXED] * (a - b) + figures[INVERSE_MIXED] * (1.0 / b - 1.0 / a)
            if equity - doubt <= figures[STOP_OUT_LINE]:
                return k
            marks[0] = max(marks[0], equity)
            marks[1] = min(marks[1], equity - doubt)
    return n
