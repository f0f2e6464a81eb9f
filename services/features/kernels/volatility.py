"""How much bars move. The conventions are those of ``on_bars``; volatilities are basis points per bar."""

import math

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import kernel_part
from services.features.kernels.averages import tell_nothing
from services.features.kernels.layout import CLOSE, HIGH, LOW, MID_CLOSE, OPEN
from services.features.kernels.on_bars import mean_square, moments_around

BASIS_POINTS = 1e4
FLAT = 1e-9
"""A band narrower than this share of the price is flat."""
STILL = 1e-4
"""A volatility below so many basis points is rounding."""
MEAN_FOUR_THIRDS = 0.8308609250295592
"""E|z|^(4/3) of a standard normal z: 2^(2/3) gamma(7/6) / gamma(1/2)."""


@kernel_part
def next_return(f: Floats, i: Ints, close: float) -> float:
    """Return the log-return since the close in ``f[0]``, basis points, and remember this one; 0 at the first bar."""
    change = BASIS_POINTS * math.log(close / f[0]) if i[0] > 0 else 0.0
    f[0] = close
    i[0] += 1
    return change


@kernel_part
def bollinger_bands(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Bollinger's %b (0 at the lower band, 1 at the upper, 0.5 when flat) and the band's width.

    References: Bollinger (2001), Bollinger on Bollinger Bands (population deviation).
    """
    period = int(p[0])
    for b in range(n):
        close = bars[CLOSE, b]
        f[i[0] % period] = close
        i[0] += 1
        tell_nothing(2, b, out)
        if i[0] < period:
            continue
        mean, deviation = moments_around(f, i[0] % period, close)
        half = p[1] * deviation
        out[0, b] = 0.5 - 0.5 * mean / half if deviation > FLAT * close else 0.5
        out[1, b] = BASIS_POINTS * 2.0 * half / (close + mean)


@kernel_part
def ring_mean(f: Floats, begin: int, window: int, oldest: int) -> float:
    """Return the mean of one of several rings that lie side by side."""
    total = 0.0
    for j in range(window):
        total += f[begin + (oldest + j) % window]
    return total / window


@kernel_part
def ring_variance(f: Floats, begin: int, window: int, oldest: int) -> float:
    """Return the sample variance of one of several rings that lie side by side."""
    mean = ring_mean(f, begin, window, oldest)
    total = 0.0
    for j in range(window):
        distance = f[begin + (oldest + j) % window] - mean
        total += distance * distance
    return total / (window - 1)


@kernel_part
def range_volatility(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Volatility from the whole bar: Parkinson, Garman-Klass, Rogers-Satchell and Yang-Zhang over ``window`` bars.

    References: Parkinson (1980); Garman and Klass (1980); Rogers and Satchell (1991); Yang and Zhang (2000),
    Drift-independent volatility estimation based on high, low, open and close prices.
    """
    w = int(p[0])
    weight = 0.34 / (1.34 + (w + 1.0) / (w - 1.0))
    # f: previous close, then rings of five terms: Parkinson, Garman-Klass, Rogers-Satchell, gap, open to close.
    for b in range(n):
        opened, close = bars[OPEN, b], bars[CLOSE, b]
        up, down = math.log(bars[HIGH, b] / opened), math.log(bars[LOW, b] / opened)
        body = math.log(close / opened)
        tell_nothing(4, b, out)
        if i[0] > 0:
            slot = 1 + (i[0] - 1) % w
            f[slot] = (up - down) ** 2 / (4.0 * math.log(2.0))
            f[slot + w] = max(0.0, 0.5 * (up - down) ** 2 - (2.0 * math.log(2.0) - 1.0) * body * body)
            f[slot + 2 * w] = up * (up - body) + down * (down - body)
            f[slot + 3 * w] = math.log(opened / f[0])
            f[slot + 4 * w] = body
        f[0] = close
        if i[0] >= w:
            oldest = i[0] % w
            satchell = ring_mean(f, 1 + 2 * w, w, oldest)
            gaps, bodies = ring_variance(f, 1 + 3 * w, w, oldest), ring_variance(f, 1 + 4 * w, w, oldest)
            out[0, b] = BASIS_POINTS * math.sqrt(ring_mean(f, 1, w, oldest))
            out[1, b] = BASIS_POINTS * math.sqrt(ring_mean(f, 1 + w, w, oldest))
            out[2, b] = BASIS_POINTS * math.sqrt(max(0.0, satchell))
            out[3, b] = BASIS_POINTS * math.sqrt(max(0.0, gaps + weight * bodies + (1.0 - weight) * satchell))
        i[0] += 1


@kernel_part
def bipower(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Bipower variation, which jumps do not move, the jumps' share of the variance, its statistic, and a flag.

    References: Barndorff-Nielsen and Shephard (2004), Power and bipower variation with stochastic volatility and
    jumps; Huang and Tauchen (2005), The relative contribution of jumps to total price variance (ratio statistic).
    """
    window = int(p[0])
    ring = f[1:]
    for b in range(n):
        slot = (i[0] - 1) % window
        change = next_return(f, i, bars[MID_CLOSE, b])
        if i[0] > 1:
            ring[slot] = change
        tell_nothing(4, b, out)
        if i[0] <= window:
            continue
        oldest = (i[0] - 1) % window
        squares = window * mean_square(ring, oldest)
        pairs, triples = 0.0, 0.0
        one, two = 0.0, 0.0
        for j in range(window):
            size = abs(ring[(oldest + j) % window])
            pairs += size * one
            triples += (size * one * two) ** (4.0 / 3.0)
            one, two = size, one
        pairs *= 0.5 * math.pi * window / (window - 1.0)
        triples *= window / MEAN_FOUR_THIRDS**3 * window / (window - 2.0)
        share, statistic = 0.0, 0.0
        if squares > window * STILL * STILL:
            spread = max(1.0, triples / (pairs * pairs)) if pairs > 0.0 else 1.0
            share = 1.0 - pairs / squares
            statistic = share / math.sqrt((0.25 * math.pi**2 + math.pi - 5.0) / window * spread)
        out[0, b] = math.sqrt(pairs / window)
        out[1, b] = max(0.0, share)
        out[2, b] = statistic
        out[3, b] = 1.0 if statistic > p[1] else 0.0


@kernel_part
def ewma_volatility(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Root of the exponentially weighted mean of squared log-returns; each bar keeps ``decay`` of the old mean.

    References: RiskMetrics (1996), Technical Document.
    """
    for b in range(n):
        first = i[0] < 2
        change = next_return(f, i, bars[MID_CLOSE, b])
        f[1] = change * change if first else p[0] * f[1] + (1.0 - p[0]) * change * change
        out[0, b] = math.sqrt(f[1]) if i[0] > 1 else math.nan


@kernel_part
def garch(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """GARCH(1,1) filter with given parameters: next bar's volatility, its ratio to the long run, the last surprise.

    The filter begins at the long-run variance omega / (1 - alpha - beta).

    References: Bollerslev (1986), Generalized autoregressive conditional heteroskedasticity.
    """
    omega, alpha, beta = p[0], p[1], p[2]
    long_run = omega / (1.0 - alpha - beta)
    for b in range(n):
        if i[0] == 0:
            f[1] = long_run
        seen = i[0]
        change = next_return(f, i, bars[MID_CLOSE, b])
        out[2, b] = change / math.sqrt(f[1])
        if seen > 0:
            f[1] = omega + alpha * change * change + beta * f[1]
        out[0, b] = math.sqrt(f[1])
        out[1, b] = math.sqrt(f[1] / long_run)


@kernel_part
def newest_mean_square(ring: Floats, oldest: int, count: int) -> float:
    """Return the mean square of the ``count`` newest values of a full ring."""
    n = len(ring)
    total = 0.0
    for j in range(n - count, n):
        value = ring[(oldest + j) % n]
        total += value * value
    return total / count


@kernel_part
def volatility_ratio(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Realised volatility of ``short`` bars relative to that of ``long`` bars; 1 while nothing moves."""
    short, long = int(p[0]), int(p[1])
    ring = f[1:]
    for b in range(n):
        slot = (i[0] - 1) % long
        change = next_return(f, i, bars[MID_CLOSE, b])
        if i[0] > 1:
            ring[slot] = change
        out[0, b] = math.nan
        if i[0] > long:
            oldest = (i[0] - 1) % long
            whole = mean_square(ring, oldest)
            recent = newest_mean_square(ring, oldest, short)
            out[0, b] = math.sqrt(recent / whole) if whole > STILL * STILL else 1.0
