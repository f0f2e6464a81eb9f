"""What quotes alone say of the market between two ticks. The conventions are those of ``on_ticks``."""

import math

from libs.common.messages.base import Floats, Ints
from libs.common.trading.compiled import kernel_part

NS_PER_MS = 1e6
NS_PER_S = 1e9
STEPS_PER_POINT = 1e4
"""Spreads are compared on a grid this fine: what is left below it is the rounding of ask - bid."""
ROUNDING = 1e-12
"""Two mids closer than this share of the price are the same: bid and ask moved against each other."""
STILL = 1e-12


@kernel_part
def mid_move(doubled_mid: float, previous: float) -> float:
    """Return the change of the mid, price units; 0 where only rounding differs."""
    move = doubled_mid - previous
    return 0.5 * move if abs(move) > ROUNDING * previous else 0.0


@kernel_part
def sign_of(value: float) -> float:
    """Return -1, 0 or 1."""
    return 1.0 if value > 0.0 else (-1.0 if value < 0.0 else 0.0)


@kernel_part
def spread_percentile(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, row_at: Ints, out: Floats,
) -> None:
    """Share of the last ``window`` spreads that were narrower than this one, percent; equal ones count half."""
    window = int(p[0])
    r = 0
    for k in range(len(bid)):
        width = math.floor((ask[k] - bid[k]) / point * STEPS_PER_POINT + 0.5)
        f[i[0] % window] = width
        i[0] += 1
        if r == len(row_at) or row_at[r] != k:
            continue
        r += 1
        out[0, k] = math.nan
        if i[0] >= window:
            below = 0.0
            for j in range(window):
                below += 1.0 if f[j] < width else (0.5 if f[j] == width else 0.0)
            out[0, k] = 100.0 * below / window


@kernel_part
def inter_arrival(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats,
    volume: Floats, out: Floats,
) -> None:
    """Average time between ticks, milliseconds, and the last gap relative to it."""
    alpha = 2.0 / (p[0] + 1.0)
    for k in range(len(bid)):
        gap = max(0, time_ns[k] - i[1]) / NS_PER_MS if i[0] > 0 else 0.0
        i[1] = time_ns[k] if i[0] == 0 else max(i[1], time_ns[k])
        f[0] = gap if i[0] < 2 else f[0] + alpha * (gap - f[0])
        i[0] += 1
        out[0, k] = f[0]
        out[1, k] = gap / f[0] if f[0] > 0.0 else 1.0


@kernel_part
def sign_autocorrelation(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats,
    volume: Floats, out: Floats,
) -> None:
    """How often a move of the mid goes on in the direction of the move before it: -1 (never) to +1; 0 at rest."""
    alpha = 2.0 / (p[0] + 1.0)
    if i[0] == 0:
        f[2] = bid[0] + ask[0]
        i[0] = 1
    for k in range(len(bid)):
        doubled_mid = bid[k] + ask[k]
        sign = sign_of(mid_move(doubled_mid, f[2]))
        f[2] = doubled_mid
        f[0] += alpha * (sign * f[3] - f[0])
        f[1] += alpha * (abs(sign * f[3]) - f[1])
        if sign != 0.0:
            f[3] = sign
        out[0, k] = f[0] / f[1] if f[1] > STILL else 0.0


@kernel_part
def mid_pressure(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats,
    volume: Floats, out: Floats,
) -> None:
    """Net way of the mid divided by its path, -1 (straight down) to +1 (straight up); 0 at rest."""
    alpha = 2.0 / (p[0] + 1.0)
    if i[0] == 0:
        f[2] = bid[0] + ask[0]
        i[0] = 1
    for k in range(len(bid)):
        doubled_mid = bid[k] + ask[k]
        move = mid_move(doubled_mid, f[2]) / point
        f[2] = doubled_mid
        f[0] += alpha * (move - f[0])
        f[1] += alpha * (abs(move) - f[1])
        out[0, k] = f[0] / f[1] if f[1] > STILL else 0.0


@kernel_part
def tick_volatility(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats,
    volume: Floats, out: Floats,
) -> None:
    """Root mean square of the mid's moves per tick, and Roll's spread from their autocovariance, points.

    References: Roll (1984), A simple implicit measure of the effective bid-ask spread in an efficient market.
    """
    alpha = 2.0 / (p[0] + 1.0)
    if i[0] == 0:
        f[2] = bid[0] + ask[0]
        i[0] = 1
    for k in range(len(bid)):
        doubled_mid = bid[k] + ask[k]
        move = mid_move(doubled_mid, f[2]) / point
        f[0] += alpha * (move * move - f[0])
        f[1] += alpha * (move * f[3] - f[1])
        f[2], f[3] = doubled_mid, move
        out[0, k] = math.sqrt(f[0])
        out[1, k] = 2.0 * math.sqrt(max(0.0, -f[1]))


@kernel_part
def quote_pressure(
    f: Floats, i: Ints, p: Floats, point: float, time_ns: Ints, bid: Floats, ask: Floats, last: Floats,
    volume: Floats, out: Floats,
) -> None:
    """Which side revises its quotes upwards: average of (sign of the bid's move + sign of the ask's) / 2."""
    alpha = 2.0 / (p[0] + 1.0)
    if i[0] == 0:
        f[1], f[2] = bid[0], ask[0]
        i[0] = 1
    for k in range(len(bid)):
        lean = 0.5 * (sign_of(bid[k] - f[1]) + sign_of(ask[k] - f[2]))
        f[1], f[2] = bid[k], ask[k]
        f[0] += alpha * (lean - f[0])
        out[0, k] = f[0]
