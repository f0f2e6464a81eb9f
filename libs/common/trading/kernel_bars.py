"""Bid bars anchored to UTC: the smallest timeframe from ticks, every larger one from the smallest.

A bar closes at the first tick at or after its end, and only bars whose beginning was seen are passed on: the bar a
symbol's first tick falls into is dropped in every timeframe.

The end of a bar is the caller's: ``length_ns`` divides the times it is given, so times on another clock (a broker's,
or one on which every month is equally long) give bars of that clock.
"""

from libs.common.messages.base import Floats, Ints
from libs.common.trading import kernel_sessions as sessions
from libs.common.trading.compiled import kernel_part

# A bar in the making: four integers and six doubles.
OPEN_NS, END_NS, TICKS, CLOSED, BAR_INTS = 0, 1, 2, 3, 4
# A closed bar uses OPEN_NS and TICKS, and this in the place of END_NS: the offset of the tick that made it visible.
VISIBLE_AT = 1
OPEN, HIGH, LOW, CLOSE, MID_CLOSE, SPREAD_SUM, BAR_FLOATS = 0, 1, 2, 3, 4, 5, 6
# What larger bars are counted from: midnight UTC, or the broker's midnight (17:00 in New York).
ANCHOR_UTC, ANCHOR_NEW_YORK = 0, 1
INTO_THE_NEXT_DAY_NS = 30 * 3_600_000_000_000
"""A broker's day has 23, 24 or 25 hours: so long after its midnight the next day has begun and has not ended."""


@kernel_part
def begin_of_bar(anchor: int, length_ns: int, ts_ns: int) -> int:
    """Return when the bar that holds an instant began, ns UTC."""
    if anchor != ANCHOR_NEW_YORK:
        return ts_ns // length_ns * length_ns
    midnight = sessions.server_midnight_ns(ts_ns)
    return midnight + (ts_ns - midnight) // length_ns * length_ns


@kernel_part
def end_of_bar(anchor: int, length_ns: int, open_ns: int) -> int:
    """Return when the bar that began at ``open_ns`` ends: with the broker's day at the latest."""
    if anchor != ANCHOR_NEW_YORK:
        return open_ns + length_ns
    midnight = sessions.server_midnight_ns(open_ns)
    return min(open_ns + length_ns, sessions.server_midnight_ns(midnight + INTO_THE_NEXT_DAY_NS))


@kernel_part
def build_base_bars(
    ints: Ints, floats: Floats, length_ns: int, first_ns: int, time_ns: Ints, bid: Floats, ask: Floats,
    closed_f: Floats, closed_i: Ints,
) -> int:
    """Walk ticks and write the bars they close.

    Parameters
    ----------
    ints, floats : the bar in the making, changed in place
    length_ns : length of a bar
    first_ns : time of the symbol's first tick
    time_ns, bid, ask : (n,) the ticks
    closed_f, closed_i : (fields, >= n) receive the closed bars

    Returns
    -------
    Number of closed bars.
    """
    n_closed = 0
    end_ns = ints[END_NS]
    ticks = ints[TICKS]
    high, low, spread_sum = floats[HIGH], floats[LOW], floats[SPREAD_SUM]
    for k in range(len(time_ns)):
        price = bid[k]
        if ticks == 0 or time_ns[k] >= end_ns:
            if ticks > 0 and ints[OPEN_NS] > first_ns:
                closed_f[OPEN, n_closed] = floats[OPEN]
                closed_f[HIGH, n_closed] = high
                closed_f[LOW, n_closed] = low
                closed_f[CLOSE, n_closed] = bid[k - 1] if k > 0 else floats[CLOSE]
                closed_f[MID_CLOSE, n_closed] = 0.5 * (bid[k - 1] + ask[k - 1]) if k > 0 else floats[MID_CLOSE]
                closed_f[SPREAD_SUM, n_closed] = spread_sum
                closed_i[OPEN_NS, n_closed] = ints[OPEN_NS]
                closed_i[VISIBLE_AT, n_closed] = k
                closed_i[TICKS, n_closed] = ticks
                n_closed += 1
            ints[OPEN_NS] = time_ns[k] // length_ns * length_ns
            end_ns = ints[OPEN_NS] + length_ns
            floats[OPEN] = high = low = price
            spread_sum = 0.0
            ticks = 0
        high = max(high, price)
        low = min(low, price)
        spread_sum += ask[k] - price
        ticks += 1
    last = len(time_ns) - 1
    floats[HIGH], floats[LOW], floats[SPREAD_SUM] = high, low, spread_sum
    floats[CLOSE], floats[MID_CLOSE] = bid[last], 0.5 * (bid[last] + ask[last])
    ints[END_NS], ints[TICKS] = end_ns, ticks
    ints[CLOSED] += n_closed
    return n_closed


@kernel_part
def build_higher_bars(
    ints: Ints, floats: Floats, length_ns: int, first_ns: int, time_ns: Ints, base_f: Floats, base_i: Ints,
    n_base: int, closed_f: Floats, closed_i: Ints, anchor: int = ANCHOR_UTC,
) -> int:
    """Walk closed bars of the smallest timeframe and write the larger bars they complete.

    Parameters
    ----------
    ints, floats : the larger bar in the making, changed in place
    length_ns : its length, a multiple of the smallest timeframe
    first_ns : time of the symbol's first tick
    time_ns : (n,) the ticks the bars were built from
    base_f, base_i, n_base : the closed bars of the smallest timeframe
    closed_f, closed_i : (fields, >= n) receive the closed larger bars
    anchor : what the larger bars are counted from

    Returns
    -------
    Number of closed larger bars.
    """
    n_closed = 0
    for b in range(n_base):
        if ints[TICKS] == 0:
            ints[OPEN_NS] = begin_of_bar(anchor, length_ns, base_i[OPEN_NS, b])
            ints[END_NS] = end_of_bar(anchor, length_ns, ints[OPEN_NS])
            floats[OPEN], floats[HIGH], floats[LOW] = base_f[OPEN, b], base_f[HIGH, b], base_f[LOW, b]
            floats[SPREAD_SUM] = 0.0
        floats[HIGH] = max(floats[HIGH], base_f[HIGH, b])
        floats[LOW] = min(floats[LOW], base_f[LOW, b])
        floats[CLOSE], floats[MID_CLOSE] = base_f[CLOSE, b], base_f[MID_CLOSE, b]
        floats[SPREAD_SUM] += base_f[SPREAD_SUM, b]
        ints[TICKS] += base_i[TICKS, b]
        at = base_i[VISIBLE_AT, b]
        if time_ns[at] < ints[END_NS]:
            continue
        if ints[OPEN_NS] > first_ns:
            for field in range(SPREAD_SUM + 1):
                closed_f[field, n_closed] = floats[field]
            closed_i[OPEN_NS, n_closed] = ints[OPEN_NS]
            closed_i[VISIBLE_AT, n_closed] = at
            closed_i[TICKS, n_closed] = ints[TICKS]
            n_closed += 1
        ints[TICKS] = 0
    ints[CLOSED] += n_closed
    return n_closed
