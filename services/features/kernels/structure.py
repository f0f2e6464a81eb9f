"""Structure of the market in bars: shapes, gaps, swings, levels, ranges of sessions and days.

The conventions are those of ``on_bars``; distances are basis points of the close.
"""

import math

from libs.common.messages.base import Floats, Ints
from libs.common.trading import kernel_sessions as sessions
from libs.common.trading.compiled import kernel_part
from services.features.kernels.averages import tell_nothing
from services.features.kernels.layout import CLOSE, HIGH, LOW, OPEN, OPEN_S

BASIS_POINTS = 1e4
FLAT = 1e-9
NS_PER_S = 1_000_000_000


@kernel_part
def bar_shape(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Signed body, upper and lower shadow as shares of the bar's range; 0 when the bar is flat."""
    for b in range(n):
        opened, high, low, close = bars[OPEN, b], bars[HIGH, b], bars[LOW, b], bars[CLOSE, b]
        width = high - low
        flat = width <= FLAT * high
        out[0, b] = 0.0 if flat else (close - opened) / width
        out[1, b] = 0.0 if flat else (high - max(opened, close)) / width
        out[2, b] = 0.0 if flat else (min(opened, close) - low) / width
        i[0] += 1


@kernel_part
def bar_relation(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """The bar against the one before: inside it, outside it, gap of the open, and whether no price was common."""
    for b in range(n):
        high, low, close = bars[HIGH, b], bars[LOW, b], bars[CLOSE, b]
        tell_nothing(4, b, out)
        if i[0] > 0:
            wider, narrower = high >= f[0] and low <= f[1], high <= f[0] and low >= f[1]
            out[0, b] = 1.0 if narrower and not wider else 0.0
            out[1, b] = 1.0 if wider and not narrower else 0.0
            out[2, b] = BASIS_POINTS * (bars[OPEN, b] - f[2]) / f[2]
            out[3, b] = 1.0 if low > f[0] else (-1.0 if high < f[1] else 0.0)
        f[0], f[1], f[2] = high, low, close
        i[0] += 1


@kernel_part
def is_peak(ring: Floats, oldest: int, middle: int, sign: float) -> bool:
    """Tell whether the middle of a full ring lies above all before it and at least level with all after it."""
    n = len(ring)
    value = sign * ring[(oldest + middle) % n]
    for j in range(n):
        other = sign * ring[(oldest + j) % n]
        if other > value or (j < middle and other == value):
            return False
    return True


@kernel_part
def next_swings(f: Floats, i: Ints, strength: int, bars: Floats, b: int) -> tuple[float, float]:
    """Take in a bar; return the swing high and the swing low it confirms, NaN for none."""
    size = 2 * strength + 1
    highs, lows = f[:size], f[size:2 * size]
    highs[i[0] % size], lows[i[0] % size] = bars[HIGH, b], bars[LOW, b]
    i[0] += 1
    high, low = math.nan, math.nan
    if i[0] >= size:
        oldest = i[0] % size
        if is_peak(highs, oldest, strength, 1.0):
            high = highs[(oldest + strength) % size]
        if is_peak(lows, oldest, strength, -1.0):
            low = lows[(oldest + strength) % size]
    return high, low


@kernel_part
def swing(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Last confirmed swing high and low (``strength`` bars on each side), break of structure, and its direction.

    A break is the first close beyond the last swing; nothing is said before the first.
    """
    strength = int(p[0])
    base = 2 * (2 * strength + 1)
    # f: the ring of highs and lows, last swing high and low; i: bars, broken upwards, downwards, direction, swings.
    for b in range(n):
        high, low = next_swings(f, i, strength, bars, b)
        close = bars[CLOSE, b]
        if not math.isnan(high):
            f[base], i[1], i[4] = high, 0, i[4] | 1
        if not math.isnan(low):
            f[base + 1], i[2], i[4] = low, 0, i[4] | 2
        broke = 0
        if i[4] & 1 and i[1] == 0 and close > f[base]:
            broke, i[1], i[3] = 1, 1, 1
        elif i[4] & 2 and i[2] == 0 and close < f[base + 1]:
            broke, i[2], i[3] = -1, 1, -1
        tell_nothing(4, b, out)
        if i[4] == 3 and i[3] != 0:
            out[0, b] = BASIS_POINTS * (f[base] - close) / close
            out[1, b] = BASIS_POINTS * (f[base + 1] - close) / close
            out[2, b], out[3, b] = broke, i[3]


@kernel_part
def levels(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Distance to the nearest resistance above and support below among the last ``levels`` swings of each kind.

    A swing price may be resistance or support, whichever side of it the close is; ``farthest`` where there is none.
    """
    strength, kept, farthest = int(p[0]), int(p[1]), p[2]
    base = 2 * (2 * strength + 1)
    for b in range(n):
        high, low = next_swings(f, i, strength, bars, b)
        close = bars[CLOSE, b]
        if not math.isnan(high):
            f[base + i[1] % kept] = high
            i[1] += 1
        if not math.isnan(low):
            f[base + kept + i[2] % kept] = low
            i[2] += 1
        tell_nothing(2, b, out)
        if i[1] < kept or i[2] < kept:
            continue
        above, below = farthest, farthest
        for j in range(2 * kept):
            distance = BASIS_POINTS * (f[base + j] - close) / close
            if distance >= 0.0:
                above = min(above, distance)
            if distance <= 0.0:
                below = min(below, -distance)
        out[0, b], out[1, b] = above, below


@kernel_part
def is_open(session: int, ts_ns: int) -> bool:
    """Tell whether a session trades: 0 Sydney, 1 Tokyo, 2 London, 3 New York."""
    if session == 0:
        return sessions.in_sydney(ts_ns)
    if session == 1:
        return sessions.in_tokyo(ts_ns)
    if session == 2:
        return sessions.in_london(ts_ns)
    return sessions.in_new_york(ts_ns)


@kernel_part
def session_range(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Range of a session: place of the close in it (-1 low, +1 high), its width, and whether price has left it.

    While the session runs it is the range so far, afterwards the last whole one; a bar belongs to it if it opens
    in it.
    """
    session = int(p[0])
    # i: bars, inside a session, its beginning was seen.
    for b in range(n):
        inside = is_open(session, int(bars[OPEN_S, b]) * NS_PER_S)
        close = bars[CLOSE, b]
        if inside and i[1] == 0:
            f[0], f[1] = bars[HIGH, b], bars[LOW, b]
            i[2] = i[2] | (1 if i[0] > 0 else 0)
        elif inside:
            f[0], f[1] = max(f[0], bars[HIGH, b]), min(f[1], bars[LOW, b])
        i[0] += 1
        i[1] = 1 if inside else 0
        tell_nothing(3, b, out)
        if i[2] == 0:
            continue
        width = f[0] - f[1]
        out[0, b] = 2.0 * (close - f[1]) / width - 1.0 if width > FLAT * close else 0.0
        out[1, b] = BASIS_POINTS * width / close
        out[2, b] = 1.0 if close > f[0] else (-1.0 if close < f[1] else 0.0)


@kernel_part
def day_range(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Distance to the high, the low and the pivot (mean of high, low and close) of the broker's day before.

    The day changes at 17:00 in New York; a bar belongs to the day it opens in.
    """
    # f: high, low, close of today, then of yesterday; i: bars, day, whole days seen.
    for b in range(n):
        day = sessions.server_day(int(bars[OPEN_S, b]) * NS_PER_S)
        close = bars[CLOSE, b]
        if i[0] > 0 and day != i[1]:
            f[3], f[4], f[5] = f[0], f[1], f[2]
            i[2] += 1
        if i[0] == 0 or day != i[1]:
            f[0], f[1] = bars[HIGH, b], bars[LOW, b]
        f[0], f[1], f[2] = max(f[0], bars[HIGH, b]), min(f[1], bars[LOW, b]), close
        i[0] += 1
        i[1] = day
        tell_nothing(3, b, out)
        if i[2] > 1:
            out[0, b] = BASIS_POINTS * (f[3] - close) / close
            out[1, b] = BASIS_POINTS * (f[4] - close) / close
            out[2, b] = BASIS_POINTS * ((f[3] + f[4] + f[5]) / 3.0 - close) / close
