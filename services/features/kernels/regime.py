"""What kind of market it is: filters and detectors that only look back. The conventions are those of ``on_bars``."""

import math

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import kernel_part
from services.features.kernels.averages import path_efficiency, tell_nothing
from services.features.kernels.layout import CLOSE, HIGH, LOW, MID_CLOSE, TICK_COUNT
from services.features.kernels.on_bars import mean_square
from services.features.kernels.oscillators import bottom_of, mean_of, top_of
from services.features.kernels.volatility import newest_mean_square, next_return

STILL = 1e-4
"""A volatility below so many basis points is rounding."""
FLAT = 1e-9


@kernel_part
def hidden_markov(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Two-state Gaussian hidden Markov model of log-returns, filtered forward: the probability of the wild state.

    Each bar: predict with the transition matrix, weigh with the likelihood of the return, normalise. The filter
    begins at the stationary distribution and never sees a later bar (no smoothing). Also the volatility it expects
    of the next bar.

    References: Hamilton (1989), A new approach to the economic analysis of nonstationary time series.
    """
    stay_calm, stay_wild, calm, wild = p[0], p[1], p[2], p[3]
    stationary = (1.0 - stay_calm) / (2.0 - stay_calm - stay_wild)
    for b in range(n):
        seen = i[0]
        change = next_return(f, i, bars[MID_CLOSE, b])
        f[1] = stationary if seen == 0 else f[1]
        if seen > 0:
            predicted = f[1] * stay_wild + (1.0 - f[1]) * (1.0 - stay_calm)
            # Likelihood ratio of the two states in logarithms: a wild return must not underflow both.
            ratio = math.log(wild / calm) + 0.5 * change * change * (1.0 / (wild * wild) - 1.0 / (calm * calm))
            f[1] = predicted / (predicted + (1.0 - predicted) * math.exp(min(ratio, 700.0)))
        ahead = f[1] * stay_wild + (1.0 - f[1]) * (1.0 - stay_calm)
        out[0, b] = f[1]
        out[1, b] = math.sqrt(ahead * wild * wild + (1.0 - ahead) * calm * calm)


@kernel_part
def volatility_regime(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """1 in a wild market, 0 in a calm one, by the ratio of short to long realised volatility.

    It turns wild at ``enter`` and calm at ``leave``; between the two it stays what it was.
    """
    short, long, enter, leave = int(p[0]), int(p[1]), p[2], p[3]
    ring = f[1:]
    for b in range(n):
        slot = (i[0] - 1) % long
        change = next_return(f, i, bars[MID_CLOSE, b])
        if i[0] > 1:
            ring[slot] = change
        out[0, b] = math.nan
        if i[0] <= long:
            continue
        oldest = (i[0] - 1) % long
        whole = mean_square(ring, oldest)
        ratio = math.sqrt(newest_mean_square(ring, oldest, short) / whole) if whole > STILL * STILL else 0.0
        if ratio >= enter or ratio <= leave:
            i[1] = 2 if ratio >= enter else 1
        if i[1] > 0:
            out[0, b] = i[1] - 1.0


@kernel_part
def trend_range(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Trend up (+1), down (-1) or range (0) by Kaufman's efficiency ratio; that ratio; the choppiness index.

    References: Kaufman (1995), Smarter Trading; Dreiss, the choppiness index (100 in a dense range, low in a trend).
    """
    period, limit = int(p[0]), p[1]
    size = period + 1
    closes, highs = f[:size], f[size:size + period]
    lows, ranges = f[size + period:size + 2 * period], f[size + 2 * period:]
    for b in range(n):
        high, low, close = bars[HIGH, b], bars[LOW, b], bars[CLOSE, b]
        previous = closes[(i[0] - 1) % size] if i[0] > 0 else close
        slot = i[0] % period
        highs[slot], lows[slot] = high, low
        ranges[slot] = max(high, previous) - min(low, previous)
        closes[i[0] % size] = close
        i[0] += 1
        tell_nothing(3, b, out)
        if i[0] < size:
            continue
        way = close - closes[i[0] % size]
        efficiency = path_efficiency(closes, i[0] % size) if abs(way) > FLAT * close else 0.0
        out[0, b] = 0.0 if efficiency < limit else (1.0 if way > 0.0 else -1.0)
        out[1, b] = efficiency
        width = top_of(highs, period) - bottom_of(lows, period)
        path = period * mean_of(ranges, period, i[0])
        out[2, b] = 100.0 * math.log(path / width) / math.log(period) if width > FLAT * close else 100.0


@kernel_part
def cusum(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Two-sided CUSUM of standardised log-returns: both sums, and +1 or -1 at the bar that crosses ``limit``.

    A return is divided by the deviation known before it; a sum that crosses the limit begins again at 0.

    References: Page (1954), Continuous inspection schemes.
    """
    alpha, drift, limit = 2.0 / (p[0] + 1.0), p[1], p[2]
    # f: previous close, variance, upper sum, lower sum.
    for b in range(n):
        seen = i[0]
        change = next_return(f, i, bars[MID_CLOSE, b])
        deviation = math.sqrt(f[1])
        score = change / deviation if deviation > STILL else 0.0
        if seen > 0:
            f[1] = change * change if seen == 1 else f[1] + alpha * (change * change - f[1])
        f[2], f[3] = max(0.0, f[2] + score - drift), max(0.0, f[3] - score - drift)
        out[0, b], out[1, b], out[2, b] = f[2], f[3], 0.0
        if f[2] > limit:
            out[2, b], f[2] = 1.0, 0.0
        elif f[3] > limit:
            out[2, b], f[3] = -1.0, 0.0


@kernel_part
def tick_activity(f: Floats, i: Ints, p: Floats, bars: Floats, n: int, out: Floats) -> None:
    """Ticks of the bar relative to the mean of the last ``period`` bars."""
    period = int(p[0])
    for b in range(n):
        f[i[0] % period] = bars[TICK_COUNT, b]
        i[0] += 1
        out[0, b] = bars[TICK_COUNT, b] / mean_of(f, period, i[0]) if i[0] >= period else math.nan
