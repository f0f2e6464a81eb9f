"""Triple-barrier labels at tick level.

A decision row asks: which comes first after its own tick, the mid price at one of the barriers, or the end of the
horizon? Three legs are followed tick by tick:

- the *class*: barriers ``target`` above and below the mid of the row; the first one touched, or none (flat);
- a *long* trade: bought at the row's ask, sold at the bid when the mid has risen by ``target``, fallen by ``stop``,
  or the horizon has ended;
- a *short* trade: its mirror.

The first tick at or after the deadline ends the horizon: what is open is settled at that tick, and only then the
label is closed. A label that touched a barrier early is not used before its neighbours of the same age are:
otherwise the newest rows of a training set would all be fast movers.

References: Lopez de Prado (2018), Advances in Financial Machine Learning, chapter 3.
"""

import math

import numpy as np

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import kernel, kernel_part
from services.trainer.dataset import DOWN, FLAT, UP

PENDING = -1
"""The class of a label no barrier and no deadline has decided."""

TICK, TIME, DEADLINE, CLASS, CLASS_END, LONG_END, SHORT_END, CLOSED = range(8)
"""Integer columns of an open label; an end of 0 means not yet."""
LABEL_INTS = 8
MID, BID, ASK, UPPER, LOWER, LONG_STOP, SHORT_STOP, COST, GROSS, LONG, SHORT = range(11)
"""Double columns of an open label; the row's features follow."""
LABEL_FLOATS = 11


def open_label(
    tick: int, time_ns: int, bid: float, ask: float, sigma: float, cost_pct: float,
    target_sigma: float, stop_sigma: float, horizon_ns: int,
) -> tuple[Ints, Floats]:
    """Return the columns of a label whose first tick has not been seen.

    Parameters
    ----------
    tick : number of the row's tick; only later ones count
    time_ns : time of that tick, ns UTC
    bid, ask : its quote
    sigma : one standard deviation over the horizon, price units, > 0
    cost_pct : cost of a round trip besides the spread, percent of price

    Returns
    -------
    (LABEL_INTS,) and (LABEL_FLOATS,)
    """
    mid = (bid + ask) / 2.0
    target, stop = target_sigma * sigma, stop_sigma * sigma
    ints = np.array([tick, time_ns, time_ns + horizon_ns, PENDING, 0, 0, 0, 0], dtype=np.int64)
    floats = np.array(
        [mid, bid, ask, mid + target, mid - target, mid - stop, mid + stop, cost_pct, 0.0, 0.0, 0.0], dtype=np.float64
    )
    return ints, floats


def usable_sigma(sigma: float) -> bool:
    """Tell whether barriers can be built from a volatility."""
    return math.isfinite(sigma) and sigma > 0.0


@kernel_part
def _settle(
    ints: Ints, floats: Floats, i: int, time_ns: int, bid: float, ask: float, mid: float, ended: bool
) -> None:
    """Settle the legs of label ``i`` that this tick decides; all of them when the horizon has ended."""
    row = floats[i]
    if ints[i, CLASS_END] == 0:
        touched = FLAT
        if not ended:
            touched = UP if mid >= row[UPPER] else (DOWN if mid <= row[LOWER] else PENDING)
        if touched != PENDING:
            ints[i, CLASS], ints[i, CLASS_END] = touched, time_ns
            row[GROSS] = (mid - row[MID]) / row[MID] * 100.0
    if ints[i, LONG_END] == 0 and (ended or mid >= row[UPPER] or mid <= row[LONG_STOP]):
        ints[i, LONG_END] = time_ns
        row[LONG] = (bid - row[ASK]) / row[MID] * 100.0 - row[COST]
    if ints[i, SHORT_END] == 0 and (ended or mid <= row[LOWER] or mid >= row[SHORT_STOP]):
        ints[i, SHORT_END] = time_ns
        row[SHORT] = (row[BID] - ask) / row[MID] * 100.0 - row[COST]


@kernel_part
def _follow(ints: Ints, floats: Floats, i: int, start: int, time_ns: Ints, quotes: Floats) -> None:
    """Walk label ``i`` over the ticks from ``start`` on."""
    n = len(time_ns)
    deadline = ints[i, DEADLINE]
    t = start
    while t < n and time_ns[t] < deadline:
        if ints[i, CLASS_END] != 0 and ints[i, LONG_END] != 0 and ints[i, SHORT_END] != 0:
            t += np.searchsorted(time_ns[t:], deadline)
            break
        bid, ask = quotes[t, 0], quotes[t, 1]
        _settle(ints, floats, i, time_ns[t], bid, ask, (bid + ask) / 2.0, False)
        t += 1
    if t < n:
        bid, ask = quotes[t, 0], quotes[t, 1]
        _settle(ints, floats, i, time_ns[t], bid, ask, (bid + ask) / 2.0, True)
        ints[i, CLOSED] = time_ns[t]


@kernel("int64(int64[:, ::1], float64[:, ::1], int64, int64[::1], float64[:, ::1])")
def advance(ints: Ints, floats: Floats, first_tick: int, time_ns: Ints, quotes: Floats) -> int:
    """Walk open labels over a block of consecutive ticks, in place.

    Parameters
    ----------
    ints : (m, LABEL_INTS) open labels in order of tick and deadline
    floats : (m, LABEL_FLOATS or more)
    first_tick : number of the block's first tick
    time_ns : (n,) ns UTC, never falling
    quotes : (n, 2) bid and ask

    Returns
    -------
    How many labels, counted from the first, are closed.
    """
    n = len(time_ns)
    high, low = -np.inf, np.inf
    for t in range(n):
        mid = (quotes[t, 0] + quotes[t, 1]) / 2.0
        high, low = max(high, mid), min(low, mid)
    closed = 0
    for i in range(len(ints)):
        start = max(ints[i, TICK] + 1 - first_tick, 0)
        if start >= n:
            break
        # A block that stays between the barriers and ends before the deadline decides nothing.
        inside = (
            high < min(floats[i, UPPER], floats[i, SHORT_STOP]) and low > max(floats[i, LOWER], floats[i, LONG_STOP])
        )
        if ints[i, CLOSED] == 0 and not (inside and time_ns[n - 1] < ints[i, DEADLINE]):
            _follow(ints, floats, i, start, time_ns, quotes)
        closed += ints[i, CLOSED] != 0
    return closed
