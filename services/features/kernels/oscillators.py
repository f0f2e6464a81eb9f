"""Momentum and direction of bars. The conventions are those of ``on_bars``."""

import math

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import kernel_part
from services.features.kernels.averages import tell_nothing
from services.features.kernels.layout import CLOSE, HIGH, LOW, MID_CLOSE

BASIS_POINTS = 1e4
FLAT = 1e-9
"""A range narrower than this share of the price is flat."""
SHORTEST_STRETCH = 8


@kernel_part
def top_of(ring: Floats, n: int) -> float:
    """Return the largest of the first ``n`` values."""
    top = float(ring[0])
    for j in range(1, n):
        top = max(top, ring[j])
    return top


@kernel_part
def bottom_of(ring: Floats, n: int) -> float:
    """Return the smallest of the first ``n`` values."""
    bottom = float(ring[0])
    for j in range(1, n):
        bottom = min(bottom, ring[j])
    return bottom


@kernel_part
def mean_of(ring: Floats, n: int, oldest: int) -> float:
    """Return the mean of the first ``n`` values, summed from the oldest on."""
    total = 0.0
    for j in range(n):
        total += ring[(oldest + j) % n]
    return total / n


@kernel_part
def stochastic(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Place of the close between the lowest low and highest high, smoothed twice by simple means; 50 when flat.

    References: Lane (1984), Lane's Stochastics.
    """
    period, slowing, smooth = int(p[0]), int(p[1]), int(p[2])
    highs, lows = f[:period], f[period:2 * period]
    raw, slow = f[2 * period:2 * period + slowing], f[2 * period + slowing:]
    for b in range(n):
        seen = i[0]
        highs[seen % period], lows[seen % period] = bars[HIGH, b], bars[LOW, b]
        i[0] = seen + 1
        tell_nothing(3, b, out)
        if seen + 1 < period:
            continue
        top, bottom = top_of(highs, period), bottom_of(lows, period)
        k = seen + 1 - period
        raw[k % slowing] = 100.0 * (bars[CLOSE, b] - bottom) / (top - bottom) if top - bottom > FLAT * top else 50.0
        if k + 1 < slowing:
            continue
        d = k + 1 - slowing
        slow[d % smooth] = mean_of(raw, slowing, k + 1)
        if d + 1 < smooth:
            continue
        signal = mean_of(slow, smooth, d + 1)
        out[0, b], out[1, b], out[2, b] = slow[d % smooth], signal, slow[d % smooth] - signal


@kernel_part
def williams_r(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Williams' %R: distance of the close below the highest high, -100 (at the low) to 0; -50 when flat.

    References: Williams (1979), How I Made One Million Dollars.
    """
    period = int(p[0])
    highs, lows = f[:period], f[period:]
    for b in range(n):
        highs[i[0] % period], lows[i[0] % period] = bars[HIGH, b], bars[LOW, b]
        i[0] += 1
        out[0, b] = math.nan
        if i[0] < period:
            continue
        top, bottom = top_of(highs, period), bottom_of(lows, period)
        out[0, b] = -100.0 * (top - bars[CLOSE, b]) / (top - bottom) if top - bottom > FLAT * top else -50.0


@kernel_part
def next_sum(total: float, seen: int, period: float, value: float) -> float:
    """Return Wilder's running sum after one more value; ``seen`` values came before it."""
    return total + value if seen < period - 1.0 else total - total / period + value


@kernel_part
def directional(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Directional movement: +DI, -DI and their averaged relative difference ADX, each 0 to 100; 0 when flat.

    References: Wilder (1978), New Concepts in Technical Trading Systems.
    """
    period = p[0]
    # f: high, low, close of the bar before; sums of true range, upward, downward movement; ADX or the sum towards it.
    for b in range(n):
        high, low = bars[HIGH, b], bars[LOW, b]
        seen = i[0] - 1
        tell_nothing(4, b, out)
        if i[0] > 0:
            up, down = high - f[0], f[1] - low
            f[3] = next_sum(f[3], seen, period, max(high, f[2]) - min(low, f[2]))
            f[4] = next_sum(f[4], seen, period, up if up > 0.0 and up > down else 0.0)
            f[5] = next_sum(f[5], seen, period, down if down > 0.0 and down > up else 0.0)
        f[0], f[1], f[2] = high, low, bars[CLOSE, b]
        i[0] += 1
        if seen < period - 1:
            continue
        still = f[3] <= FLAT * high
        plus, minus = (0.0 if still else 100.0 * f[4] / f[3]), (0.0 if still else 100.0 * f[5] / f[3])
        if plus + minus > 0.0:
            difference = 100.0 * abs(plus - minus) / (plus + minus)
            f[6] += difference / period if i[1] < period else (difference - f[6]) / period
        i[1] += 1
        out[0, b], out[1, b], out[3, b] = plus, minus, plus - minus
        if i[1] >= period:
            out[2, b] = f[6]


@kernel_part
def cci(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Commodity channel index: distance of the typical price from its mean, in 0.015 mean deviations; 0 when flat.

    References: Lambert (1980), Commodity Channel Index.
    """
    period = int(p[0])
    for b in range(n):
        typical = (bars[HIGH, b] + bars[LOW, b] + bars[CLOSE, b]) / 3.0
        f[i[0] % period] = typical
        i[0] += 1
        out[0, b] = math.nan
        if i[0] < period:
            continue
        mean = mean_of(f, period, i[0])
        deviation = 0.0
        for j in range(period):
            deviation += abs(f[(i[0] + j) % period] - mean)
        deviation /= period
        out[0, b] = (typical - mean) / (0.015 * deviation) if deviation > FLAT * typical else 0.0


@kernel_part
def momentum(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Change of the close over ``bars`` bars: percent of the earlier close (rate of change), and price units."""
    back = int(p[0])
    for b in range(n):
        close = bars[CLOSE, b]
        slot = i[0] % back
        tell_nothing(2, b, out)
        if i[0] >= back:
            out[0, b], out[1, b] = 100.0 * (close / f[slot] - 1.0), close - f[slot]
        f[slot] = close
        i[0] += 1


@kernel_part
def aroon(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Aroon: how recent the highest high and the lowest low of the last ``period`` bars are, 100 newest to 0.

    References: Chande (1995), A Time Price Oscillator.
    """
    period = int(p[0])
    size = period + 1
    highs, lows = f[:size], f[size:]
    for b in range(n):
        highs[i[0] % size], lows[i[0] % size] = bars[HIGH, b], bars[LOW, b]
        i[0] += 1
        tell_nothing(3, b, out)
        if i[0] < size:
            continue
        top, bottom, since_top, since_bottom = highs[i[0] % size], lows[i[0] % size], period, period
        for j in range(1, size):
            slot = (i[0] + j) % size
            if highs[slot] >= top:
                top, since_top = highs[slot], period - j
            if lows[slot] <= bottom:
                bottom, since_bottom = lows[slot], period - j
        up, down = 100.0 * (period - since_top) / period, 100.0 * (period - since_bottom) / period
        out[0, b], out[1, b], out[2, b] = up, down, up - down


@kernel_part
def regression(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Straight line through the last ``period`` closes by least squares: slope, fit, distance of the close from it."""
    period = int(p[0])
    middle = 0.5 * (period - 1)
    spread = period * (period * period - 1.0) / 12.0
    for b in range(n):
        close = bars[CLOSE, b]
        f[i[0] % period] = close
        i[0] += 1
        tell_nothing(3, b, out)
        if i[0] < period:
            continue
        mean = 0.0
        for j in range(period):
            mean += f[(i[0] + j) % period] - close
        mean /= period
        along, total = 0.0, 0.0
        for j in range(period):
            distance = f[(i[0] + j) % period] - close - mean
            along += (j - middle) * distance
            total += distance * distance
        slope = along / spread
        out[0, b] = BASIS_POINTS * slope / close
        out[1, b] = min(1.0, slope * along / total) if total > period * (FLAT * close) ** 2 else 0.0
        out[2, b] = BASIS_POINTS * -(mean + slope * middle) / close


@kernel_part
def range_over_deviation(returns: Floats, begin: int, length: int, oldest: int) -> float:
    """Return the rescaled range of a stretch of a ring; 0 when nothing moves in it."""
    n = len(returns)
    mean = 0.0
    for j in range(length):
        mean += returns[(oldest + begin + j) % n]
    mean /= length
    walk, top, bottom, squares = 0.0, 0.0, 0.0, 0.0
    for j in range(length):
        step = returns[(oldest + begin + j) % n] - mean
        walk += step
        squares += step * step
        top, bottom = max(top, walk), min(bottom, walk)
    deviation = math.sqrt(squares / length)
    return (top - bottom) / deviation if deviation > BASIS_POINTS * FLAT else 0.0


@kernel_part
def hurst_exponent(returns: Floats, oldest: int) -> float:
    """Return the slope of log rescaled range against log length over stretches of 8, 16, 32, ...; 0.5 at rest."""
    n = len(returns)
    length = SHORTEST_STRETCH
    count, sum_x, sum_y, sum_xx, sum_xy = 0.0, 0.0, 0.0, 0.0, 0.0
    while length <= n:
        total, parts = 0.0, 0
        for k in range(n // length):
            ratio = range_over_deviation(returns, n - (k + 1) * length, length, oldest)
            if ratio > 0.0:
                total += ratio
                parts += 1
        if parts > 0:
            x, y = math.log(length), math.log(total / parts)
            count += 1.0
            sum_x += x
            sum_y += y
            sum_xx += x * x
            sum_xy += x * y
        length *= 2
    if count < 2.0:
        return 0.5
    return (count * sum_xy - sum_x * sum_y) / (count * sum_xx - sum_x * sum_x)


@kernel_part
def hurst(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Hurst exponent of the last ``window`` log-returns by rescaled range; small windows read high, as R/S does.

    References: Hurst (1951), Long-term storage capacity of reservoirs; Mandelbrot and Wallis (1969).
    """
    window = int(p[0])
    ring = f[1:]
    for b in range(n):
        close = bars[MID_CLOSE, b]
        if i[0] > 0:
            ring[(i[0] - 1) % window] = BASIS_POINTS * math.log(close / f[0])
        f[0] = close
        out[0, b] = hurst_exponent(ring, i[0] % window) if i[0] >= window else math.nan
        i[0] += 1
