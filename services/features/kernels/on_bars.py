"""Feature families that see the closed bars of one timeframe.

Each walks ``n`` bars (``bars`` is (fields, >= n)) with its own state ``f`` (doubles) and ``i`` (integers, ``i[0]``
counts the bars seen) and its parameters ``p``, and writes one value per bar and output into ``out`` (outputs, n);
NaN where its window is not full yet. Windows are summed from the oldest value to the newest, afresh at each bar: no
running sum that drifts. Prices are bid closes unless the mid is named.
"""

import math

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import kernel_part
from services.features.kernels.layout import CLOSE, HIGH, LOW, MID_CLOSE

BASIS_POINTS = 1e4
FLAT = 1e-9
"""A band narrower than this share of the price is flat: no market is that still, only rounding is."""


@kernel_part
def log_return(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Log-return of the mid close over the last ``bars`` bars, basis points."""
    back = int(p[0])
    for b in range(n):
        slot = i[0] % back
        out[0, b] = BASIS_POINTS * math.log(bars[MID_CLOSE, b] / f[slot]) if i[0] >= back else math.nan
        f[slot] = bars[MID_CLOSE, b]
        i[0] += 1


@kernel_part
def moving_average(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Fast and slow average of the close, and their difference, basis points of the close."""
    alpha_fast, alpha_slow = 2.0 / (p[0] + 1.0), 2.0 / (p[1] + 1.0)
    for b in range(n):
        close = bars[CLOSE, b]
        if i[0] == 0:
            f[0], f[1] = close, close
        i[0] += 1
        f[0] += alpha_fast * (close - f[0])
        f[1] += alpha_slow * (close - f[1])
        out[0, b] = BASIS_POINTS * (f[0] - close) / close
        out[1, b] = BASIS_POINTS * (f[1] - close) / close
        out[2, b] = BASIS_POINTS * (f[0] - f[1]) / close


@kernel_part
def rsi(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Relative strength index, 0 to 100; 50 when nothing has moved.

    References: Wilder (1978), New Concepts in Technical Trading Systems.
    """
    period = p[0]
    for b in range(n):
        close = bars[CLOSE, b]
        change = close - f[2] if i[0] > 0 else 0.0
        f[2] = close
        gain, loss = max(change, 0.0), max(-change, 0.0)
        if i[0] <= period:
            # The first averages are plain means of the first ``period`` changes.
            f[0] += gain / period
            f[1] += loss / period
        else:
            f[0] += (gain - f[0]) / period
            f[1] += (loss - f[1]) / period
        total = f[0] + f[1]
        out[0, b] = math.nan
        if i[0] >= period:
            out[0, b] = 100.0 * (f[0] / total) if total > 0.0 else 50.0
        i[0] += 1


@kernel_part
def next_range_average(average: float, seen: int, period: float, high: float, low: float, previous: float) -> float:
    """Return Wilder's average true range after one more bar; ``seen`` bars came before it."""
    if seen == 0:
        return 0.0
    true_range = max(high, previous) - min(low, previous)
    if seen <= period:
        return average + true_range / period
    return average + (true_range - average) / period


@kernel_part
def average_true_range(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Average true range, price units.

    References: Wilder (1978), New Concepts in Technical Trading Systems.
    """
    for b in range(n):
        f[0] = next_range_average(f[0], i[0], p[0], bars[HIGH, b], bars[LOW, b], f[1])
        f[1] = bars[CLOSE, b]
        out[0, b] = f[0] if i[0] >= p[0] else math.nan
        i[0] += 1


@kernel_part
def mean_square(ring: Floats, oldest: int) -> float:
    """Return the mean of the squares of a full ring, summed from its oldest value on."""
    total = 0.0
    slot = oldest
    for _ in range(len(ring)):
        total += ring[slot] * ring[slot]
        slot = slot + 1 if slot + 1 < len(ring) else 0
    return total / len(ring)


@kernel_part
def realised_volatility(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Root mean square of the last ``window`` one-bar log-returns of the mid close, basis points per bar."""
    window = int(p[0])
    ring = f[1:]
    for b in range(n):
        close = bars[MID_CLOSE, b]
        if i[0] > 0:
            ring[(i[0] - 1) % window] = BASIS_POINTS * math.log(close / f[0])
        f[0] = close
        out[0, b] = math.sqrt(mean_square(ring, i[0] % window)) if i[0] >= window else math.nan
        i[0] += 1


@kernel_part
def price_sigma(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """One standard deviation of the mid over the next ``horizon`` bars, price units, for a walk without drift.

    The root of ``horizon`` times the mean square of the last ``window`` one-bar changes.
    """
    window = int(p[0])
    ring = f[1:]
    for b in range(n):
        close = bars[MID_CLOSE, b]
        if i[0] > 0:
            ring[(i[0] - 1) % window] = close - f[0]
        f[0] = close
        out[0, b] = math.sqrt(p[1] * mean_square(ring, i[0] % window)) if i[0] >= window else math.nan
        i[0] += 1


@kernel_part
def macd(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Fast minus slow average of the close, its own average, and their difference, basis points of the close.

    References: Appel (1979), The Moving Average Convergence-Divergence Method.
    """
    alpha_fast, alpha_slow, alpha_signal = 2.0 / (p[0] + 1.0), 2.0 / (p[1] + 1.0), 2.0 / (p[2] + 1.0)
    for b in range(n):
        close = bars[CLOSE, b]
        if i[0] == 0:
            f[0], f[1] = close, close
        i[0] += 1
        f[0] += alpha_fast * (close - f[0])
        f[1] += alpha_slow * (close - f[1])
        line = f[0] - f[1]
        f[2] += alpha_signal * (line - f[2])
        out[0, b] = BASIS_POINTS * line / close
        out[1, b] = BASIS_POINTS * f[2] / close
        out[2, b] = BASIS_POINTS * (line - f[2]) / close


@kernel_part
def moments_around(ring: Floats, oldest: int, origin: float) -> tuple[float, float]:
    """Return the mean of a full ring minus ``origin``, and the ring's standard deviation, from its oldest value on.

    Equal values give a deviation of exactly zero when the origin is one of them.
    """
    n = len(ring)
    mean = 0.0
    slot = oldest
    for _ in range(n):
        mean += ring[slot] - origin
        slot = slot + 1 if slot + 1 < n else 0
    mean /= n
    variance = 0.0
    for _ in range(n):
        distance = ring[slot] - origin - mean
        variance += distance * distance
        slot = slot + 1 if slot + 1 < n else 0
    return mean, math.sqrt(variance / n)


@kernel_part
def bollinger(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Place of the close within its band: 0 at the mean, +1 and -1 at ``width`` deviations; 0 when flat.

    References: Bollinger (2001), Bollinger on Bollinger Bands (population deviation).
    """
    period = int(p[0])
    for b in range(n):
        close = bars[CLOSE, b]
        f[i[0] % period] = close
        i[0] += 1
        out[0, b] = math.nan
        if i[0] < period:
            continue
        mean, deviation = moments_around(f, i[0] % period, close)
        out[0, b] = -mean / (p[1] * deviation) if deviation > FLAT * close else 0.0


@kernel_part
def donchian(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Place of the close between the lowest low (-1) and the highest high (+1) of ``period`` bars; 0 when flat.

    References: the channel of Richard Donchian's four-week rule.
    """
    period = int(p[0])
    highs, lows = f[:period], f[period:]
    for b in range(n):
        highs[i[0] % period] = bars[HIGH, b]
        lows[i[0] % period] = bars[LOW, b]
        i[0] += 1
        out[0, b] = math.nan
        if i[0] < period:
            continue
        top, bottom = highs[0], lows[0]
        for j in range(1, period):
            top, bottom = max(top, highs[j]), min(bottom, lows[j])
        out[0, b] = 2.0 * (bars[CLOSE, b] - bottom) / (top - bottom) - 1.0 if top - bottom > FLAT * top else 0.0


@kernel_part
def keltner(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Place of the close within its channel: 0 at the average, +1 at ``width`` true ranges above; 0 when flat."""
    alpha = 2.0 / (p[0] + 1.0)
    for b in range(n):
        close = bars[CLOSE, b]
        if i[0] == 0:
            f[0] = close
        f[0] += alpha * (close - f[0])
        f[1] = next_range_average(f[1], i[0], p[1], bars[HIGH, b], bars[LOW, b], f[2])
        f[2] = close
        half_width = p[2] * f[1]
        out[0, b] = math.nan
        if i[0] >= p[1]:
            out[0, b] = (close - f[0]) / half_width if half_width > FLAT * close else 0.0
        i[0] += 1
