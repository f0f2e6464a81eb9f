"""Feature families that see every tick.

Each walks ``n`` ticks with its own state ``f`` (doubles) and ``i`` (integers, ``i[0]`` is 0 before the first tick),
its parameters ``p`` and the symbol's point size, and writes one value per tick and output into ``out`` (outputs, n).
Exponentially weighted means of span s use alpha = 2 / (s + 1) and begin at the first value.
"""

import math

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import kernel_part

BASIS_POINTS = 1e4
NS_PER_S = 1e9
STILL_SPREAD_POINTS = 1e-6
"""Below this deviation a spread is constant: what is left is the rounding of ask - bid."""

ROUNDING = 1e-12
"""Two mids closer than this share of the price are the same: bid and ask moved against each other."""


@kernel_part
def ema_distance(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats,
    volume: Floats, out: Floats,
) -> None:
    """Distance of the mid from its own average over ``span`` ticks, basis points of the average."""
    alpha = 2.0 / (p[0] + 1.0)
    if i[0] == 0:
        f[0] = 0.5 * (bid[0] + ask[0])
        i[0] = 1
    average = f[0]
    for k in range(len(bid)):
        mid = 0.5 * (bid[k] + ask[k])
        average += alpha * (mid - average)
        out[0, k] = BASIS_POINTS * (mid - average) / average
    f[0] = average


@kernel_part
def spread_score(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats,
    volume: Floats, out: Floats,
) -> None:
    """Standard score of the spread against its own recent mean and deviation; 0 while the spread stands still.

    References: Finch (2009), Incremental calculation of weighted mean and variance.
    """
    alpha = 2.0 / (p[0] + 1.0)
    if i[0] == 0:
        f[0] = (ask[0] - bid[0]) / point
        i[0] = 1
    mean, variance = f[0], f[1]
    for k in range(len(bid)):
        spread = (ask[k] - bid[k]) / point
        delta = spread - mean
        mean += alpha * delta
        variance = (1.0 - alpha) * (variance + alpha * delta * delta)
        deviation = math.sqrt(variance)
        out[0, k] = (spread - mean) / deviation if deviation > STILL_SPREAD_POINTS else 0.0
    f[0], f[1] = mean, variance


@kernel_part
def quote_rate(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats,
    volume: Floats, out: Floats,
) -> None:
    """Quote revisions per second, forgetting with time constant ``seconds``; a repeated quote is no revision."""
    decay_s = p[0]
    if i[0] == 0:
        i[0], i[1] = 1, time_ns[0]
        f[1], f[2] = bid[0], ask[0]
    rate, previous_ns, previous_bid, previous_ask = f[0], i[1], f[1], f[2]
    for k in range(len(bid)):
        if time_ns[k] > previous_ns:
            rate *= math.exp(-(time_ns[k] - previous_ns) / NS_PER_S / decay_s)
            previous_ns = time_ns[k]
        if bid[k] != previous_bid or ask[k] != previous_ask:
            rate += 1.0 / decay_s
            previous_bid, previous_ask = bid[k], ask[k]
        out[0, k] = rate
    f[0], i[1], f[1], f[2] = rate, previous_ns, previous_bid, previous_ask


@kernel_part
def tick_imbalance(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats,
    volume: Floats, out: Floats,
) -> None:
    """Average sign of the mid's moves, -1 (all down) to +1 (all up); a tick without a move counts as 0."""
    alpha = 2.0 / (p[0] + 1.0)
    if i[0] == 0:
        f[1] = bid[0] + ask[0]
        i[0] = 1
    average, previous = f[0], f[1]
    for k in range(len(bid)):
        doubled_mid = bid[k] + ask[k]
        move = 0.0
        if abs(doubled_mid - previous) > ROUNDING * previous:
            move = 1.0 if doubled_mid > previous else -1.0
        previous = doubled_mid
        average += alpha * (move - average)
        out[0, k] = average
    f[0], f[1] = average, previous


@kernel_part
def traded_volume(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats,
    volume: Floats, out: Floats,
) -> None:
    """Average traded volume per tick over ``span`` ticks, lots."""
    alpha = 2.0 / (p[0] + 1.0)
    if i[0] == 0:
        f[0] = volume[0]
        i[0] = 1
    average = f[0]
    for k in range(len(volume)):
        average += alpha * (volume[k] - average)
        out[0, k] = average
    f[0] = average
