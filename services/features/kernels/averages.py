"""Moving averages of bar closes. The conventions are those of ``on_bars``.

Each yields the close's distance from the average and the average's last step, both in basis points of the average,
and the average itself.
"""

import math

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import kernel_part
from services.features.kernels.layout import CLOSE

BASIS_POINTS = 1e4


@kernel_part
def tell_average(average: float, previous: float, close: float, b: int, out: Floats) -> None:
    """Write what an average says of bar ``b``."""
    out[0, b] = BASIS_POINTS * (close - average) / average
    out[1, b] = BASIS_POINTS * (average - previous) / average
    out[2, b] = average


@kernel_part
def tell_nothing(n_outputs: int, b: int, out: Floats) -> None:
    """Write that bar ``b`` comes before the window is full."""
    for o in range(n_outputs):
        out[o, b] = math.nan


@kernel_part
def sma(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Simple moving average: the mean of the last ``period`` closes."""
    period = int(p[0])
    ring = f[1:]
    for b in range(n):
        close = bars[CLOSE, b]
        ring[i[0] % period] = close
        i[0] += 1
        tell_nothing(3, b, out)
        if i[0] < period:
            continue
        total = 0.0
        for j in range(period):
            total += ring[(i[0] + j) % period]
        if i[0] > period:
            tell_average(total / period, f[0], close, b, out)
        f[0] = total / period


@kernel_part
def ema(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Exponential moving average: each close moves it by 2 / (period + 1) of their distance; begins at a close."""
    alpha = 2.0 / (p[0] + 1.0)
    for b in range(n):
        close = bars[CLOSE, b]
        previous = f[0] if i[0] > 0 else close
        f[0] = previous + alpha * (close - previous)
        i[0] += 1
        tell_average(f[0], previous, close, b, out)


@kernel_part
def wma(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Weighted moving average: weights 1, 2, ..., ``period``, the newest close heaviest."""
    period = int(p[0])
    ring = f[1:]
    for b in range(n):
        close = bars[CLOSE, b]
        ring[i[0] % period] = close
        i[0] += 1
        tell_nothing(3, b, out)
        if i[0] < period:
            continue
        total = 0.0
        for j in range(period):
            total += (j + 1) * ring[(i[0] + j) % period]
        average = total / (0.5 * period * (period + 1))
        if i[0] > period:
            tell_average(average, f[0], close, b, out)
        f[0] = average


@kernel_part
def path_efficiency(ring: Floats, oldest: int) -> float:
    """Return the way from the oldest value of a full ring to the newest, divided by the path between; 1 at rest."""
    n = len(ring)
    path = 0.0
    for j in range(1, n):
        path += abs(ring[(oldest + j) % n] - ring[(oldest + j - 1) % n])
    way = abs(ring[(oldest + n - 1) % n] - ring[oldest % n])
    return way / path if path > way else 1.0


@kernel_part
def kama(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Kaufman's adaptive average: as quick as EMA(fast) in a straight market, as slow as EMA(slow) in a noisy one.

    References: Kaufman (1995), Smarter Trading.
    """
    period = int(p[0])
    quick, slow = 2.0 / (p[1] + 1.0), 2.0 / (p[2] + 1.0)
    ring = f[1:]
    for b in range(n):
        close = bars[CLOSE, b]
        ring[i[0] % (period + 1)] = close
        i[0] += 1
        tell_nothing(3, b, out)
        if i[0] == period:
            f[0] = close
        if i[0] <= period:
            continue
        weight = path_efficiency(ring, i[0] % (period + 1)) * (quick - slow) + slow
        previous = f[0]
        f[0] += weight * weight * (close - previous)
        tell_average(f[0], previous, close, b, out)
